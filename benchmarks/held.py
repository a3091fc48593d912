"""What this package holds in memory: its living objects, and the lengths of all that they and its modules keep."""

from __future__ import annotations

import gc
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

PACKAGE = "chopsky_trace"
CONTAINERS = (dict, list, set, deque)


@dataclass(frozen=True, slots=True)
class Held:
    """At one moment."""

    objects: Counter[str]
    """Living instances of the package's own classes, by class."""
    lengths: dict[str, int]
    """`module.name` or `Class.attribute` -> length of the longest container there."""


def look() -> Held:
    """What is held once everything that nobody refers to is gone."""
    gc.collect()
    objects: Counter[str] = Counter()
    lengths: dict[str, int] = {}
    for place, value in _places(objects):
        if isinstance(value, CONTAINERS):
            lengths[place] = max(lengths.get(place, 0), len(value))
    for name, cache in caches():
        lengths[name] = cache.cache_info().currsize
    return Held(objects, lengths)


def caches() -> Iterator[tuple[str, Any]]:
    """The package's functions that remember their answers."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            if hasattr(value, "cache_info") and value.__module__ == module.__name__:
                yield f"{module.__name__.removeprefix(PACKAGE + '.')}.{name}", value


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.split(".", 1)[0] == PACKAGE:
            yield module


def _places(objects: Counter[str]) -> Iterator[tuple[str, Any]]:
    for module in _modules():
        for name, value in list(vars(module).items()):
            if not name.startswith("__") and not isinstance(value, (type, FunctionType, ModuleType)):
                yield f"{module.__name__.removeprefix(PACKAGE + '.')}.{name}", value
    for thing in gc.get_objects():
        kind = type(thing)
        if isinstance(thing, type) or str(kind.__module__).split(".", 1)[0] != PACKAGE:
            continue
        objects[kind.__qualname__] += 1
        held: dict[str, Any] = getattr(thing, "__dict__", None) or {}
        slots = [slot for base in kind.__mro__ for slot in vars(base).get("__slots__", ())]
        for name in (*held, *slots):
            yield f"{kind.__qualname__}.{name}", held[name] if name in held else getattr(thing, name, None)
