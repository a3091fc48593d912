"""Whose a trace is: wherever it is said, and however late."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, Tracer
from otel_spans import Row, ask, call_attributes, made, rows, text, transcript

import chopsky_trace
from chopsky_trace import SupabaseSpanExporter, SupabaseSpanProcessor

SUCCESS = SpanExportResult.SUCCESS
WORKER = Path(__file__).with_name("session_child.py")


def nested(said_on: str, said: Row) -> list[ReadableSpan]:
    """A request with an agent, a query, a call and a tool, of which one says whose it is."""

    def work(tracer: Tracer) -> None:
        def attributes(name: str, own: Row) -> Row:
            return own | (said if name == said_on else {})

        with (
            tracer.start_as_current_span("request", kind=SpanKind.SERVER, attributes=attributes("request", {})),
            tracer.start_as_current_span(
                "agent", attributes=attributes("agent", {"gen_ai.operation.name": "invoke_agent"})
            ),
        ):
            with tracer.start_as_current_span("query", attributes=attributes("query", {"db.system": "postgresql"})):
                pass
            call = call_attributes([text("user", "Hi")], text("assistant", "Hello"))
            with tracer.start_as_current_span("call", attributes=attributes("call", call)):
                pass
            with tracer.start_as_current_span(
                "tool", attributes=attributes("tool", {"gen_ai.operation.name": "execute_tool"})
            ):
                pass

    return made(work)


def whose(database_url: str) -> list[tuple[Any, ...]]:
    """Session and user of each run, and of each run's messages."""
    found = rows(
        database_url,
        "select distinct r.session_id, r.user_id, m.session_id as told, m.user_id as told_by from conversation_runs r"
        " left join conversation_messages m on m.conversation_run_id = r.id order by 1, 2",
    )
    return [tuple(row.values()) for row in found]


ADA = {"session.id": "s-1", "user.id": "ada"}
OTHER_NAMES: dict[str, Row] = {
    "conversation": {"gen_ai.conversation.id": "s-1", "gen_ai.user": "ada"},
    "langsmith": {"langsmith.metadata.thread_id": "s-1", "langsmith.metadata.user_id": "ada"},
    "associations": {
        "traceloop.association.properties.session_id": "s-1",
        "traceloop.association.properties.user_id": "ada",
    },
    "vercel": {"ai.telemetry.metadata.sessionId": "s-1", "ai.telemetry.metadata.userId": "ada"},
    "baggage": {"session_id": "s-1", "user_id": "ada"},
    "metadata": {"metadata": '{"session_id": "s-1", "user_id": "ada"}'},
    "enduser": {"session.id": "s-1", "enduser.id": "ada"},
}


@pytest.mark.parametrize("late", [False, True], ids=["with the rest", "after the run is stored"])
@pytest.mark.parametrize("said_on", ["request", "agent", "query", "call", "tool"])
def test_any_span_may_say_it(said_on: str, late: bool, database_url: str, exporter: SupabaseSpanExporter) -> None:
    spans = nested(said_on, ADA)
    batches = [[s for s in spans if s.name != said_on], [s for s in spans if s.name == said_on]] if late else [spans]
    for batch in batches:
        assert exporter.export(batch) is SUCCESS
        assert exporter.force_flush()
    exporter.shutdown()

    assert whose(database_url) == [("s-1", "ada", "s-1", "ada")]
    assert len(rows(database_url, "select 1 from conversation_spans")) == 5
    assert transcript(database_url) == [("user", "Hi"), ("assistant", "Hello")]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_in_any_conventions_words(name: str, database_url: str, exporter: SupabaseSpanExporter) -> None:
    assert exporter.export(nested("call", OTHER_NAMES[name])) is SUCCESS
    exporter.shutdown()

    assert whose(database_url) == [("s-1", "ada", "s-1", "ada")]


