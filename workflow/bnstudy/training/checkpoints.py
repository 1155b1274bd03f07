"""Where a training run stands, kept in its folder, so that a killed run goes on instead of again.

A checkpoint is believed only if every byte is as it was written and if it was made by the same code, on the same data,
with the same settings and environment: then the resumed run ends with the same bytes as one that was never interrupted.
Anything else is refused with the reason, and the run starts at its beginning.
"""

import errno
import hashlib
import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from bnstudy.errors import UserError, refusal
from bnstudy.files import TEMPORARY, replacing
from bnstudy.logs import say

NAME = ".checkpoint.pt"
AGAIN = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, do it again
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


class Checkpoint:
    """The checkpoint of the run in `folder`, whose only writer this process must be.

    The file is the SHA-256 of what follows, 64 hex digits and a line feed, and then what `torch.save` makes of the
    state. `identity` is what a result depends on ("code", "data", ...), and all of it must be equal to resume. There
    are `every` optimizer steps between two checkpoints within an epoch, and each epoch ends with one too, however short
    it is, unless `at_epochs` is false.
    """

    def __init__(self, folder: Path, identity: dict[str, str], every: int, *, at_epochs: bool = True):
        self.path, self.identity = folder / NAME, identity
        self.every, self.at_epochs = every, at_epochs
        self.stopping = False

    def due(self, step: int) -> bool:
        """Whether to save after this many steps: it is time, or the process was asked to stop."""
        return self.stopping or step % self.every == 0

    def save(self, state: dict) -> None:
        """Replace the checkpoint, whole or not at all; then end the process if it was asked to.

        Where it cannot be written, say so and go on: nothing is lost yet.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        content = buffer.getbuffer()
        try:
            with replacing(self.path, binary=True) as file:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n")
                file.write(content)
        except OSError as error:
            say(f"{self.path} cannot be written ({error.strerror}); going on")
        if self.stopping:
            say("asked to stop: run it again to go on from the checkpoint")
            sys.exit(AGAIN)

    def load(self) -> dict | None:
        """The saved state, on the CPU; None if there is none, or none that can be believed."""
        try:
            digest, _, content = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            return self.refuse(f"it cannot be read ({error.strerror})")
        if digest != hashlib.sha256(content).hexdigest().encode():
            return self.refuse("it is damaged (wrong SHA-256)")
        try:
            # Only tensors and plain values: a file from elsewhere must not run code.
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            identity, state = saved["identity"], saved["state"]
            differing = [key for key in self.identity if identity.get(key) != self.identity[key]]
        except Exception as error:  # noqa: BLE001 - whatever a file by another hand provokes
            return self.refuse(f"it is none ({type(error).__name__})")
        if differing:
            return self.refuse(f"it was made with other {' and '.join(differing)}")
        return state

    def refuse(self, reason: str) -> None:
        say(f"{self.path} is not used: {reason}; starting at the beginning")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    @contextmanager
    def saved_on_sigterm(self) -> Iterator[None]:
        """Let SIGTERM, which clusters send before their limit, save after the current step."""

        def stop(number: int, frame: object) -> None:
            self.stopping = True

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make a run's folder and wait until no other process writes in it; a UserError if none can.

    A snakemake that is killed with SIGKILL leaves its jobs running, and the next one starts them again. The lock is the
    kernel's (`flock`): it ends with its process, however that ends. Over NFS it also holds between machines, unless the
    file system was mounted with `local_lock`.
    """
    lock = FileLock(folder / ".lock", fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            say(f"waiting: another process is training this run in {folder}")
            lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise UserError(refusal(error) or f"cannot write in {folder}: {error}") from error
        say(f"{folder} is on a file system without locks: start its run once only")
    try:
        if lock.is_locked:
            for left_by_killed in folder.glob(TEMPORARY):
                left_by_killed.unlink(missing_ok=True)
        yield
    finally:
        if lock.is_locked:
            # While it is held: whoever opened this file before sees that it is gone and opens anew.
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
