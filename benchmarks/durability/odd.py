"""Inputs that serialisers stumble over."""

from __future__ import annotations

import array
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
from langchain_core.messages import HumanMessage


class RaisingRepr:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class RaisingModel(pydantic.BaseModel):
    """Cannot be dumped."""

    count: int = 1

    @pydantic.field_serializer("count")
    def refuse(self, value: int) -> int:
        raise ValueError("no serialising")


def cycle() -> dict[str, Any]:
    """A dict in itself."""
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def deep() -> list[Any]:
    """A list in a list, 3,000 times."""
    made: list[Any] = []
    for _ in range(3_000):
        made = [made]
    return made


def message() -> HumanMessage:
    """A message with things in it that are no JSON."""
    return HumanMessage("?", additional_kwargs={"object": object(), "lock": threading.Lock()})


ODD: dict[str, Callable[[], object]] = {
    "an object whose `__repr__` raises": RaisingRepr,
    "a pydantic model whose serialiser raises": RaisingModel,
    "a cycle": cycle,
    "3,000 levels": deep,
    "a lone surrogate": lambda: "a\ud800b",
    "NUL": lambda: "a\x00b",
    "NaN and infinity": lambda: [float("nan"), float("inf")],
    "an integer of 70 bits": lambda: 2**70,
    "keys that are no strings": lambda: {("a", 1): 2, 3: 4},
    "bytes": lambda: b"\xff\x00\x01",
    "an array": lambda: array.array("d", [1.0, 2.0]),
    "a generator": lambda: (number for number in range(3)),
    "a class": lambda: RaisingRepr,
    "an exception": lambda: ValueError("odd"),
    "a lock": threading.Lock,
    "an open file": Path(os.devnull).open,
    "a message with objects in it": message,
    "30 MB of text": lambda: "x" * 30_000_000,
}
