"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

FSYNCS = 200


def facts() -> dict[str, str]:
    """CPU, memory, versions, and what one durable write costs here."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fsync": f"{_fsync_milliseconds():.2f} ms (median of {FSYNCS} appends of 4 KB with fsync)",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fsync_milliseconds() -> float:
    times = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
