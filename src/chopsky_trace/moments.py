"""Times as people write them, on the command line and to the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def moment(text: str) -> datetime:
    """A time: 30m, 24h, 7d, 2w (ago), or an ISO date or time, which has a zone where it names one.

    Raises:
        ValueError: it is neither.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([smhdw])", text.strip())
    if ago is None:
        return datetime.fromisoformat(text.strip())
    try:
        return datetime.now(UTC) - int(ago[1]) * UNITS[ago[2]]
    except OverflowError:
        raise ValueError("before all time") from None
