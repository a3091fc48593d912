"""The slow path: whatever the object, JSON that Postgres takes, and its neighbours whole."""

from __future__ import annotations

import ast
import asyncio
import collections
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import subprocess
import sys
import threading
import types
import uuid
from pathlib import Path
from typing import Any

import orjson
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich.limit import MAX_DEPTH, MAX_VALUES, clean

LONG = 10_000


class Odd:
    """Raises wherever it is touched."""

    def _raise(self, *args: Any) -> Any:
        raise ValueError("no")

    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __bool__ = __getattr__ = __hash__ = _raise  # pyright: ignore[reportAssignmentType]


class RaisingModel(pydantic.BaseModel):
    a: int = 1

    def model_dump(self, **_: Any) -> Any:
        raise RuntimeError("no")


class Model(pydantic.BaseModel):
    a: int = 1
    when: datetime.date = datetime.date(2026, 1, 2)
    secret: pydantic.SecretStr = pydantic.SecretStr("hidden")
    left_out: str = pydantic.Field(default="hidden", exclude=True)


@dataclasses.dataclass
class Point:
    x: float
    y: Any


class Colour(enum.Enum):
    RED = "red"


class Liar(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")

    __iter__ = __len__ = items


class Shout(str):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Array:
    """What numpy's arrays and scalars look like."""

    shape = (2, 2)
    dtype = "float32"

    def tolist(self) -> list[list[float]]:
        return [[1.0, 2.0], [3.0, float("nan")]]


class BigArray(Array):
    shape = (1_000, 1_000)

    def tolist(self) -> Any:
        raise AssertionError("must not be read")


def stored(value: object, max_string: int = LONG, **kwargs: Any) -> Any:
    """Cleaned, and through the two JSON writers a record passes."""
    data = clean(value, max_string, **kwargs)
    assert orjson.loads(orjson.dumps(data)) == data
    json.dumps(data, allow_nan=False).encode()
    return data


def neighbours(value: object) -> Any:
    before, odd, after = stored(["before", value, {"after": 1}])
    assert (before, after) == ("before", {"after": 1})
    return odd


def generator() -> Any:
    yield from range(3)


CASES: list[tuple[object, Any]] = [
    (float("nan"), {"$float": "NaN"}),
    (float("inf"), {"$float": "Infinity"}),
    (-float("inf"), {"$float": "-Infinity"}),
    (2**64, {"$int": str(2**64)}),
    (-(2**63) - 1, {"$int": str(-(2**63) - 1)}),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    (b"ab", {"$bytes": 2, "sha256": hashlib.sha256(b"ab").hexdigest()}),
    (bytearray(b""), {"$bytes": 0, "sha256": hashlib.sha256().hexdigest()}),
    (memoryview(b"abc")[::2], {"$bytes": 2, "sha256": hashlib.sha256(b"ac").hexdigest()}),
    ("a\0b", "a\ufffdb"),
    ("a\ud800b", "a\ufffdb"),
    ("\ud83d\ude00", "\U0001f600"),
    ("né", "né"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset(), []),
    ((1, (2,)), [1, [2]]),
    (collections.deque([1]), [1]),
    (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
    (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    (decimal.Decimal("1.10"), "1.10"),
    (Path("a") / "b", "a/b"),
    (1 + 2j, "(1+2j)"),
    (range(10**12), "range(0, 1000000000000)"),
    (Colour.RED, "red"),
    (Shout("x"), "x"),
    (Liar(a=1), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (True, True),
    (Point(1.5, Odd()), {"x": 1.5, "y": {"$object": f"{__name__}.Odd", "failed": "ValueError"}}),
    (
        Model(),
        {
            "a": 1,
            "when": "2026-01-02",
            "secret": {"$object": "pydantic.types.SecretStr", "repr": "SecretStr('**********')"},
        },
    ),
    (ValueError("bad"), {"$error": "ValueError", "message": "bad"}),
    (int, {"$class": "builtins.int"}),
    (len, {"$function": "builtins.len"}),
    (json, {"$module": "json"}),
    (iter([1]), {"$iterator": "list_iterator"}),
    (Odd(), {"$object": f"{__name__}.Odd", "failed": "ValueError"}),
    (RaisingModel(), {"$object": f"{__name__}.RaisingModel", "failed": "RuntimeError"}),
    (object(), {"$object": "builtins.object"}),
    (Array(), {"$array": "Array", "shape": [2, 2], "dtype": "float32", "data": [[1.0, 2.0], [3.0, {"$float": "NaN"}]]}),
    (BigArray(), {"$array": "BigArray", "shape": [1_000, 1_000], "dtype": "float32"}),
]


# By number: pytest itself would touch the values.
@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_odd_thing_is_marked_and_its_neighbours_arrive_whole(number: int) -> None:
    value, expected = CASES[number]
    assert neighbours(value) == expected


def test_what_lives_is_named_and_not_touched(tmp_path: Path) -> None:
    values = generator()
    assert neighbours(values) == {"$iterator": "generator"}
    assert list(values) == [0, 1, 2]

    async def nothing() -> None: ...

    coroutine = nothing()
    assert neighbours(coroutine) == {"$iterator": "coroutine"}
    asyncio.run(coroutine)
    path = tmp_path / "f.txt"
    path.write_text("text")
    with path.open() as file:
        assert neighbours(file) == {"$file": str(path), "mode": "r"}
        assert file.read() == "text"
    lock = threading.Lock()
    assert neighbours(lock)["$object"] == "_thread.lock"
    assert "0x" not in neighbours(lock)["repr"]


def test_numpy_where_the_user_has_it() -> None:
    numpy = pytest.importorskip("numpy")
    assert neighbours(numpy.float32(1.5)) == 1.5
    assert neighbours(numpy.array([1, 2])) == {"$array": "ndarray", "shape": [2], "dtype": "int64", "data": [1, 2]}


def test_long_string_is_cut_and_says_its_length() -> None:
    text = neighbours("é" * 30_000_000)
    assert text == "é" * LONG + "… [cut: 30000000 characters in all]"
    assert stored("é" * LONG) == "é" * LONG


def test_huge_integer_is_cut_too() -> None:
    marker = stored(1 << 4_000_000)["$int"]
    assert marker.startswith("0x1000")
    assert len(marker) < LONG + 100


def test_three_thousand_levels() -> None:
    deep: Any = "bottom"
    for _ in range(3_000):
        deep = {"next": [deep]}
    levels, here = 0, neighbours(deep)
    while isinstance(here, dict | list) and "$cut" not in here:
        here = here["next"] if isinstance(here, dict) else here[0]
        levels += 1
    assert here == {"$cut": "dict of 1"} or here == {"$cut": "list of 1"}
    assert MAX_DEPTH - 3 < levels <= MAX_DEPTH


def test_cycles() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["me"] = [loop]
    shared = [1]
    assert neighbours(loop) == {"a": 1, "me": [{"$cycle": "dict"}]}
    assert stored([shared, shared]) == [[1], [1]]
    point = Point(1, None)
    point.y = point
    assert stored(point) == {"x": 1, "y": {"$cycle": "Point"}}


def test_count_and_size_are_bounded() -> None:
    many = stored([0] * (MAX_VALUES * 2))
    assert MAX_VALUES - 2 <= len(many) <= MAX_VALUES + 1
    assert many[-1].startswith("… [cut: ")
    assert many[-1].endswith(f" of {MAX_VALUES * 2}]")
    branching: list[Any] = []
    for _ in range(40):
        branching = [branching, branching]
    assert len(json.dumps(stored(branching))) < 20_000_000
    strings = stored(["x" * 1_000] * 1_000, max_string=1_000)
    assert sum(map(len, strings)) < 200_000
    assert len(stored(dict.fromkeys(range(MAX_VALUES * 2)))) <= MAX_VALUES + 1


def test_keys_become_text_and_none_is_swallowed() -> None:
    assert stored({1: "a", "1": "b", None: "c", (1, 2): "d", "k\0": "e"}) == {
        "1": "a",
        "1 (str 0)": "b",
        "None": "c",
        "(1, 2)": "d",
        "k\ufffd": "e",
    }

    class Key:
        def __str__(self) -> str:
            raise ValueError

    assert list(stored({Key(): 1, "b": 2}).values()) == [1, 2]
    assert max(map(len, stored({"k" * 10_000_000: 1}))) < 3_000


def test_a_dict_with_nothing_to_mark_is_the_same_data() -> None:
    value = {"a": [1, 2.5, None, True, "text", {"b": []}]}
    assert stored(value) == value


def test_hook_goes_first_and_may_fail() -> None:
    def hook(value: object) -> object | None:
        if isinstance(value, Point):
            if value.x < 0:
                raise RuntimeError("no")
            return {"point": [value.x, value.y, float("nan")]} if value.x else value
        return None

    assert stored([Point(1, Point(2, 3))], hook=hook) == [
        {"point": [1, {"point": [2, 3, {"$float": "NaN"}]}, {"$float": "NaN"}]}
    ]
    assert stored([Point(-1, 2), Point(0, 2)], hook=hook) == [{"x": -1, "y": 2}, {"x": 0, "y": 2}]


def test_a_full_stack_is_survived() -> None:
    def descend(left: int) -> Any:
        try:
            return descend(left - 1) if left else clean([[[[1]]]], LONG)
        except RecursionError:
            return clean([[[[1]]]], LONG)

    limit = sys.getrecursionlimit()
    json.dumps(descend(limit))


def test_numpy_is_not_imported() -> None:
    names = "{'numpy', 'pydantic', 'langchain_core'}"
    code = f"import sys, chopsky_trace.enrich.limit; sys.exit(bool({names} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_marker_is_documented() -> None:
    import chopsky_trace.enrich.limit as module

    source = Path(module.__file__).read_text("utf-8")
    markers = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("$")
        and len(node.value) > 2
    }
    assert markers
    assert all(f'"{marker}"' in (module.__doc__ or "") for marker in markers)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(Odd)
    | st.just(float),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text() | st.none(), inner)
        | st.builds(Point, inner, inner)
    ),
    max_leaves=20,
)


@given(anything)
def test_anything_becomes_json_and_cleaning_twice_changes_nothing(value: object) -> None:
    data = stored(value)
    assert clean(data, LONG) == data


def test_media_is_whole_or_not_at_all() -> None:
    """Half of an image is worth nothing; a text is cut wherever it stands."""
    data = "iVBORw0K" * 1_000
    block = {"type": "file", "data": data, "text": data, "url": f"data:image/png;base64,{data}"}
    assert clean(block, 1_000) == {
        "type": "file",
        "data": data,
        "text": f"{data[:1_000]}… [cut: 8000 characters in all]",
        "url": f"data:image/png;base64,… [cut: {8_000 + 22} characters in all]",
    }, "16,000 characters are kept of one object"
    assert clean({"data": "no base64: " * 1_000}, 1_000)["data"].endswith("… [cut: 11000 characters in all]")