def test_what_the_root_says_is_preferred(database_url: str, exporter: SupabaseSpanExporter) -> None:
    def work(tracer: Tracer) -> None:
        with tracer.start_as_current_span("agent", attributes={"gen_ai.operation.name": "invoke_agent", **ADA}):
            ask(tracer, "Hi", "Hello", session__id="inner", user__id="helper")

    assert exporter.export(made(work)) is SUCCESS
    exporter.shutdown()

    assert whose(database_url) == [("s-1", "ada", "s-1", "ada")]


@pytest.mark.parametrize("web", ["an agent", "about no model"])
@pytest.mark.parametrize("first", ["worker", "web"])
def test_two_processes_of_one_trace(first: str, web: str, database_url: str, tmp_path: Path) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent"} if web == "an agent" else {}
    exporter = SupabaseSpanExporter(database_url)
    provider = TracerProvider()
    tracer = provider.get_tracer("web")
    if first == "web":
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    ended: list[ReadableSpan] = []
    with tracer.start_as_current_span("POST /chat", kind=SpanKind.SERVER, attributes={**ADA, **agent}) as request:
        with tracer.start_as_current_span("enqueue", kind=SpanKind.PRODUCER) as enqueue:
            carrier: dict[str, str] = {}
            inject(carrier)
        if first == "web":
            assert exporter.force_flush()
        done = subprocess.run(
            [sys.executable, str(WORKER), carrier["traceparent"]],
            env={
                **os.environ,
                "CHOPSKY_TRACE_DATABASE_URL": database_url,
                "CHOPSKY_TRACE_DATA_DIR": str(tmp_path / "worker"),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    if first == "worker":
        ended = [span for span in (enqueue, request) if isinstance(span, ReadableSpan)]
        # The worker's spans alone had no user: it is not known in that process.
        assert whose(database_url) == [(None, None, None, None)]
        assert exporter.export(ended) is SUCCESS
    exporter.shutdown()

    assert whose(database_url) == [("s-1", "ada", "s-1", "ada")]
    (run,) = rows(database_url, "select name, status, total_tokens_used from conversation_runs")
    assert tuple(run.values()) == ("POST /chat", "completed", 15)
    parents = rows(
        database_url,
        "select s.name, p.name as parent from conversation_spans s"
        " left join conversation_spans p on p.id = s.parent_span_id order by s.name",
    )
    assert {row["name"]: row["parent"] for row in parents} == {
        "POST /chat": None,
        "enqueue": "POST /chat",
        "answer": "enqueue",
        "chat gpt-4o-mini": "answer",
    }
    assert transcript(database_url) == [("user", "Are you there?"), ("assistant", "Here.")]


def turn(session_id: str, user_id: str, *said: str) -> list[ReadableSpan]:
    """A turn that is told with the whole history: the last of `said` is the answer, the one before the question."""
    roles = ["user", "assistant"] * len(said)
    messages = [text(role, content) for role, content in zip(roles, said, strict=False)]

    def work(tracer: Tracer) -> None:
        with (
            tracer.start_as_current_span("turn", attributes={"session.id": session_id, "user.id": user_id}),
            tracer.start_as_current_span("chat", attributes=call_attributes(messages[:-1], messages[-1])),
        ):
            pass

    return made(work)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
@pytest.mark.parametrize("together", [True, False], ids=["at once", "apart"])
def test_a_sessions_history_is_there_once(
    order: Sequence[int], together: bool, database_url: str, exporter: SupabaseSpanExporter
) -> None:
    said = ["Hi", "Hello", "yes", "Good", "yes", "Very good"]
    turns = [turn("s-1", "ada", *said[: 2 * n + 2]) for n in range(3)]
    for n in order:
        assert exporter.export(turns[n]) is SUCCESS
        assert together or exporter.force_flush()
    exporter.shutdown()

    found = rows(
        database_url,
        "select content from conversation_session_transcript('s-1')",
    )
    assert [row["content"] for row in found] == said
    assert len(rows(database_url, "select 1 from conversation_messages")) == len(said)
    prompts = rows(
        database_url,
        "select array_agg(p.content order by p.position) as said from conversation_spans s"
        " cross join lateral conversation_prompt(s.id) p where s.kind = 'llm' group by s.id, s.started_at"
        " order by s.started_at",
    )
    assert [row["said"] for row in prompts] == [said[:1], said[:3], said[:5]]


def test_two_users_of_one_sessions_name_do_not_mix(database_url: str, exporter: SupabaseSpanExporter) -> None:
    turns = [turn("1", user, *said) for said in (["Hi", "Hello"], ["Hi", "Hello", "yes", "Good"]) for user in "ab"]
    for spans in turns:
        assert exporter.export(spans) is SUCCESS
    exporter.shutdown()

    for user in "ab":
        found = rows(database_url, "select content from conversation_session_transcript('1', user_id => %s)", user)
        assert [row["content"] for row in found] == ["Hi", "Hello", "yes", "Good"]
    assert len(rows(database_url, "select 1 from conversation_messages")) == 8


def test_two_users_of_one_name_whose_names_come_late(database_url: str, exporter: SupabaseSpanExporter) -> None:
    turns = [turn("1", user, "Hi", "Hello") for user in "ab"]
    for wanted in ("chat", "turn"):
        for spans in turns:
            assert exporter.export([span for span in spans if span.name == wanted]) is SUCCESS
        assert exporter.force_flush()
    exporter.shutdown()

    for user in "ab":
        found = rows(database_url, "select content from conversation_session_transcript('1', user_id => %s)", user)
        assert [row["content"] for row in found] == ["Hi", "Hello"]


PLAIN = {"http.route": "/chat"}


@pytest.mark.parametrize("remote", [False, True], ids=["a root", "beneath a caller elsewhere"])
def test_what_holds_for_all_of_a_trace_stands_on_its_first_span(remote: bool, database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url, tags=["inst"], metadata={"build": 7})
    provider = TracerProvider()
    provider.add_span_processor(SupabaseSpanProcessor(exporter))
    caller = extract({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} if remote else {})
    tracer = provider.get_tracer("web")
    with (
        chopsky_trace.context(user_id="ada", session_id="s-1", tags=["beta"], metadata={"plan": "pro"}),
        tracer.start_as_current_span("POST /chat", context=caller, attributes=PLAIN),
    ):
        ask(tracer, "Hi", "Hello")
    provider.shutdown()

    (run,) = rows(database_url, "select name, user_id, session_id, tags, metadata from conversation_runs")
    assert sorted(run.pop("tags")) == ["beta", "inst"]
    metadata = run.pop("metadata")
    assert {name: metadata.get(name) for name in ("build", "plan", "http.route")} == {
        "build": 7,
        "plan": "pro",
        "http.route": "/chat",
    }
    assert run == {"name": "POST /chat", "user_id": "ada", "session_id": "s-1"}
    assert transcript(database_url) == [("user", "Hi"), ("assistant", "Hello")]


def test_what_was_said_beneath_a_caller_elsewhere_is_told_at_once(database_url: str) -> None:
    exporter = SupabaseSpanExporter(database_url)
    caller = extract({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    spans = made(lambda tracer: beneath(tracer, caller))
    for span in spans:
        assert exporter.export([span]) is SUCCESS
        assert exporter.force_flush()
    # The process may be killed now.
    assert transcript(database_url) == [("user", "Hi"), ("assistant", "Hello")]
    exporter.shutdown()

    assert transcript(database_url) == [("user", "Hi"), ("assistant", "Hello")]


def beneath(tracer: Tracer, caller: Context) -> None:
    with tracer.start_as_current_span("POST /chat", context=caller, kind=SpanKind.SERVER):
        ask(tracer, "Hi", "Hello")
