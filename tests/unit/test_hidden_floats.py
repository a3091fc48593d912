"""NaN and infinities, which orjson writes as null, are found in whatever else a payload holds."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.telling.bodies import FEW_VALUES, LONG_JSON, hides_float

LONG = "null " * LONG_JSON
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.sampled_from(["", "null", LONG]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


def odd(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(odd, value.values()))
    return isinstance(value, list) and any(map(odd, value))


@given(VALUES)
def test_one_is_found_wherever_it_is(value: Any) -> None:
    assert hides_float(orjson.dumps(value), value) is odd(value)


@pytest.mark.parametrize("last", [None, 0.5, math.nan, -math.inf])
def test_one_is_found_behind_many_values_and_in_what_is_no_plain_data(last: float | None) -> None:
    many = [LONG, *range(2 * FEW_VALUES), last]
    apart = (LONG, {"x": (last,)})
    for value in (many, apart):
        assert hides_float(orjson.dumps(value), value) is odd(last)
