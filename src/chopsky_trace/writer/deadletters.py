"""Records that the database refuses, set aside with the reason."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

DEAD_LETTER = "dead-letter.jsonl"
DEAD_LETTER_BYTES = 100_000_000


def bury(folder: Path, record: bytes, reason: str) -> None:
    """Adds a record to the folder's dead letters, for its owner's eyes only.

    Raises:
        OSError: the file cannot be written, or is full.
    """
    entry: dict[str, Any] = {"at": time.time(), "error": reason}
    try:
        entry["record"] = record.decode()
    except UnicodeDecodeError:
        entry["record_base64"] = base64.b64encode(record).decode()
    _append(folder / DEAD_LETTER, json.dumps(entry).encode() + b"\n")


def _append(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(fd).st_size + len(line) > DEAD_LETTER_BYTES:
            raise OSError(f"{path} is full")
        os.write(fd, line)
    finally:
        os.close(fd)
