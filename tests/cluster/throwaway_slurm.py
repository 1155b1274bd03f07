"""A Slurm cluster of its own on this machine: started for a test session, gone afterwards.

Real daemons from the distribution's packages, on the loopback interface and free ports, with all
their files in one folder below /tmp. Works as root and as an ordinary user.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
from pathlib import Path

from throwaway import SEARCH, Throwaway, free_ports

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}

SLURM_CONF = """\
ClusterName=throwaway
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/log/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdPidFile={folder}/log/slurmd.%n.pid
SlurmdLogFile={folder}/log/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
# more processors than the machine may have
SlurmdParameters=config_overrides
PlugStackConfig={folder}/etc/plugstack.conf
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# without it a job takes all the memory of a node, and the other GPUs stand idle
DefMemPerCPU=100
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
GresTypes=gpu
# refuse what can never run, rather than let it wait
EnforcePartLimits=ALL
ReturnToService=2
KillWait=5
TaskProlog={folder}/bin/record_begin
TaskEpilog={folder}/bin/record_end
{nodes}PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""


class ThrowawaySlurm(Throwaway):
    """Nodes `n1`, `n2`, ... with `gpus` fake GPUs each, in the partitions `debug` and `gpu`.

    Without accounting: `sacct` answers nothing, so Snakemake has to be told
    `--slurm-status-command squeue`.
    """

    title = "Slurm"

    def __init__(self, nodes: int = 2, gpus: int = 2, cpus: int = 8) -> None:
        super().__init__("slurm-")
        self.nodes = [f"n{i + 1}" for i in range(nodes)]
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))
        } | {"SLURM_CONF": f"{self.folder}/etc/slurm.conf", "PATH": f"{self.folder}/bin:{SEARCH}"}
        try:
            self._configure(gpus, cpus)
            self._start()
        except BaseException:
            self.stop()
            raise

    def _configure(self, gpus: int, cpus: int) -> None:
        for name in ("etc", "bin", "state", "dev"):
            (self.folder / name).mkdir()
        self.folder.chmod(0o755)
        key = self.folder / "etc/munge.key"
        key.touch(0o600)  # munged refuses a key that others can read
        key.write_bytes(secrets.token_bytes(1024))
        host = socket.gethostname().partition(".")[0]
        port, *ports = free_ports(1 + len(self.nodes))
        nodes = "".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs={cpus}"
            f" RealMemory=64000 Gres=gpu:fake:{gpus} Feature=a100 State=UNKNOWN\n"
            for name, node_port in zip(self.nodes, ports, strict=True)
        )
        user = pwd.getpwuid(os.getuid()).pw_name
        text = SLURM_CONF.format(host=host, port=port, user=user, folder=self.folder, nodes=nodes)
        (self.folder / "etc/slurm.conf").write_text(text)
        (self.folder / "etc/plugstack.conf").touch()
        (self.folder / "etc/gres.conf").write_text(
            f"AutoDetect=off\nNodeName={','.join(self.nodes)} Name=gpu Type=fake "
            f"File={self._fake_gpus(gpus)}[0-{gpus - 1}]\n"
        )
        # Within a job Snakemake removes SLURM_CONF from the environment of what it calls. A cluster that
        # has its configuration in /etc needs no such thing.
        clients = ("srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr")
        for name in clients:
            command = self.folder / "bin" / name
            found = f"SLURM_CONF={self.folder}/etc/slurm.conf exec {shutil.which(name)}"
            command.write_text(f'#!/bin/sh\n{found} "$@"\n')
            command.chmod(0o755)
        (self.folder / "log/tasks").touch()
        # What Slurm does before and after each task, in the task's environment: leave a line.
        for event in ("begin", "end"):
            record = self.folder / f"bin/record_{event}"
            record.write_text(
                f"#!/bin/sh\necho $(date +%s.%N) {event} $SLURM_JOB_ID.$SLURM_STEP_ID"
                f" $SLURMD_NODENAME ${{CUDA_VISIBLE_DEVICES:-none}} >> {self.folder}/log/tasks\n"
            )
            record.chmod(0o755)

    def _fake_gpus(self, number: int) -> str:
        """The common beginning of the devices' names, which end in 0, 1, ...

        Slurm sets CUDA_VISIBLE_DEVICES only for a GPU whose file is a device; it never opens it.
        """
        try:
            for i in range(number):
                null = os.makedev(1, 3)
                os.mknod(self.folder / f"dev/gpu{i}", 0o020666, null)
        except PermissionError:  # not root: borrow devices that exist
            return "/dev/tty"
        return f"{self.folder}/dev/gpu"

    def _start(self) -> None:
        f = self.folder
        self.spawn(
            "munged",
            *("--foreground", f"--socket={f}/munge.socket", f"--key-file={f}/etc/munge.key"),
            *(f"--log-file={f}/log/munged.log", f"--pid-file={f}/log/munged.pid"),
            f"--seed-file={f}/state/munge.seed",
        )
        probe = f"munge -S {f}/munge.socket -n | unmunge -S {f}/munge.socket"
        self.wait_until(lambda: "Success" in self.call("sh", "-c", probe))
        self.spawn("slurmctld", "-D", "-i", "-c")
        self.wait_until(lambda: "is UP" in self.call("scontrol", "ping"))
        for node in self.nodes:
            self.start_node(node)

    def start_node(self, node: str) -> None:
        """Start a node's slurmd and wait until jobs can run there."""
        self.spawn("slurmd", "-D", "-N", node, node=node)
        self.wait_until(lambda: self.call("sinfo", "-h", "-n", node, "-o", "%T").strip() == "idle")

    def crash_node(self, node: str) -> None:
        """Pull the plug: end all that runs on a node at once, and let Slurm notice.

        slurmstepd goes first, or it would report that its job has failed.
        """
        daemon = self.daemons.pop(f"slurmd{node}")
        daemon.kill()
        daemon.wait()
        for mark in (f"THROWAWAY_NODE={node}", f"SLURMD_NODENAME={node}"):
            self.kill_processes(mark)
        self.call("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=crashed")

    def repair_node(self, node: str) -> None:
        """Bring a crashed node back."""
        self.call("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.start_node(node)

    def kill_processes(self, mark: str = "") -> None:
        """End this cluster's processes, by their ids: those with `mark` in the environment."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue  # no process, gone by now, or another user's
            ours = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode() in variables
            if ours and int(entry.name) != os.getpid() and (not mark or mark.encode() in variables):
                found.append(int(entry.name))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def tasks(self) -> list[list[str]]:
        """What the tasks recorded, in order: time, begin or end, id, node, CUDA_VISIBLE_DEVICES."""
        path = self.folder / "log/tasks"
        return sorted(line.split() for line in path.read_text().splitlines())

    def jobs(self, *options: str) -> list[str]:
        """Ids of the jobs that wait, run or end."""
        return self.call("squeue", "-h", "-o", "%A", *options).split()

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        if jobs := self.jobs():
            self.call("scancel", *jobs)
            self.wait_until(lambda: not self.jobs())

    def stop(self) -> None:
        """Stop the jobs and the daemons, munged last, and delete the folder."""
        try:
            if len(self.daemons) > 2:  # munged, slurmctld and a node
                self.cancel_all()
        finally:
            self.end_daemons()
            self.kill_processes()
            shutil.rmtree(self.folder)


def missing_packages() -> list[str]:
    """The packages of Debian and Ubuntu that have to be installed first."""
    return [package for tool, package in PACKAGES.items() if not shutil.which(tool, path=SEARCH)]
