"""What the machine is, what processes used of it, and how tables of it are printed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("langchain-core", "langchain", "langgraph", "langsmith", "psycopg", "orjson", "genai-prices")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def run_queue_wait_s() -> float:
    """Seconds that this thread could have run but had no core, because others did; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def process_wait_s(pid: int) -> float:
    """As `run_queue_wait_s`, of another process that has one thread."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def process_cpu_s(pid: int) -> float:
    """User and system seconds of one process, with the children it has waited for; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def process_run_s(pid: int) -> float:
    """Seconds on a core of a process that has one thread, to the nanosecond (`stat` counts hundredths)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return process_cpu_s(pid)


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and everything below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return process_cpu_s(pid) + sum(tree_cpu_s(int(child)) for child in children)


def core_ticks() -> tuple[int, int]:
    """Ticks that this machine's cores were busy or wanted to be, and those of them that its host gave to others."""
    try:
        ticks = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except OSError:
        return 0, 0
    user, nice, system, _idle, _iowait, irq, softirq, stolen = ticks
    return user + nice + system + irq + softirq + stolen, stolen


def stolen(before: tuple[int, int]) -> str:
    """What to know of a virtual machine's wall times, which no clock within it can leave out."""
    wanted, taken = (now - then for now, then in zip(core_ticks(), before, strict=True))
    return f"While this was measured, the machine's host gave {taken / max(1, wanted):.0%} of its busy time to others."


def facts(postgres_version: str) -> list[str]:
    """The lines that a table of measurements needs above it to mean anything."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return [
        f"{datetime.now(UTC).date()}, {_processor()}, {cores} cores, {memory_gb:.0f} GB, load {load}",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, PostgreSQL {postgres_version}",
        ", ".join(versions),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def median(values: Iterable[float | None]) -> float | None:
    """The median of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def figure(value: float | None, digits: int | None = None, *, sign: bool = False) -> str:
    """A number with three significant places, or as many decimals as asked for; `-` when unknown."""
    if value is None:
        return "-"
    if digits is None:
        digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:{'+' if sign else ''},.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table: the first column left, the others right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        return f"| {' | '.join(cells)} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
