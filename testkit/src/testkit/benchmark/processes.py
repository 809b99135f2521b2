"""What processes take: memory and processor time, as the kernel counts them (Linux only). Knows nothing they do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Size:
    """How big a process is.

    Attributes:
        mebibytes: resident.
        threads: how many.
    """

    mebibytes: float
    threads: int


def size_of(pid: int) -> Size:
    """The size of a process now."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    values = {name: value.split() for name, _, value in lines}
    return Size(mebibytes=int(values["VmRSS"][0]) / 1024, threads=int(values["Threads"][0]))


def cpu_seconds_of(pids: Iterable[int]) -> float:
    """Processor time that processes have used so far, of all their threads: proc_pid_stat(5), utime and stime."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
