"""What the throw-away clusters share: daemons in the foreground, their commands, their end."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SEARCH = os.environ["PATH"] + ":/usr/sbin:/sbin"


class Throwaway:
    """Daemons as children of this process, with all their files in one folder below /tmp.

    `environment` is what a command needs to find the cluster.
    """

    title = "the cluster"
    patience = 60.0  # seconds until something must have become ready
    environment: dict[str, str]

    def __init__(self, prefix: str) -> None:
        # The paths of the sockets in it must stay below 108 characters.
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
        (self.folder / "log").mkdir()
        self.daemons: dict[str, subprocess.Popen] = {}

    def spawn(self, name: str, *arguments: str, node: str = "", **user: object) -> None:
        """Start a daemon in the foreground, as a child that ends when the test process does."""
        with open(self.folder / f"log/{name}{node}.out", "ab") as out:
            self.daemons[name + node] = subprocess.Popen(
                [shutil.which(name, path=SEARCH), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=self.environment | {"THROWAWAY_NODE": node},
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread runs yet
                **user,
            )

    def call(self, *command: str) -> str:
        """What a command says (the cluster's own, usually), its messages included."""
        done = subprocess.run(
            command,
            check=False,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout

    def wait_until(self, ready: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for a condition; a daemon that ends meanwhile, or `seconds`, is an error."""
        end = time.monotonic() + (seconds or self.patience)
        while not ready():
            ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > end:
                logs = "\n".join(
                    f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
                    for path in sorted(self.folder.glob("log/*.[lo][ou][gt]"))
                )
                raise RuntimeError(f"{self.title} did not become ready; ended: {ended}\n{logs}")
            time.sleep(0.1)

    def end_daemons(self) -> None:
        """Stop the daemons, the first one last."""
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def end_with_parent() -> None:
    """Let the kernel send this process SIGTERM when its parent ends, however that comes about."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
