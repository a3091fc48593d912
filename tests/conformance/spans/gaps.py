"""What of the truth the telemetry does not hold, or holds wrong: each with what we then say, and why.

A gap that is no longer met fails: whoever mends one takes it out.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from conformance.spans.corpus import Scenario


class Gap(NamedTuple):
    """Scenarios in which fields are not what the provider knows."""

    where: str
    """Pattern of instrumentor/scenario."""
    said: dict[str, Any]
    """What we say of these fields instead."""
    why: str

    def is_of(self, scenario: Scenario, field: str) -> bool:
        return field in self.said and fnmatchcase(scenario.id, self.where)


GAPS: tuple[Gap, ...] = ()


def gap_of(scenario: Scenario, field: str) -> Gap | None:
    """The gap that explains a difference."""
    return next((gap for gap in GAPS if gap.is_of(scenario, field)), None)
