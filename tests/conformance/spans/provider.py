"""The provider that the recorded telemetry tells of answers by rule: asked again, it has to give the same answer."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import orjson
from conformance.spans.corpus import FOLDER

Row = dict[str, Any]
IMAGES = frozenset(("image", "image_url"))


class Asked(NamedTuple):
    """What a model call was given and what it answered, as rows of messages."""

    prompt: list[Row]
    answers: list[Row]


@lru_cache(1)
def provider() -> ModuleType:
    """The program that answered, from beside the recorded spans."""
    spec = importlib.util.spec_from_file_location("recorded_provider", FOLDER / "fake_llm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fits(calls: Iterable[Asked]) -> int:
    """Of how many calls the answer is what the provider says to such a prompt."""
    return sum(answer_to(asked) == said(asked) for asked in calls)


def answer_to(asked: Asked) -> tuple[str, list[tuple[str, Any]]]:
    """What the provider says to the prompt: a text, or the tools it calls."""
    tools = [name for name, _ in said(asked)[1]]
    _, calls, text = provider().plan([_canonical(row) for row in asked.prompt], tools)
    return ("", list(calls)) if calls else (text, [])


def said(asked: Asked) -> tuple[str, list[tuple[str, Any]]]:
    """What was answered, its first choice."""
    first = asked.answers[0]
    calls = [(call["name"], call["args"]) for call in first["tool_calls"] or ()]
    return ("", calls) if calls else (_text(first), [])


def _canonical(row: Row) -> Row:
    """A message as the provider takes it."""
    calls = [[call.get("id"), call["name"], orjson.dumps(call["args"]).decode()] for call in row["tool_calls"] or ()]
    parts = row["parts"] or ()
    images = sum(part.get("type") in IMAGES for part in parts)
    return {"role": row["role"], "text": _text(row), "images": images, "tool_calls": calls}


def _text(row: Row) -> str:
    if row["parts"]:
        return "".join(part.get("text", "") for part in row["parts"] if part.get("type") == "text")
    return row["content"] or ""
