"""Whether what comes can be kept: 200 means that it is in the journal."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from chopsky_trace.telemetry.conventions.native import NativeLog, NativeSpan
from chopsky_trace.writer import Writer
from chopsky_trace.writer.folders import make_folder

PROBE = bytes(4096)
PROBED_S = 1.0
"""How long a probe's result holds for those who only ask."""


class Custody(Protocol):
    """Who makes records of spans and log records, and puts them into the journal."""

    def spans(self, spans: Sequence[NativeSpan], /) -> bool:
        """Whether all of them are accepted."""
        ...

    def logs(self, logs: Sequence[NativeLog], /) -> bool:
        """Whether all of them are accepted."""
        ...


class Keeper:
    """Takes custody only while the journal takes records.

    A writer whose journal cannot be written keeps records in memory for a while: the best there is for an application,
    but a client of ours still has what it sent, and is asked to keep it.
    """

    def __init__(self, custody: Custody, writer: Writer) -> None:
        self._custody = custody
        self._writer = writer
        self._lock = threading.Lock()
        self._in_doubt = False
        self._probed = (0.0, True)

    def spans(self, spans: Sequence[NativeSpan]) -> bool:
        """Whether all of them are in the journal."""
        return self._keep(lambda: self._custody.spans(spans)) if spans else True

    def logs(self, logs: Sequence[NativeLog]) -> bool:
        """Whether all of them are in the journal."""
        return self._keep(lambda: self._custody.logs(logs)) if logs else True

    def _keep(self, put: Callable[[], bool]) -> bool:
        before = self._writer.stats()
        if before["backlog_bytes"] >= before["journal_max_bytes"]:
            # Not even tried, so that nothing is counted as lost that its sender still has.
            return False
        if before["memory_records"]:
            # What is sent again now may be what only memory holds, and custody would take it for told.
            return False
        if self._in_doubt and not self._takes_a_file():
            return False
        kept = put() and not self._writer.stats()["memory_records"]
        self._in_doubt = not kept
        return kept

    def state(self) -> dict[str, Any]:
        """How journal and writer are: numbers and yes or no, nothing of what is in them or of where they are."""
        stats = self._writer.stats()
        with self._lock:
            at, writable = self._probed
            if time.monotonic() - at > PROBED_S:
                writable = self._takes_a_file()
                self._probed = (time.monotonic(), writable)
        return {
            "journal": {
                "writable": writable,
                "full": stats["backlog_bytes"] >= stats["journal_max_bytes"],
                "backlog_records": stats["backlog_records"],
                "backlog_bytes": stats["backlog_bytes"],
                "memory_records": stats["memory_records"],
            },
            "writer": {
                "accepted_records": stats["accepted_records"],
                "stored_records": stats["stored_records"],
                "last_write_at": stats["last_write_at"],
                "in_trouble": stats["last_error"] is not None,
                "losses": stats["losses"],
            },
        }

    def _takes_a_file(self) -> bool:
        folder = Path(self._writer.stats()["journal"])
        try:
            make_folder(folder)
            with tempfile.TemporaryFile(dir=folder, prefix=".probe-") as file:
                os.write(file.fileno(), PROBE)
        except OSError:
            return False
        return True
