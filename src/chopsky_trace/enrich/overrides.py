"""The team's own prices, from the table `model_prices`: they go before the public price list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Overrides:
    """The rows of `model_prices`, ready to be asked. Immutable; safe to share between threads."""

    def __init__(self, rows: tuple[dict[str, Any], ...] = ()) -> None:
        self._rows = rows

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Overrides:
        """From rows as `database.prices.read_overrides` gives them, in any order."""
        return cls(tuple(dict(row) for row in rows))

    def __len__(self) -> int:
        return len(self._rows)
