"""Feedback by the ids that LangChain gives, before, while and after the run is stored; and what of it may be stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from fix_postgres import Server
from langchain_core.prompts import ChatPromptTemplate
from lc_support import Recorder, ScriptedChat, Store, StreamingChat, ai

import chopsky_trace
from chopsky_trace import SupabaseTracer
from chopsky_trace.cli import main
from chopsky_trace.sources import feedback as source

PROMPT = ChatPromptTemplate.from_messages([("system", "You are a cook."), ("human", "{question}")])
QUESTION = {"question": "What is umami?"}


def chain(model: type[ScriptedChat] = ScriptedChat) -> Any:
    return PROMPT | model(replies=[ai("The fifth taste.")])


def feedback(store: Store) -> list[dict[str, Any]]:
    return store.rows("select * from conversation_feedback order by key, user_id")


def test_by_the_answers_id_and_by_the_runs_id(store: Store, tracer: SupabaseTracer, recorder: Recorder) -> None:
    answer = chain().invoke(QUESTION, {"callbacks": [recorder, tracer], "metadata": {"user_id": "ann"}})
    assert answer.id.startswith("lc_run--")
    (root,) = recorder.roots
    assert tracer.feedback(answer.id, thumbs="up", comment="Lovely", user_id="ann")
    assert tracer.feedback(root, "correctness", 0.75, source="model", metadata={"judge": "strict"})
    assert tracer.feedback(root, score=2)
    assert tracer.flush(10)
    correctness, on_answer, on_run = sorted(feedback(store), key=lambda row: (row["key"], row["message_id"] is None))
    call = store.span("llm")
    (message,) = [row for row in store.messages() if row["role"] == "assistant"]
    assert (on_answer["message_id"], on_answer["span_id"], on_answer["conversation_run_id"]) == (
        message["id"],
        call["id"],
        root,
    )
    assert (on_answer["user_id"], on_answer["thumbs"], on_answer["comment"]) == ("ann", "up", "Lovely")
    assert (on_run["conversation_run_id"], on_run["message_id"], on_run["user_id"], on_run["score"]) == (
        root,
        None,
        "ann",
        2,
    )
    assert (correctness["score"], correctness["user_id"], correctness["metadata"]) == (
        Decimal("0.75"),
        "model",
        {"judge": "strict"},
    )
    assert store.run()["user_satisfaction_score"] == Decimal("3.50")


FORMS: list[Callable[[UUID], object]] = [
    lambda call: f"lc_run--{call}",
    lambda call: f"lc_run--{call}-0",
    lambda call: f"run--{call}-0",
    lambda call: f"run-{call}-0",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("by", ["run_id", "message_id"])
def test_before_the_run_by_every_form_of_id(store: Store, tracer: SupabaseTracer, form: Any, by: str) -> None:
    call, named = uuid4(), {}
    named[by] = form(call)
    assert tracer.feedback(**named, score=4)
    assert tracer.flush(10)
    (row,) = feedback(store)
    assert (row["is_pending"], row["message_id"], store.runs()) == (True, None, []), "it makes no run of its own"
    ScriptedChat(replies=[ai("The fifth taste.")]).invoke("What is umami?", {"run_id": call, "callbacks": [tracer]})
    assert tracer.flush(10)
    (row,) = feedback(store)
    (message,) = [row for row in store.messages() if row["role"] == "assistant"]
    assert (row["is_pending"], row["message_id"], row["span_id"]) == (False, message["id"], call)
    assert store.run()["user_satisfaction_score"] == 4


def test_while_the_answer_streams(store: Store, tracer: SupabaseTracer) -> None:
    seen: set[str] = set()
    for chunk in chain(StreamingChat).stream(QUESTION, {"callbacks": [tracer]}):
        if chunk.id not in seen:
            seen.add(chunk.id)
            assert tracer.feedback(chunk.id, thumbs=False)
    assert tracer.flush(10)
    (row,) = feedback(store)
    assert (row["thumbs"], row["message_id"] is not None) == ("down", True)
    assert store.run()["user_satisfaction_score"] == 1


def test_the_last_word_stands(store: Store, tracer: SupabaseTracer) -> None:
    run_id = uuid4()
    for thumbs, comment in (("up", "Good"), ("down", "Not good")):
        tracer.feedback(run_id, thumbs=thumbs, comment=comment, user_id="ann")
    tracer.feedback(run_id, thumbs="up", user_id="ben")
    tracer.feedback(run_id, "taste", True)
    assert tracer.flush(10)
    assert {(r["key"], r["user_id"], r["thumbs"], r["comment"], r["score"]) for r in feedback(store)} == {
        ("user_satisfaction", "ann", "down", "Not good", None),
        ("user_satisfaction", "ben", "up", None, None),
        ("taste", None, None, None, 1),
    }


class Hostile:
    def __str__(self) -> str:
        raise ValueError("secret text")

    __repr__ = __str__


def test_it_never_raises(store: Store, tracer: SupabaseTracer, caplog: pytest.LogCaptureFixture) -> None:
    run_id: Any
    for run_id in (None, "", "msg_01abc", "lc_run--nonsense", 7, Hostile()):
        assert not tracer.feedback(run_id, thumbs="up")
    odd: Any
    for odd in ("sideways", 3, Hostile()):
        assert not tracer.feedback(uuid4(), thumbs=odd)
    assert not tracer.feedback(uuid4(), score=Hostile())  # pyright: ignore[reportArgumentType]
    for empty in (None, float("nan")):
        assert not tracer.feedback(uuid4(), score=empty)
    assert tracer.stats()["callback_errors"] == {"feedback": 12}
    assert "secret text" not in caplog.text
    # Once a minute.
    assert [r.message for r in caplog.records if "feedback" in r.message] == [
        "chopsky-trace could not record an event in feedback (What it is about is named by a run's, span's or message's"
        " UUID, or lc_run--...); it is counted in stats()"
    ]
    value = {"a": float("nan"), "b": [Hostile()], "c": "nul \x00"}
    assert tracer.feedback(
        uuid4(), "odd", float("inf"), value=value, comment="\ud800 half", metadata={"api_key": "sk-1"}
    )
    assert tracer.feedback(uuid4(), "big", 10**30)
    assert tracer.flush(10)
    big, odd_row = feedback(store)
    assert (odd_row["score"], odd_row["comment"], odd_row["metadata"]) == (None, "\ufffd half", {"api_key": "[secret]"})
    assert (odd_row["value"]["a"], odd_row["value"]["c"]) == ({"$float": "NaN"}, "nul \ufffd")
    assert (big["score"], big["value"]) == (None, 10**30)
    assert tracer.stats()["losses"].get("refused", 0) == 0


@pytest.mark.parametrize("capture", ["masked", "metadata"])
def test_comments_obey_the_capture_level(
    store: Store, database_url: str, tmp_path: Path, capture: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "chopsky_trace"):
        private = SupabaseTracer(database_url, capture=capture)
        content = {"mail": "write to ann@example.com"}
        private.feedback(
            uuid4(), score=3, value=content, comment="I am ann@example.com", correction=content, metadata=content
        )
        assert private.flush(10)
    (row,) = feedback(store)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"ann@example" not in files
    assert "ann@example" not in store.dump() + caplog.text
    assert row["score"] == 3
    if capture == "masked":
        assert (row["comment"], row["value"]) == ("I am [email]", {"mail": "write to [email]"})
        assert row["metadata"] == {"mail": "write to [email]", "correction": {"mail": "write to [email]"}}
    else:
        assert (row["comment"], row["value"], row["metadata"]) == (None, None, {})


def test_it_waits_for_a_database_that_is_down(
    store: Store, database_url: str, postgres_server: Server, worker_database: str
) -> None:
    tracer = SupabaseTracer(database_url)
    with postgres_server.admin() as admin:
        admin.execute(f'alter database "{worker_database}" with allow_connections false'.encode())
        try:
            assert tracer.feedback(uuid4(), thumbs="up")
            assert not tracer.flush(0.3)
            assert tracer.stats()["backlog_records"] == 1
        finally:
            admin.execute(f'alter database "{worker_database}" with allow_connections true'.encode())
    assert tracer.flush(30)
    assert [row["thumbs"] for row in feedback(store)] == ["up"]


def test_without_a_tracer_and_with_a_context(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOPSKY_TRACE_DATABASE_URL", database_url)
    monkeypatch.setattr(source, "_default", None)
    with chopsky_trace.context(user_id="ann"):
        assert chopsky_trace.feedback(uuid4(), thumbs="up")
    assert chopsky_trace.flush(10)
    assert [(row["user_id"], row["source"]) for row in feedback(store)] == [("ann", "api")]


def test_show_tells_of_it(store: Store, tracer: SupabaseTracer, recorder: Recorder, database_url: str) -> None:
    answer = chain().invoke(QUESTION, {"callbacks": [recorder, tracer], "metadata": {"user_id": "ann"}})
    tracer.feedback(answer.id, score=4, comment="Good,\nbut \x1b[31mshort")
    tracer.feedback(recorder.roots[0], "tone", value="warm", user_id="ben")
    assert tracer.flush(10)
    show = ["show", str(recorder.roots[0]), "--database-url", database_url]
    text = CliRunner().invoke(main, show).stdout
    assert "user satisfaction 4.00 of 5" in text
    assert "user_satisfaction 4  message 3 · ann" in text
    assert "tone warm  run · ben" in text
    assert "  Good, but \\x1b[31mshort" in text
    data = json.loads(CliRunner().invoke(main, [*show, "--json"]).stdout)
    assert {(row["key"], row["comment"]) for row in data["feedback"]} == {
        ("user_satisfaction", "Good,\nbut \x1b[31mshort"), ("tone", None),
    }  # fmt: skip
