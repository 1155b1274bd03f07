"""The one exception that is meant for the person at the keyboard, and what the system refuses."""

import errno

REFUSALS = {
    errno.ENOSPC: "the disk is full; make room and run the same command again",
    errno.EDQUOT: "the disk quota is used up; make room and run the same command again",
    errno.EFBIG: "it is larger than files may be here (see `ulimit -f`)",
    errno.EROFS: "the disk is read-only; use another working directory (--directory)",
    errno.EACCES: "permission denied; change the permissions or the working directory",
    errno.EPERM: "permission denied; change the permissions or the working directory",
}


class UserError(Exception):
    """A mistake or a lack the user can repair: says what, where and what to do about it."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it: the sentence alone (a hook of IPython)."""
        return [str(self)]


def refusal(error: OSError) -> str | None:
    """One sentence about a file that the system does not let us write; None for other errors."""
    if error.errno not in REFUSALS:
        return None
    return f"cannot write {error.filename or 'a file'}: {REFUSALS[error.errno]}"
