"""How long the parts of a run take."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Clock:
    """Wall-clock seconds spent, by phase; a resumed run goes on counting.

    What an earlier attempt did after its last checkpoint, and so for nothing, is not counted.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    earlier: dict[str, float] = field(default_factory=dict)  # totals of the earlier attempts
    resumptions: int = 0

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def unmeasured(self) -> float:
        """A time in seconds that stands still while a phase is measured."""
        return time.perf_counter() - sum(self.seconds.values())

    def totals(self) -> dict[str, float]:
        """Seconds by phase and those of the whole process, `wall` and `cpu`, over all attempts."""
        process = {"wall": seconds_since_process_start(), "cpu": time.process_time()}
        now = self.seconds | process
        return {k: now.get(k, 0.0) + self.earlier.get(k, 0.0) for k in self.earlier | now}


def seconds_since_process_start() -> float:
    """Wall-clock seconds since this process was started, imports included."""
    if sys.platform == "linux":  # psutil would count from a boot that the kernel tells in whole seconds
        ticks = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    import psutil

    return time.time() - psutil.Process().create_time()
