"""The process of the `bnstudy` command, and what Ctrl-C does to it."""

import os
import signal
import sys
from types import FrameType


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or end the process at once while it imports a module.

    PyTorch starts in C++, and there an exception is dropped (the process goes on, or fails later over a NumPy that is
    half imported) or aborts the process. Nothing is open yet that an end could harm.
    """
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            os.write(sys.stderr.fileno(), b"bnstudy: interrupted\n")
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


# Sums of NumPy and SciPy must not depend on the number of cores, also in a command that is run by hand: from its jobs
# Snakemake hides them.
os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")

# From here on, for much of a short command is imports. Where it is ignored, as in the background of a script, it stays
# so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupt)

from bnstudy import cli


def main() -> None:
    """Run the command line. Ctrl-C ends it with one line and exit status 130 until its work is done."""
    try:
        cli.main()
    finally:
        # What is done counts, though Python still needs a moment to end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
