"""A Grid Engine cell of its own on this machine: started for a test session, gone afterwards.

Real daemons from Debian's packages on free ports, with all their files in one folder below /tmp. Root
starts them: the execution daemon changes to the user of a job.
"""

import os
import shutil
import socket
from pathlib import Path

from throwaway import SEARCH, Throwaway, free_ports

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


class ThrowawayGridEngine(Throwaway):
    """One host with the queue `all.q` and the parallel environment `smp`."""

    title = "Grid Engine"
    patience = 120.0

    def __init__(self) -> None:
        super().__init__("sge-")
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
            f"{key} {values[key]}\n" if (key := line.partition(" ")[0]) in values else f"{line}\n" for line in lines
        )
        (self.folder / name).write_text(text)
        self.call("qconf", change, str(self.folder / name))

    def jobs(self) -> list[str]:
        """Ids of the jobs that run."""
        lines = self.call("qstat", "-s", "r").splitlines()[2:]
        return [line.split()[0] for line in lines]

    def stop(self) -> None:
        """Delete the jobs, stop the daemons and delete the folder."""
        if self.jobs():
            self.call("qdel", "-u", "*")
            self.wait_until(lambda: not self.jobs())
        self.end_daemons()
        shutil.rmtree(self.folder)
