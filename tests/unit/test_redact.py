"""Redaction: what must not be stored is not, failures close, and no text takes longer than its length."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chopsky_trace.enrich import secrets as module
from chopsky_trace.enrich.redact import FAILED, NOT_CAPTURED, Redactor, mask
from chopsky_trace.enrich.secrets import SECRET, without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to a.b+c@example.co.uk.", "write to [email]."),
        ("call +49 170 1234567 or (415) 555-2671 or 415-555-2671", "call [phone] or [phone] or [phone]"),
        ("+14155552671", "[phone]"),
        ("card 4111 1111 1111 1111, 4111111111111111", "card [card], [card]"),
        ("5 4111-1111-1111-1111", "5 [card]"),
        ("4111 1111 1111 1111 5555 5555 5555 4444 4111 1111 1111 1111", "[card] [card] [card]"),
        ("DE89 3704 0044 0532 0130 00", "[iban]"),
        ("pay GB29NWBK60161331926819 TODAY", "pay [iban] TODAY"),
        ("from 192.168.1.10 to 2001:db8::1 and ::1", "from [ip] to [ip] and [ip]"),
        ("fe80:0:0:0:1:2:3:4", "[ip]"),
        ("ssn 078-05-1120", "ssn [ssn]"),
        ("Authorization: Bearer abcdefgh.ijk-l=", "Authorization: Bearer [secret]"),
        ("sk-proj-abcdefghijklmnopqrst", "[secret]"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("ghp_abcdefghijklmnopqrstuvwx", "[secret]"),
        ("token eyJhbGciOi.eyJzdWIiOi.SflKxwRJ_-", "token [secret]"),
        ("postgres://me:p@ss@db:5432/x", "postgres://[secret]@db:5432/x"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII-x\n-----END RSA PRIVATE KEY----- rest", "[secret] rest"),
        ("-----BEGIN PRIVATE KEY-----\nMII never ends", "[secret]"),
    ],
)
def test_masked(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Whisk 2 eggs, 250 ml milk; bake at 180 for 45 minutes.",
        "2026-11-22 12:30:45",
        "1.234.567 or 12 345 678",
        "v1.2.3.4000",
        "4111 1111 1111 1112",
        "550e8400-e29b-41d4-a716-446655440000",
        "a::b std::vector",
        "user@host",
        "me @home",
        "https://example.com/a?b=1",
        "task-sk-1",
        "3.14159265358979",
        "12:30",
        "DE00 3704 0044 0532 0130 00",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert mask(text) == text


@given(
    st.lists(
        st.sampled_from(
            ["hello", "7", "x@y.example", "sk-abcdefghijklmnopqrstu", "10.0.0.1", "é", "(", "+", "4111111111111111"]
        )
    )
)
def test_planted_secrets_never_survive(words: list[str]) -> None:
    masked = mask(" , ".join(words))
    for secret in ("x@y.example", "sk-abcdefghijklmnopqrstu", "10.0.0.1", "4111111111111111"):
        assert secret not in masked


UNITS = [
    "a",
    "@",
    "a@",
    "a@b.",
    "1",
    "1-",
    "1.",
    " 1",
    ":",
    "1:",
    "eyJ",
    "eyJaaaaaa.",
    "-----BEGIN PRIVATE KEY-----",
    "-",
    "://",
    "://a@",
    "://a",
    "DE89 ",
    "AB12",
    "AB12 ABCD ",
    "bearer ",
    "sk-",
    "sk-a",
    "(",
    "+1",
    "1.1.1.",
    "1::",
    "?a=",
    "4111 ",
    "é",
]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", UNITS)
def test_a_hostile_text_is_masked_in_the_time_of_a_harmless_one(unit: str) -> None:
    """Nothing is timed here: a pattern that goes back over what it took would meet the timeout."""
    text = unit * (300_000 // len(unit))
    # An open private key takes all that follows it.
    assert mask(text + " ann@example.com").endswith(("[email]", "[secret]"))
    assert without_secrets({"url": f"https://{text}?token=abcdefgh"})["url"].startswith("https://")


def test_full_level_changes_nothing() -> None:
    redactor = Redactor("full", None)
    value = {"a": ["x@y.example"]}
    assert redactor.value(value) is value
    assert redactor.text("x@y.example") == "x@y.example"


def test_metadata_level_keeps_no_content() -> None:
    redactor = Redactor("metadata", lambda text: text)
    assert redactor.text("hello") == NOT_CAPTURED
    assert [redactor.value(value) for value in ({"a": 1}, ["b"], "c", 4, None)] == [
        {},
        [],
        NOT_CAPTURED,
        NOT_CAPTURED,
        None,
    ]


def test_patterns_come_before_the_callable_in_keys_too() -> None:
    redactor = Redactor("masked", lambda text: text.replace("[email]", "<E>").upper())
    assert redactor.value({"x@y.example": ["x@y.example", 1, None, True, 1.5, {"k": ("b",)}]}) == {
        "<E>": ["<E>", 1, None, True, 1.5, {"K": ["B"]}]
    }
    assert redactor.value({"a@y.example": 1, "b@y.example": 2}) == {"<E>": 1, "<E> (2)": 2}
    assert redactor.failures == 0


def raising(text: str) -> str:
    raise ValueError(text)


@pytest.mark.parametrize("redact", [raising, lambda text: None, lambda text: text.encode(), lambda text: 1])
@pytest.mark.parametrize("level", ["full", "masked"])
def test_failure_closes(level: Any, redact: Any) -> None:
    redactor = Redactor(level, redact)
    assert redactor.text("secret") == FAILED
    # A key may be content too; two that become equal both stay.
    assert redactor.value({"a": "secret", "b": ["secret"], "c": 3}) == {
        FAILED: FAILED,
        f"{FAILED} (2)": [FAILED],
        f"{FAILED} (3)": 3,
    }
    assert redactor.failures == 6


def test_one_failing_field_costs_that_field() -> None:
    redactor = Redactor("full", lambda text: text if text != "bad" else raising(text))
    assert redactor.value(["good", "bad", "good"]) == ["good", FAILED, "good"]
    assert redactor.failures == 1


def test_what_cannot_be_looked_at_is_not_stored() -> None:
    deep: Any = "secret"
    for _ in range(3_000):
        deep = [deep]
    redactor = Redactor("masked", None)
    assert "secret" not in repr(redactor.value([deep, object(), b"secret"]))
    assert redactor.failures == 3


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "api_key",
        "apiKey",
        "X-API-Key",
        "openai_api_key",
        "OPENAI_APIKEY",
        "key",
        "token",
        "access_token",
        "idToken",
        "x-amz-security-token",
        "cookie",
        "Set-Cookie",
        "password",
        "db_password",
        "PGPASSWORD",
        "clientSecret",
        "credentials",
        "aws_credentials",
        "private_key",
        "dsn",
        "connection_string",
        "access_tokens",
        "HTTPAuthToken",
    ],
)
def test_secret_keys(key: str) -> None:
    assert without_secrets({key: "v", "other": "w"}) == {key: SECRET, "other": "w"}
    assert without_secrets({"a": [{"b": {key: {"nested": "v"}}}]}) == {"a": [{"b": {key: SECRET}}]}
    assert without_secrets({"headers": [(key, "v"), ["accept", "w"]]}) == {"headers": [[key, SECRET], ["accept", "w"]]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_tokens", 5),
        ("input_tokens", 3),
        ("total_tokens", "3"),
        ("token_usage", {"a": 1}),
        ("monkey", "m"),
        ("author", "a"),
        ("tokens", ["to", "ken"]),
        ("input_key", "question"),
        ("eos_token", "</s>"),
        ("prompt_cache_key", "k"),
        ("max_token", 9),
        ("api_key", None),
        ("token", ""),
        ("keyword", "w"),
        ("thread_id", "t"),
        ("secretary", "Ann"),
        ("authenticated", True),
        ("cookies", {}),
    ],
)
def test_open_keys(key: str, value: Any) -> None:
    assert without_secrets({key: value}) == {key: value}


def test_credentials_inside_text_are_taken_out() -> None:
    assert without_secrets(
        {"base_url": "https://u:p@h/x?api_key=abc&page=2#f", "note": "Bearer abcdefghij", "n": ["redis://:pw@h"]}
    ) == {
        "base_url": "https://[secret]@h/x?api_key=[secret]&page=2#f",
        "note": "Bearer [secret]",
        "n": ["redis://[secret]@h"],
    }


def test_cycles_and_depth_end() -> None:
    loop: dict[str, Any] = {"password": "v"}
    loop["a"] = loop["b"] = loop
    assert "'v'" not in repr(without_secrets(loop))


@pytest.mark.parametrize("mappings", [3, module.MAX_MAPPINGS, 2 * module.MAX_MAPPINGS])
def test_secrets_are_found_below_and_beside_many_mappings(mappings: int) -> None:
    beside = {f"n{n}": {"x": n} for n in range(mappings)}
    assert without_secrets({**beside, "last": {"password": "v"}}) == {**beside, "last": {"password": SECRET}}
    below: dict[str, Any] = {"password": "v"}
    for _ in range(min(mappings, 20)):
        below = {"x": below}
    assert "'v'" not in repr(without_secrets(below))


def test_verdicts_are_remembered_within_a_bound() -> None:
    for n in range(module.MAX_VERDICTS * 2):
        without_secrets({f"k{n}_password": "v"})
    assert 0 < len(module._verdicts) <= module.MAX_VERDICTS


@given(
    st.dictionaries(
        st.text(max_size=12) | st.sampled_from(["password", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
            max_leaves=10,
        ),
        max_size=5,
    )
)
def test_shape_is_kept_and_twice_is_once(mapping: dict[str, Any]) -> None:
    clean = without_secrets(mapping)
    assert list(clean) == list(mapping)
    assert without_secrets(clean) == clean
