"""Tokens estimated from the lengths of a call's texts, where its provider stated none and the user asked for it.

Four characters a token, three tokens more for each message of the prompt, 85 for an image: the numbers are those of
LangChain's `count_tokens_approximately`, which counts the roles' names, too, and rounds each message up, so it says a
little more. It needs no tokenizer and no network. Code, numbers and other scripts than Latin may be far off, so the
numbers are marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from chopsky_trace.records import Usage

CHARS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 3
TOKENS_PER_IMAGE = 85


def tokens(chars: int) -> int:
    """The tokens of so many characters, rounded up."""
    return -(-chars // CHARS_PER_TOKEN)


def estimated(usage: Usage, record: Mapping[str, Any]) -> Usage:
    """The usage with what is unknown in it estimated from the record's `lengths`; a pure function of the two.

    A call that was refused before its first token used nothing, and LangChain's own cache answers without any: neither
    is estimated. Nor is what the provider did state.
    """
    answered = record["status"] == "completed" or record.get("first_token_ms") is not None
    lengths = record.get("lengths")
    if not lengths or not answered or record.get("cached") or usage.get("total_tokens") is not None:
        return usage
    texts = lengths["input_chars"]
    whole = tokens(texts) + TOKENS_PER_MESSAGE * lengths.get("messages", 0)
    whole += TOKENS_PER_IMAGE * lengths.get("images", 0)
    output = tokens(lengths["output_chars"]) if "output_chars" in lengths else 0
    guessed: list[str] = []
    found: dict[str, Any] = dict(usage)
    if found.get("input_tokens") is None:
        found["input_tokens"] = whole
        guessed.append("input_tokens")
    # An answer without text may be an image, or something nobody saw: that is not an answer of no tokens.
    if found.get("output_tokens") is None and (output or "output_chars" not in lengths):
        found["output_tokens"] = output
        guessed.append("output_tokens")
    if found.get("output_tokens") is not None:
        found["total_tokens"] = found["input_tokens"] + found["output_tokens"]
    found["details"] = {**usage.get("details", {}), "estimated": guessed}
    found["source"] = "estimated"
    return cast("Usage", found)
