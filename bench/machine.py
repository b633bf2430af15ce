"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

FSYNCS = 200


def facts() -> dict[str, str]:
    """CPU, how busy it is, versions, and what one durable write costs where the benchmarks write."""
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "file system": _file_system(Path(tempfile.gettempdir())),
        "fsync": f"{_fsync_milliseconds():.2f} ms (median of {FSYNCS} appends of 4 KB)",
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system that holds `path`, by the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text("utf-8", errors="replace").splitlines():
        _, point, this_kind, *_ = line.split(" ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, this_kind
    return kind


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
