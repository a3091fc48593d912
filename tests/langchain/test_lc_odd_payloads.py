"""Odd objects: the odd run arrives, marked, and its neighbours arrive whole."""

from __future__ import annotations

import os
import threading
from typing import Any

import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from lc_support import ScriptedChat, Store, ai, answer_last, call


class RaisingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class RaisingHash:
    __hash__ = None  # type: ignore[assignment]  # what cannot be hashed must not matter

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __len__(self) -> int:
        raise RuntimeError("no length")


class RaisingAttributes:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # the hostile object under test
        raise RuntimeError("no dict")


class RaisingModel(pydantic.BaseModel):
    x: int = 1

    @pydantic.field_serializer("x")
    def _refuse(self, value: int) -> int:
        raise ValueError("no serialising")


class RaisingDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no items")

    def __iter__(self) -> Any:
        raise RuntimeError("no iteration")


class RaisingStr(str):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Everything:
    """Answers every attribute with a callable: a mock-like object must not be mistaken for anything."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


def deep_dict(levels: int) -> Any:
    value: Any = {"bottom": 1}
    for _ in range(levels):
        value = {"d": value}
    return value


def cycle() -> Any:
    value: dict[str, Any] = {"name": "loop"}
    value["self"] = value
    value["list"] = [value]
    return value


ODD: dict[str, Any] = {
    "lock": threading.Lock,
    "raising_repr": RaisingRepr,
    "raising_hash": RaisingHash,
    "raising_attributes": RaisingAttributes,
    "raising_pydantic": RaisingModel,
    "raising_dict": lambda: RaisingDict(a=1),
    "raising_str": lambda: RaisingStr("x"),
    "everything": Everything,
    "cycle": cycle,
    "nonstr_keys": lambda: {("a", 1): 2, 3: 4, None: 5, b"k": 6, 1.5: 7, True: 8},
    "nan_inf": lambda: [float("nan"), float("inf"), float("-inf")],
    "lone_surrogate": lambda: "a\ud800b",
    "surrogate_key": lambda: {"k\udfff": 1},
    "nul_char": lambda: "a\x00b",
    "nul_key": lambda: {"k\x00": 1},
    "bytes": lambda: b"\xff\x00\x01",
    "bigint": lambda: 2**70,
    "bigger_int": lambda: 10**5000,
    "negative_bigint": lambda: -(2**70),
    "deep_3000": lambda: deep(3000),
    "deep_dict_3000": lambda: deep_dict(3000),
    "deep_100000": lambda: deep(100_000),
    "class": lambda: RaisingRepr,
    "exception": lambda: ValueError("v"),
    "set": lambda: {1, 2},
    "complex": lambda: 1j,
    "function": lambda: len,
    "memoryview": lambda: memoryview(b"abc"),
}


def observe(store: Store, tracer: Any, odd: Any, shape: str) -> list[dict[str, Any]]:
    """Three good runs, the odd one, three good runs; the seven rows."""
    good = ScriptedChat(replies=[answer_last]) | StrOutputParser()
    config: Any = {"callbacks": [tracer]}

    def one(number: int) -> None:
        assert good.invoke(f"good {number}", config) == f"answer to good {number}"

    for number in range(3):
        one(number)
    inner = ScriptedChat(replies=[ai("unharmed")])
    odd_config: Any = {"callbacks": [tracer], "run_name": "odd"}
    if shape == "input":
        RunnableLambda(lambda _: inner.invoke("q")).invoke({"payload": odd}, odd_config)
    elif shape == "bare":
        RunnableLambda(lambda _: inner.invoke("q")).invoke(odd, odd_config)
    elif shape == "output":

        def give(_: Any) -> Any:
            inner.invoke("q")
            return {"payload": odd}

        RunnableLambda(give).invoke("in", odd_config)
    else:
        RunnableLambda(lambda _: inner.invoke("q")).invoke("in", {**odd_config, "metadata": {"payload": odd}})
    for number in range(3, 6):
        one(number)
    assert tracer.flush(20)
    return store.runs()


@pytest.mark.parametrize("shape", ["input", "bare", "output", "metadata"])
@pytest.mark.parametrize("name", ODD)
def test_the_odd_run_arrives_and_takes_nobody_along(store: Store, tracer: Any, name: str, shape: str) -> None:
    if name in ("raising_attributes", "everything", "raising_hash") and shape in ("bare", "output"):
        pytest.skip("LangChain itself cannot carry it there")
    rows = observe(store, tracer, ODD[name](), shape)
    assert [row["name"] for row in rows] == ["RunnableSequence"] * 3 + ["odd"] + ["RunnableSequence"] * 3
    assert [row["status"] for row in rows] == ["completed"] * 7
    assert [row["total_tokens_used"] for row in rows] == [120] * 7
    for number, row in enumerate([*rows[:3], *rows[4:]]):
        assert store.transcript(row["id"]) == [("user", f"good {number}"), ("assistant", f"answer to good {number}")]
    assert [span["status"] for span in store.spans(rows[3]["id"])] == ["completed", "completed"]
    assert sum(tracer.stats().get("losses", {}).values()) == 0


def test_odd_values_beside_good_ones_cost_only_themselves(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("fine")])
    payload = {
        "good": "kept as it is",
        "number": 7,
        "odd": RaisingRepr(),
        "nul": "a\x00b",
        "nan": float("nan"),
        "big": 2**70,
    }
    RunnableLambda(lambda _: model.invoke("q")).invoke(payload, {"callbacks": [tracer]})
    assert tracer.flush(10)
    inputs = store.span(name="RunnableLambda")["inputs"]
    assert inputs["good"] == "kept as it is"
    assert inputs["number"] == 7
    assert "RaisingRepr" in str(inputs["odd"])
    assert "1180591620717411303424" in str(inputs["big"])
    assert "nan" in str(inputs["nan"]).lower()
    assert "\x00" not in inputs["nul"]
    assert inputs["nul"].startswith("a")
    assert inputs["nul"].endswith("b")


def test_a_generator_is_not_consumed(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("fine")])
    numbers = (number for number in range(3))

    def use(value: Any) -> Any:
        model.invoke("q")
        return list(value["numbers"])

    assert RunnableLambda(use).invoke({"numbers": numbers}, {"callbacks": [tracer]}) == [0, 1, 2]
    assert tracer.flush(10)
    assert "generator" in str(store.span(name="use")["inputs"])


def test_an_open_file_and_an_iterator_are_left_alone(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("fine")])
    with open(os.devnull) as handle:
        RunnableLambda(lambda _: model.invoke("q")).invoke(
            {"file": handle, "map": map(str, [1])}, {"callbacks": [tracer]}
        )
        assert not handle.closed
    assert tracer.flush(10)
    assert store.run()["status"] == "completed"


def test_a_string_of_30_megabytes(store: Store, tracer: Any) -> None:
    rows = observe(store, tracer, "x" * 30_000_000, "input")
    assert [row["status"] for row in rows] == ["completed"] * 7
    (size,) = store.rows("select max(length(text)) as chars from conversation_contents")
    assert 1_000_000 < size["chars"] < 5_000_000
    (size,) = store.rows("select max(length(inputs::text)) as chars from conversation_spans")
    assert size["chars"] < 1_000, "the spans refer to it"


def test_a_prompt_of_30_megabytes(store: Store, tracer: Any) -> None:
    model = ScriptedChat(replies=[ai("too long, did read")])
    model.invoke([HumanMessage("y" * 30_000_000)], {"callbacks": [tracer]})
    assert tracer.flush(20)
    run = store.run()
    assert (run["status"], run["total_tokens_used"], run["total_messages"]) == ("completed", 120, 2)
    assert len(store.messages()[0]["content"]) > 1_000_000


ODD_MESSAGES: dict[str, Any] = {
    "nul": lambda: HumanMessage("a\x00b"),
    "surrogate": lambda: HumanMessage("a\ud800b"),
    "blocks": lambda: HumanMessage(
        [{"type": "text", "text": "a\x00b"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    ),
    "odd_kwargs": lambda: HumanMessage("hi", additional_kwargs={"odd": RaisingRepr(), "n": 2**70}),
    "surrogate_name": lambda: HumanMessage("hi", name="n\udc00"),
    "deep_args": lambda: AIMessage("", tool_calls=[call("t", "c1", deep=deep(3000))]),
}


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_odd_messages(store: Store, tracer: Any, name: str) -> None:
    model = ScriptedChat(replies=[ai("fine")])
    model.invoke([HumanMessage("before"), ODD_MESSAGES[name](), HumanMessage("after")], {"callbacks": [tracer]})
    assert tracer.flush(10)
    run = store.run()
    assert (run["status"], run["total_tokens_used"]) == ("completed", 120)
    said = [row["content"] for row in store.messages()]
    assert "before" in said
    assert "after" in said
    assert said[-1] == "fine"
    assert len(store.prompt(store.span(kind="llm")["id"])) == 3


@pytest.mark.parametrize(
    "reply",
    [
        ai("fine\x00"),
        ai("fine \ud800"),
        ai("fine", tokens=(2**70, 20)),
        ai("fine", tokens=(-5, 20)),
        ai("", tokens=(0, 0)),
        AIMessage("fine", response_metadata={"odd": RaisingRepr, "logprobs": float("nan"), "model_name": "m\x00"}),
    ],
)
def test_odd_answers(store: Store, tracer: Any, reply: AIMessage) -> None:
    ScriptedChat(replies=[reply]).invoke("q", {"callbacks": [tracer]})
    ScriptedChat(replies=[ai("neighbour")]).invoke("q", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert [run["status"] for run in store.runs()] == ["completed", "completed"]
    assert store.runs()[1]["total_tokens_used"] == 120


@pytest.mark.parametrize(
    "text", ["nul \x00 here", "surrogate \ud800 here", "x" * 5_000_000], ids=["nul", "surrogate", "long"]
)
def test_odd_errors(store: Store, tracer: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"here|xxx"):
        ScriptedChat(replies=[ValueError(text)]).invoke("q", {"callbacks": [tracer]})
    ScriptedChat(replies=[ai("neighbour")]).invoke("q", {"callbacks": [tracer]})
    assert tracer.flush(10)
    first, second = store.runs()
    assert (first["status"], second["status"]) == ("failed", "completed")
    assert "here" in first["error"] or "xxx" in first["error"]


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_error_whose_text_raises(store: Store, tracer: Any) -> None:
    with pytest.raises(Unreadable):
        (ScriptedChat(replies=[Unreadable()]) | StrOutputParser()).invoke("q", {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.run()["status"] == "failed"


@pytest.mark.parametrize("where", ["tags", "name", "user"])
def test_odd_labels(store: Store, tracer: Any, where: str) -> None:
    odd = "odd \x00 \ud800 label"
    config: dict[str, Any] = {"callbacks": [tracer]}
    if where == "tags":
        config["tags"] = [odd, "good"]
    elif where == "name":
        config["run_name"] = odd
    else:
        config["metadata"] = {"user_id": odd}
    RunnableLambda(lambda _: ScriptedChat(replies=[ai("fine")]).invoke("q")).invoke("in", config)  # type: ignore[arg-type]  # built above
    assert tracer.flush(10)
    run = store.run()
    assert (run["status"], run["total_tokens_used"]) == ("completed", 120)
    if where == "tags":
        assert "good" in run["tags"]
    if where == "user":
        assert "label" in run["user_id"]


def test_numpy_and_friends(store: Store, tracer: Any) -> None:
    numpy = pytest.importorskip("numpy")
    model = ScriptedChat(replies=[ai("fine")])
    payload = {"array": numpy.arange(3), "scalar": numpy.float32(1.5), "big": numpy.zeros((1000, 1000))}
    RunnableLambda(lambda _: model.invoke("q")).invoke(payload, {"callbacks": [tracer]})
    assert tracer.flush(10)
    assert store.run()["status"] == "completed"
