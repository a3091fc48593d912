"""Follows runs as they start and end, by polling: it works through every pooler, and needs no trigger."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from chopsky_trace.database.read import Reader, Row

OVERLAP = timedelta(seconds=60)
"""Transactions commit out of order: what arrived so long before the last poll is looked at again."""
MOST_OPEN = 1_000
"""Runs under way that are followed at once; beyond it the oldest are no longer waited for."""
MOST_SEEN = 20_000
"""Runs remembered."""
PAGE = 2_000
"""Runs read by one poll."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

Event = Literal["started", "ended"]


class Follower:
    """Finds what is new at each `poll`.

    Runs are found by created_at, which is indexed and never changes, and those under way are then asked for by id: an
    index on updated_at would cost every write.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._statuses: OrderedDict[UUID, str] = OrderedDict()
        self._polled_at: datetime | None = None
        self.missed = False
        """Whether runs ever arrived faster than a poll reads; those are then not told of."""

    def poll(self, *, recent: int = 0) -> list[tuple[Event, Row]]:
        """What has happened since the last poll, oldest first; the first poll tells of the last `recent` runs.

        A run that started and ended in between is one event, `ended`.
        """
        now: datetime = self._reader.rows("server_time")[0]["server_time"]
        if self._polled_at is None:
            events = self._begin(now, recent)
        else:
            arrived = self._reader.rows("runs_new", since=self._polled_at - OVERLAP, limit=PAGE)
            if len(arrived) == PAGE and arrived[-1]["id"] not in self._statuses:
                self.missed = True
            events = self._changed(arrived[::-1])
            # Those just read are as they are; the others under way are asked for.
            read = {row["id"] for row in arrived}
            open_ids = [
                run_id for run_id, status in self._statuses.items() if status == "active" and run_id not in read
            ]
            events += self._changed(self._reader.rows("runs_of_ids", ids=open_ids[-MOST_OPEN:])) if open_ids else []
        self._polled_at = now
        while len(self._statuses) > MOST_SEEN:
            self._statuses.popitem(last=False)
        return events

    def _begin(self, now: datetime, recent: int) -> list[tuple[Event, Row]]:
        events = self._changed(self._reader.rows("runs_new", since=BEGINNING, limit=recent)[::-1]) if recent else []
        # Known, though not told of: those under way are waited for, those of the overlap are not new.
        known = self._reader.rows("runs_active", limit=MOST_OPEN) + self._reader.rows(
            "runs_new", since=now - OVERLAP, limit=PAGE
        )
        for row in known:
            self._statuses.setdefault(row["id"], row.get("status", "active"))
        return events

    def _changed(self, rows: list[Row]) -> list[tuple[Event, Row]]:
        events: list[tuple[Event, Row]] = []
        for row in rows:
            if self._statuses.get(row["id"]) != row["status"]:
                self._statuses[row["id"]] = row["status"]
                events.append(("started" if row["status"] == "active" else "ended", row))
        return events
