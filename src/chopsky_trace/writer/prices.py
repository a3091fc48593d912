"""The team's own prices as the worker has them: read on connecting, and again once a minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from chopsky_trace.errors import described
from chopsky_trace.records import iso_time

if TYPE_CHECKING:
    from chopsky_trace.database.connect import Connection
    from chopsky_trace.enrich.pricing.overrides import Overrides

REFRESH_S = 60.0
"""How old they may be while a connection lasts."""


class TeamPrices:
    """The table `model_prices` as it was last read.

    Where it cannot be read, records are stored all the same: with what was read before, and where nothing was, with the
    public price list alone. That is counted, and said in `stats()` and `writer_status`.
    """

    def __init__(self) -> None:
        self.overrides: Overrides | None = None
        self.error: str | None = None
        """Why the last look failed."""
        self._failed_reads = 0
        self._read_at: float | None = None
        self._rows: list[dict[str, Any]] = []
        self._due = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def read(self, connection: Connection) -> None:
        """Reads the table; nothing else may be under way on the connection.

        Raises:
            psycopg.Error: the connection is broken.
        """
        from chopsky_trace.database.prices import read_overrides
        from chopsky_trace.enrich.pricing.overrides import Overrides

        self._due = time.monotonic() + REFRESH_S
        try:
            rows = read_overrides(connection)
            # The same rows keep what was made of them.
            if self.overrides is None or rows != self._rows:
                self._rows, self.overrides = rows, Overrides.from_rows(rows)
        except Exception as error:
            if connection.closed:
                raise
            self._failed_reads += 1
            self.error = described(error)
        else:
            self._read_at = time.time()
            self.error = None

    def expire(self) -> None:
        """They may have changed since: read them before the next use."""
        self._due = 0.0

    def stats(self) -> dict[str, Any]:
        """`rows` applied, `unusable` ones (id to reason), `read_at` (ISO 8601), `failed_reads`, `error`."""
        overrides = self.overrides
        return {
            "rows": 0 if overrides is None else len(overrides),
            "unusable": {} if overrides is None else overrides.unusable,
            "read_at": iso_time(self._read_at),
            "failed_reads": self._failed_reads,
            "error": self.error,
        }
