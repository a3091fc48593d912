"""Attributes that spell a list out, one attribute a field: `llm.input_messages.0.message.role`, `gen_ai.prompt.0.role`.

Any of them may be missing: the SDK keeps 128 attributes and drops the oldest, so a list may begin anywhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from chopsky_trace.telemetry.conventions.native import Attributes
from chopsky_trace.telemetry.conventions.parts import Fields, is_parts
from chopsky_trace.telemetry.conventions.values import loose

INPUT, OUTPUT = "llm.input_messages.", "llm.output_messages."
PROMPT, COMPLETION = "gen_ai.prompt.", "gen_ai.completion."
DOCUMENTS, RERANKED, EMBEDDED = "retrieval.documents.", "reranker.output_documents.", "embedding.embeddings."
PROMPTS, CHOICES = "llm.prompts.", "llm.choices."
_FAMILIES = (INPUT, OUTPUT, PROMPT, COMPLETION, DOCUMENTS, RERANKED, EMBEDDED, PROMPTS, CHOICES)
_DEEPEST = 12
_REMEMBERED = 20_000


class Listed(NamedTuple):
    """A list that attributes spell out."""

    items: list[Any]
    whole: bool
    """Whether no place of it is missing up to its last."""


class _Spot(NamedTuple):
    """Where in a list an attribute belongs."""

    family: str
    place: int
    steps: tuple[str, ...]
    last: str


_spots: dict[str, _Spot | None] = {}


def _spot(key: str) -> _Spot | None:
    spot = None
    family = next((f for f in _FAMILIES if key.startswith(f)), None)
    if family is not None:
        place, *path = key[len(family) :].split(".", _DEEPEST)
        if place.isascii() and place.isdigit() and path and len(place) < 8:
            spot = _Spot(family, int(place), tuple(path[:-1]), path[-1])
    if len(_spots) >= _REMEMBERED:
        _spots.clear()
    _spots[key] = spot
    return spot


def listed(attributes: Attributes) -> dict[str, Listed]:
    """Every such list, by what its attributes begin with."""
    found: dict[str, dict[int, Fields]] = {}
    spots = _spots
    for key, value in attributes.items():
        if value is None:
            continue
        # The same few hundred names in every span: taken apart once.
        spot = spots[key] if key in spots else _spot(key)
        if spot is None:
            continue
        family, place, steps, last = spot
        places = found.get(family)
        if places is None:
            places = found[family] = {}
        node = places.get(place)
        if node is None:
            node = places[place] = {}
        for step in steps:
            inner: Any = node.get(step)
            if inner.__class__ is not dict:
                inner = node[step] = {}
            node = inner
        # Copied where it can be written into: what the span has is its own.
        node[last] = dict(cast("Fields", value)) if value.__class__ is dict else value
    return {family: _settled(places) for family, places in found.items()}


def _settled(places: dict[int, Fields]) -> Listed:
    order = sorted(places)
    return Listed([_as_lists(places[n]) for n in order], order == list(range(len(order))))


def _as_lists(node: Any) -> Any:
    """The same, a list in the place of what has only numbers for names."""
    fields = cast("Fields", node)
    numbers = True
    for key, value in fields.items():
        if value.__class__ is dict:
            fields[key] = _as_lists(value)
        # Names among numbers make it no list.
        numbers = numbers and key.isdecimal() and key.isascii()
    if numbers:
        return [fields[key] for key in sorted(fields, key=int)]
    return fields


def openinference(items: list[Any]) -> list[Any]:
    """OpenInference's messages in the form that others have."""
    found: list[Any] = []
    for item in items:
        message: Any = item.get("message", item) if item.__class__ is dict else item
        if message.__class__ is not dict:
            continue
        fields = dict(cast("Fields", message))
        if fields.get("contents").__class__ is list:
            fields["contents"] = [_part(part) for part in fields["contents"]]
        if "function_call_name" in fields:
            arguments = fields.get("function_call_arguments_json")
            fields["function_call"] = {"name": fields["function_call_name"], "arguments": arguments}
        found.append(fields)
    return found


def _part(part: Any) -> Any:
    if part.__class__ is dict and part.get("message_content").__class__ is dict:
        fields = cast("Fields", part)
        return {**fields["message_content"], **{k: v for k, v in fields.items() if k != "message_content"}}
    return part


def traceloop(items: list[Any]) -> list[Any]:
    """OpenLLMetry's messages with their content as data where it is a list of parts, given as JSON."""
    found: list[Any] = []
    for item in items:
        if item.__class__ is dict and item.get("role") in ("thinking", "reasoning"):
            item = {"type": "reasoning", "content": item.get("content")}
        if item.__class__ is dict and "user" in item and "content" not in item:
            item = {"role": "user", "content": item["user"]}
        if item.__class__ is dict and item.get("content").__class__ is str and item["content"][:1] == "[":
            content = loose(item["content"])
            if content.__class__ is list and is_parts(cast("list[Any]", content)):
                item = {**item, "content": content}
        found.append(item)
    return found


def texts(items: list[Any], outer: str) -> list[str]:
    """The texts of items such as `{outer: {"text": ...}}`."""
    found: list[str] = []
    for item in items:
        inner: Any = item.get(outer) if item.__class__ is dict else None
        text: Any = inner.get("text") if inner.__class__ is dict else None
        if text.__class__ is str:
            found.append(text)
    return found


def litellm(attributes: Attributes, ending: str) -> Any:
    """The provider's own part of a request or response, as LiteLLM shows it: in Python's way of writing."""
    for name, value in attributes.items():
        if name.endswith(ending) and name.startswith("llm."):
            return loose(value)
    return None
