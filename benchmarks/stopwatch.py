"""Run a command and write, as JSON, what it took: `python -S stopwatch.py OUT COMMAND...`.

A process of its own, and a small one: on Linux the peak memory of a child is never below what its
parent held when it started it.
"""

import json
import os
import resource
import subprocess
import sys
import time

out, *command = sys.argv[1:]
load = os.getloadavg()[0]
start = time.perf_counter()
status = subprocess.run(command, check=False).returncode
wall = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
with open(out, "w") as file:
    json.dump(
        {
            "wall_seconds": wall,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_memory_mb": usage.ru_maxrss * unit / 1e6,
            "load": load,
        },
        file,
    )
sys.exit(status)
