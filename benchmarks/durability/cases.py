"""What is done to the contenders."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """Something that happens to a process."""

    title: str
    scenario: str
    """A method of `work.Work`."""
    count: int
    hurts: tuple[tuple[float, str], ...] = ()
    """Seconds after the beginning (0: before it), and what is then done: a signal, or something to the backend."""
    later_for_all: bool = False
    """The next process is started for those, too, who keep nothing on disk."""
    roots: bool = False
    """Roots are counted, not runs."""
    marks: str = ""
    """Only runs whose mark begins so are counted."""
    long: bool = False
    """Begun before others, so that those fill the gaps."""


def cases(share: float) -> list[Case]:
    """All of them, with `share` of the usual counts."""
    order = random.Random(11)

    def of(count: int) -> int:
        return max(8, round(count * share))

    def killed(name: str) -> tuple[tuple[float, str], ...]:
        return ((order.uniform(6, 12), name),)

    paced = of(700)
    return [
        Case("normal exit", "full_speed", of(200)),
        Case("`os._exit`", "os_exit", of(200)),
        *(Case("SIGKILL in the middle", "paced", 10_000, killed("SIGKILL")) for _ in range(2)),
        Case("SIGTERM, default disposition", "paced", 10_000, killed("SIGTERM")),
        Case("SIGTERM, a handler calls `sys.exit`", "leave_by_sigterm", 10_000, killed("SIGTERM")),
        Case("exit while the backend is down", "paced", of(100), ((0, "down"),), later_for_all=True),
        Case(
            f"backend down for {20 * share:.0f} s, then back",
            "paced",
            paced,
            ((4, "down"), (4 + 20 * share, "fine")),
            long=True,
        ),
        Case(
            f"429 (for us: too many connections) for {15 * share:.0f} s",
            "paced",
            paced,
            ((4, "429"), (4 + 15 * share, "fine")),
        ),
        Case(
            f"500 (for us: a read-only database) for {15 * share:.0f} s",
            "paced",
            paced,
            ((4, "500"), (4 + 15 * share, "fine")),
        ),
        Case("each answer takes 2 s", "full_speed", of(200), ((0, "slow 2"),)),
        Case(
            f"at full speed, no answer for {20 * share:.0f} s",
            "full_speed",
            of(2_000),
            ((0, "silent"), (20 * share, "fine")),
        ),
        Case("two forked children after use, which call `sys.exit`", "fork", of(50)),
        Case("two children of `multiprocessing` after use", "multiprocess", of(50)),
        Case("8 threads outlive the main one", "threads", of(25)),
        Case("half of the `ainvoke` cancelled", "cancelled", of(100)),
        Case("roots of a `batch()` of 50 and an `invoke` before and after", "batch", 50, roots=True),
        Case("runs with one of 18 odd objects as input", "odd", 18, marks="odd"),
        Case("at full speed", "measured", of(5_000), long=True),
        Case(
            "at full speed with the backend down, then `os._exit`",
            "measured_until_killed",
            of(2_000),
            ((0, "down"),),
            long=True,
        ),
    ]
