"""A Grid Engine cell of its own on this machine: started for a test session, gone afterwards.

Real daemons from Debian's packages on free ports, with all their files in one folder below /tmp. Root
starts them: the execution daemon changes to the user of a job.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from throwaway_slurm import SEARCH, end_with_parent, free_ports

PACKAGES = ("gridengine-master", "gridengine-exec", "gridengine-client")
INSTALLED = Path("/var/lib/gridengine")
SPOOLED = Path("/var/spool/gridengine")
# What differs from the distribution's global configuration; that jobs enter the accounting some seconds
# after their end, as they do there, is left as it is.
GLOBAL = {
    "mailer": "/bin/true",
    "administrator_mail": "none",
    "min_uid": "0",
    "min_gid": "0",
    "load_report_time": "00:00:02",
}
PARALLEL = """\
pe_name smp
slots 99
user_lists NONE
xuser_lists NONE
start_proc_args NONE
stop_proc_args NONE
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


def installed() -> bool:
    return os.getuid() == 0 and SPOOLED.exists() and bool(shutil.which("qsub"))


class ThrowawayGridEngine:
    """One host with the queue `all.q` and the parallel environment `smp`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sge-", dir="/tmp"))
        self.host = socket.gethostname()
        master, execd = free_ports(2)
        self.environment = os.environ | {
            "PATH": SEARCH,
            "SGE_ROOT": str(self.folder),
            "SGE_CELL": "default",
            "SGE_QMASTER_PORT": str(master),
            "SGE_EXECD_PORT": str(execd),
            "SGE_ND": "1",  # daemons stay children
        }
        self.daemons: list[subprocess.Popen] = []
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        shutil.copytree(INSTALLED, self.folder, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(SPOOLED, self.folder / "spool")
        common = self.folder / "default/common"
        bootstrap = common / "bootstrap"
        bootstrap.write_text(bootstrap.read_text().replace(str(SPOOLED), f"{self.folder}/spool"))
        (common / "act_qmaster").write_text(f"{self.host}\n")
        # The loopback interface may have other names.
        (common / "host_aliases").write_text(f"{self.host} localhost\n")
        self.call("chown", "-R", "sgeadmin:sgeadmin", str(self.folder))
        self.folder.chmod(0o755)
        self.spawn("sge_qmaster", user="sgeadmin", group="sgeadmin", extra_groups=[])
        self.wait_until(lambda: self.call("qconf", "-sconf").startswith("#global"))
        spool = {"execd_spool_dir": f"{self.folder}/spool/execd"}
        self.configure("-sconf", "-Mconf", "global", GLOBAL | spool)
        self.configure("-ssconf", "-Msconf", "scheduler", {"schedule_interval": "0:0:1"})
        self.call("qconf", "-as", self.host)
        self.spawn("sge_execd")
        (self.folder / "smp").write_text(PARALLEL)
        self.call("qconf", "-Ap", str(self.folder / "smp"))
        queue = {"qname": "all.q", "hostlist": self.host, "pe_list": "smp", "slots": "4"}
        self.configure("-sq", "-Aq", "queue", queue | {"load_thresholds": "NONE"})
        self.wait_until(lambda: " lx-amd64 " in self.call("qstat", "-f"))

    def configure(self, show: str, change: str, name: str, values: dict[str, str]) -> None:
        """Change some lines of what `qconf` shows."""
        lines = [line for line in self.call("qconf", show).splitlines() if line[:1] != "#"]
        text = "".join(
            f"{key} {values[key]}\n" if (key := line.partition(" ")[0]) in values else f"{line}\n"
            for line in lines
        )
        (self.folder / name).write_text(text)
        self.call("qconf", change, str(self.folder / name))

    def spawn(self, name: str, **user: object) -> None:
        with open(self.folder / f"{name}.out", "wb") as out:
            self.daemons.append(
                subprocess.Popen(
                    [shutil.which(name, path=SEARCH)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=self.environment,
                    cwd=self.folder,
                    start_new_session=True,
                    preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread runs yet
                    **user,
                )
            )

    def call(self, *command: str) -> str:
        """What a command says, its messages included."""
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

    def wait_until(self, ready: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                said = [path.read_text() for path in self.folder.glob("*.out")]
                raise RuntimeError(f"Grid Engine did not become ready: {said}")
            time.sleep(0.2)

    def jobs(self) -> list[str]:
        """Ids of the jobs that run."""
        lines = self.call("qstat", "-s", "r").splitlines()[2:]
        return [line.split()[0] for line in lines]

    def stop(self) -> None:
        """Delete the jobs, stop the daemons and delete the folder."""
        if self.jobs():
            self.call("qdel", "-u", "*")
            self.wait_until(lambda: not self.jobs())
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder)
