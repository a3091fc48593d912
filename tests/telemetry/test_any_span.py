"""Spans with any attribute of any convention, holding anything: none is lost, and none does harm."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from otel_spans import rows

from chopsky_trace import SupabaseSpanExporter
from chopsky_trace.telemetry.conventions import table

NOW = 1_790_000_000_000_000_000
_ids = itertools.count(1)


def names_in(value: Any) -> set[str]:
    """The texts anywhere in a constant."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return names_in([*value, *value.values()])
    if isinstance(value, (tuple, list, set, frozenset)):
        return {name for item in value for name in names_in(item)}
    return set()


VOCABULARY = sorted({name for key, value in vars(table).items() if key.isupper() for name in names_in(value)})
"""Attributes' names, the prefixes of some, and the words that their values use."""
NAMES = [name for name in VOCABULARY if "." in name or "_" in name or name in ("metadata", "user", "model", "input")]
NAMES += [
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "input.value", "output.value"),
    *(
        "llm.input_messages.0.message.content",
        "llm.output_messages.3.message.tool_calls.1.tool_call.function.arguments",
    ),
    *(
        "gen_ai.prompt.0.content",
        "gen_ai.completion.0.role",
        "ai.prompt.messages",
        "ai.response.toolCalls",
        "ai.prompt",
    ),
    *("gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "retrieval.documents.0.document.content"),
    *("pydantic_ai.all_messages", "langfuse.observation.input", "mlflow.spanInputs", "traceloop.entity.input"),
    *(
        "exception.message",
        "llm.input_messages.x.message",
        "gen_ai.prompt.-1.content",
        "llm.input_messages.99999999999.a",
    ),
]

texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(VOCABULARY),
    st.sampled_from(
        ["nul\x00", "\ud800", "NaN", "1e999", "-1", "٣", "[", "{}", "null", "2026-13-45T99:99:99Z", "user"]
    ),
)
numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.integers(-5, 5), st.booleans(), st.none())
parts = st.fixed_dictionaries(
    {}, optional={"type": texts, "text": texts, "content": texts, "id": texts, "arguments": texts, "response": texts}
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.one_of(st.sampled_from(["user", "assistant", "system", "tool", "x"]), texts)},
        optional={
            "content": st.one_of(texts, st.lists(parts, max_size=2), numbers),
            "parts": st.one_of(st.lists(st.one_of(parts, texts, numbers), max_size=3), numbers),
            "tool_calls": st.lists(st.one_of(parts, numbers), max_size=2),
            "tool_call_id": st.one_of(texts, numbers),
        },
    ),
    max_size=4,
)
plain = st.recursive(
    st.one_of(texts, numbers),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
data = st.one_of(plain, messages)
as_json = data.map(lambda value: json.dumps(value, default=str))
cut = st.tuples(as_json, st.integers(1, 40)).map(lambda given: given[0][: -given[1]])
values = st.one_of(texts, numbers, as_json, cut, data, st.binary(max_size=8))
attributes = st.dictionaries(st.one_of(st.sampled_from(NAMES), texts), values, max_size=8)
# Half of the spans are about a model in so many words, or nearly all would be about none.
said = st.one_of(
    attributes,
    st.tuples(
        attributes,
        st.sampled_from(
            [
                {"gen_ai.operation.name": "chat"},
                {"openinference.span.kind": "LLM"},
                {"langsmith.span.kind": "llm"},
                {"gen_ai.operation.name": "invoke_agent"},
                {"ai.operationId": "ai.generateText.doGenerate"},
            ]
        ),
    ).map(lambda both: {**both[0], **both[1]}),
)
moments = st.one_of(
    st.integers(NOW, NOW + 10**12),
    st.sampled_from([0, 1, NOW, -1, 2**63 - 1, 2**64 - 1, 10**20, NOW + 0.5, NOW / 1e9]),
    st.none(),
)


@st.composite
def spans(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans of one trace or two, whose parents are any of them, themselves, or nobody."""
    number = next(_ids)
    contexts = [
        SpanContext((number << 64) + draw(st.integers(0, 1)), (number << 16) + n, False, TraceFlags(1))
        for n in range(1, draw(st.integers(1, 5)) + 1)
    ]
    made: list[ReadableSpan] = []
    for context in contexts:
        parent = draw(st.one_of(st.none(), st.sampled_from(contexts)))
        events = draw(st.lists(st.tuples(st.one_of(texts, st.sampled_from(NAMES)), attributes, moments), max_size=2))
        made.append(
            ReadableSpan(
                draw(texts),
                context=context,
                parent=None if parent is None else SpanContext(context.trace_id, parent.span_id, draw(st.booleans())),
                resource=Resource(draw(st.sampled_from([{}, {"service.name": "app", "deployment.environment": "x"}]))),
                attributes=draw(said),
                events=[Event(name, told, timestamp) for name, told, timestamp in events],
                kind=draw(st.sampled_from(SpanKind)),
                status=draw(st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "no: \x00")])),
                start_time=draw(moments),
                end_time=draw(moments),
                instrumentation_scope=draw(st.sampled_from([None, InstrumentationScope("pydantic-ai", "1")])),
            )
        )
    return made


def test_no_span_is_lost(database_url: str) -> None:
    before: Counter[str] = Counter()

    @settings(
        max_examples=80,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(spans())
    def check(given_spans: list[ReadableSpan]) -> None:
        note(repr([(s.name, dict(s.attributes or {}), s.events, s.start_time, s.end_time) for s in given_spans]))
        exporter = SupabaseSpanExporter(database_url)
        assert exporter.export(given_spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert exporter.force_flush()
        stats = exporter.stats()
        now = Counter({name: value for name, value in stats.items() if isinstance(value, int)} | stats["losses"])
        news = now - before
        before.update(news)
        assert not {name: news[name] for name in stats["losses"] if news[name]}
        assert "callback_errors" not in stats
        ids = [format(span.get_span_context().span_id, "016x") for span in given_spans]
        stored = rows(database_url, "select native_id from conversation_spans where native_id = any(%s)", ids)
        assert len(stored) + news["other_spans_without_run"] == len(ids)

    check()
