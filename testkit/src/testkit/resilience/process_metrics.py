"""What a process takes, and how that goes with time: samples, a slope, a plot. Knows processes, and nothing they do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement.

    Attributes:
        minute: since the start.
        group: the store's name.
        pid: of the provisioner: another one after a restart.
        rss_mib: resident memory.
        threads: of the process.
        descriptors: open files and sockets.
        claims: in the cluster.
        things: in the store, but objects, when it was quiet last.
        cluster_requests: to the API server, since the start.
        store_requests: to the store, since the start.
    """

    minute: float
    group: str
    pid: int
    rss_mib: float
    threads: int
    descriptors: int
    claims: int
    things: int
    cluster_requests: int
    store_requests: int

    def as_json(self) -> dict[str, object]:
        """As it is written into a file."""
        return asdict(self)


def of_process(pid: int) -> tuple[float, int, int]:
    """Resident memory in MiB, threads, open descriptors.

    Raises:
        OSError: there is no such process any more.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(found["VmRSS"].split()[0]) / 1024, int(found["Threads"]), descriptors


def slope_of(samples: Sequence[Sample], *, after: float) -> float | None:
    """Growth of resident memory in MiB per hour, by least squares; None where there are too few samples.

    Args:
        samples: of one process.
        after: minutes from its first sample that are left out, in which it warms up.
    """
    if not samples:
        return None
    steady = [each for each in samples if each.minute - samples[0].minute >= after]
    if len(steady) < 10:
        return None
    hours, sizes = [each.minute / 60 for each in steady], [each.rss_mib for each in steady]
    middle, mean = sum(hours) / len(hours), sum(sizes) / len(sizes)
    spread = sum((hour - middle) ** 2 for hour in hours)
    return sum((hour - middle) * (size - mean) for hour, size in zip(hours, sizes, strict=True)) / spread


def plot(samples: Sequence[Sample], path: Path) -> None:
    """Draws every figure over time, a line for each group, into a PNG or SVG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [each.name for each in fields(Sample) if each.name not in {"minute", "group", "pid"}]
    figure, axes = plt.subplots(len(names), 1, figsize=(10, 2.2 * len(names)), sharex=True)
    for axis, name in zip(axes, names, strict=True):
        for group in sorted({each.group for each in samples}):
            own = [each for each in samples if each.group == group]
            axis.plot([each.minute for each in own], [getattr(each, name) for each in own], label=group)
        axis.set_ylabel(name.replace("_", " "))
        axis.set_ylim(bottom=0)
    axes[0].legend(loc="upper left", ncols=4)
    axes[-1].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
