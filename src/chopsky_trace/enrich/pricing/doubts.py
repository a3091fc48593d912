"""Where the public price list would give a wrong price: such a call has none, until the team sets its own.

Each entry is for a price as the list has it now, so a list that is mended is believed again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple


class _Doubt(NamedTuple):
    provider: str
    names: re.Pattern[str]
    """The model by the name that it was looked up by, in lower case, as a whole."""
    why: str
    since: date | None = None
    """Calls from this day on, in UTC."""
    listed: frozenset[Decimal] | None = None
    """Only where the list's price of input tokens is one of these."""


def _prices(*listed: str) -> frozenset[Decimal]:
    return frozenset(map(Decimal, listed))


DOUBTS = (
    _Doubt("openai", re.compile(r"gpt-oss.*"), "OpenAI serves no open weights: whoever does sets the price"),
    _Doubt(
        "deepseek",
        re.compile(r"deepseek-(?:chat|reasoner)"),
        "the list has the price from before 5 September 2025",
        date(2025, 9, 5),
        _prices("0.27", "0.135", "0.55"),
    ),
    _Doubt(
        "mistral",
        re.compile(r"mistral-large(?:-latest)?"),
        "the name stands for a newer model since 2 December 2025",
        date(2025, 12, 2),
        _prices("2"),
    ),
    _Doubt(
        "together",
        re.compile(r"mistralai/mixtral-8x7b-(?:instruct-)?v0\.1"),
        "the list's price is not Together's",
        listed=_prices("0.9"),
    ),
    _Doubt(
        "google",
        re.compile(r"gemini-(?:1\.0-)?pro(?:-001|-002|-vision.*)?"),
        "the list has a price by the character as one by the token",
        listed=_prices("0.125"),
    ),
    _Doubt("google", re.compile(r"gemini-2\.0-flash-exp"), "it was an experiment, and free"),
    _Doubt(
        "google",
        re.compile(r"gemini-(?:flash|flash-lite|pro)-latest"),
        "the name stands for one model after another: which one answered is not reported",
    ),
)


def days_of(provider: str, name: str) -> list[date]:
    """The days from which on a name is doubted."""
    return [one.since for one in DOUBTS if one.since and one.provider == provider and one.names.fullmatch(name)]


def doubt(provider: str, name: str, at: datetime, listed: Mapping[str, Any]) -> str | None:
    """Why a price of the list is not to be believed, if so.

    Args:
        provider: genai-prices' id.
        name: the model, as it was looked up, in lower case.
        at: when the call was made.
        listed: the list's prices by price key.
    """
    if provider == "perplexity" and "requests_kcount" in listed:
        return "no price for the request: it depends on search_context_size, the list has only the highest"
    price = listed.get("input_mtok")
    base = getattr(price, "base", price)
    for one in DOUBTS:
        if (
            one.provider == provider
            and one.names.fullmatch(name)
            and (one.since is None or at.astimezone(UTC).date() >= one.since)
            and (one.listed is None or base in one.listed)
        ):
            return f"the public price is wrong: {one.why}"
    return None
