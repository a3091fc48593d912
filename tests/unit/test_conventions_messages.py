"""The same conversation is the same messages, whoever writes it down; and what instrumentors do to messages besides."""

from __future__ import annotations

import json
from typing import Any

import message_encodings as m
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chopsky_trace.telemetry.conventions.messages import contents, heard
from chopsky_trace.telemetry.conventions.native import ERROR, NativeEvent
from chopsky_trace.telemetry.conventions.reading import Message, Reading, ToolCall


def read(attributes: dict[str, Any], kind: str = "llm", **fields: Any) -> Reading:
    found = m.reading(kind)
    contents(m.span(attributes, **fields), found)
    return found


def same(messages: list[Message] | None) -> list[tuple[Any, ...]]:
    return [m.told(message) for message in messages or ()]


@pytest.mark.parametrize("name", m.ENCODINGS)
def test_every_encoding_gives_the_same_messages(name: str):
    found = read(m.ENCODINGS[name])
    assert same(found.prompt) == same(m.PROMPT)
    assert same(found.answers) == same([m.ANSWER])
    assert found.partial == ()


def test_what_a_program_shows_of_an_unread_stream_is_no_answer():
    told = json.dumps("<anthropic.Stream object at 0x7f26c8366590>")
    assert read({"mlflow.spanOutputs": told}).answers is None
    assert same(read({"mlflow.spanOutputs": json.dumps("Bread")}).answers) == same([Message("assistant", "Bread")])


def test_log_records_give_the_same_messages():
    told = [one for record in m.message_logs() for one in heard(record) or ()]
    assert same([one.message for one in told if one.half == "prompt"]) == same(m.PROMPT)
    assert [(m.told(one.message), one.finish_reason, one.choice) for one in told if one.half == "answer"] == [
        (m.told(m.ANSWER), "stop", 0)
    ]


def test_events_on_the_span_give_the_same_messages():
    found = read({}, events=[NativeEvent("gen_ai.content.completion.chunk", 1, {}), *m.message_events()])
    assert same(found.prompt) == same(m.PROMPT)
    assert same(found.answers) == same([m.ANSWER])


def test_old_events_bring_the_whole_prompt_and_completion():
    events = [
        NativeEvent("gen_ai.content.prompt", 1, {"gen_ai.prompt": json.dumps(m.openai_messages())}),
        NativeEvent("gen_ai.content.completion", 2, {"gen_ai.completion": json.dumps([{"content": m.FOUND}])}),
    ]
    found = read({}, events=events)
    assert same(found.prompt) == same(m.PROMPT)
    assert [(a.role, a.content) for a in found.answers or ()] == [("assistant", m.FOUND)]


@pytest.mark.parametrize("where", ["attributes", "body"])
def test_the_details_event_has_all_of_a_call(where: str):
    fields = {k: json.loads(v) for k, v in m.ENCODINGS["otel, results of the user"].items()}
    name = "gen_ai.client.inference.operation.details"
    told = heard(m.log(name, fields) if where == "body" else m.log(name, None, fields))
    assert same([one.message for one in told or () if one.half == "prompt"]) == same(m.PROMPT)
    assert [(one.finish_reason, one.choice) for one in told or () if one.half == "answer"] == [("stop", 0)]


def test_other_log_records_are_no_messages():
    assert heard(m.log("exception", {"content": "x"})) is None
    assert heard(m.log("", "plain text")) is None


def test_where_contents_are_not_captured_there_is_no_message_but_for_its_ids():
    assert heard(m.log("gen_ai.user.message")) == []
    assert heard(m.log("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}})) == []
    call = {"id": "call_1", "type": "function", "function": {"name": "weather"}}
    (told,) = heard(m.log("gen_ai.choice", {"index": 0, "message": {"tool_calls": [call]}})) or ()
    assert told.message.calls == (ToolCall("weather", None, "call_1"),)
    assert read({"gen_ai.input.messages": '[{"role":"user","parts":[]}]'}).prompt is None


# -- an answer is what the next prompt has of it

ANSWERS: dict[str, dict[str, Any]] = {
    "otel": {"gen_ai.output.messages": json.dumps([json.loads(m.ENCODINGS["otel, JSON"]["gen_ai.input.messages"])[2]])},
    "pydantic-ai": {
        "gen_ai.output.messages": json.dumps([json.loads(m.ENCODINGS["pydantic-ai"]["gen_ai.input.messages"])[1]])
    },
    "openinference": {
        k.replace("input_messages.2", "output_messages.0"): v
        for k, v in m.openinference(blocks=True).items()
        if k.startswith("llm.input_messages.2")
    },
    "openinference, an item each": {
        "output.value": '{"object": "response"}',
        **{
            f"llm.output_messages.{n}.message.tool_calls.0.tool_call.{key}": value
            for n, call_id in enumerate(m.IDS)
            for key, value in (
                ("id", call_id),
                ("function.name", "weather"),
                ("function.arguments", json.dumps(m.ARGS[n])),
            )
        },
    },
    "openllmetry, flat": {
        k.replace("gen_ai.prompt.2", "gen_ai.completion.0"): v
        for k, v in m.traceloop().items()
        if k.startswith("gen_ai.prompt.2")
    },
    "langsmith": {"gen_ai.completion": json.dumps({"generations": [[{"message": m.langchain_messages()[2]}]]})},
    "chat completions": {"mlflow.spanOutputs": json.dumps({"choices": [{"message": m.openai_messages()[2]}]})},
    "responses": {"mlflow.spanOutputs": json.dumps({"output": m.responses_items()[1:4]})},
    "responses, the items alone": {"langfuse.observation.output": json.dumps(m.responses_items()[1:4])},
    "anthropic": {
        "mlflow.spanOutputs": json.dumps({"type": "message", **m.anthropic_request()["messages"][1]}),
    },
    "ai sdk": {"ai.response.text": "", "ai.response.toolCalls": json.dumps(m.ai_sdk_messages()[2]["content"])},
    "langfuse": {"langfuse.observation.output": json.dumps(m.openai_messages()[2])},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_calls_asked_for_are_one_answer_and_the_same_as_in_the_history(name: str):
    assert same(read(ANSWERS[name]).answers) == same([m.CALLS])


def test_several_choices_are_several_answers():
    choices = [{"index": n, "message": {"role": "assistant", "content": f"choice {n}"}} for n in range(2)]
    found = read({"mlflow.spanOutputs": json.dumps({"choices": choices})})
    assert [a.content for a in found.answers or ()] == ["choice 0", "choice 1"]
    calls = [
        {"role": "assistant", "parts": [{"type": "tool_call", "id": f"c{n}", "name": "f", "arguments": {}}]}
        for n in range(2)
    ]
    found = read({"gen_ai.output.messages": json.dumps(calls)})
    assert [[c.id for c in a.calls] for a in found.answers or ()] == [["c0"], ["c1"]]


def test_a_text_and_calls_of_one_response_are_one_answer():
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    found = read({"langfuse.observation.output": json.dumps([message, *m.responses_items()[2:4]])})
    assert same(found.answers) == same([m.CALLS._replace(content="I look.")])


def test_a_failed_call_has_a_prompt_and_no_answer():
    found = read(m.ENCODINGS["otel, JSON"], status=ERROR)
    assert same(found.prompt) == same(m.PROMPT)
    assert found.answers is None
    assert found.outputs == {"partial": [m.FOUND]}


# -- reasoning


@pytest.mark.parametrize(
    "attributes",
    [
        {
            "mlflow.spanOutputs": json.dumps(
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                        {"type": "text", "text": "Yes."},
                    ],
                }
            )
        },
        {
            "gen_ai.output.messages": json.dumps(
                [
                    {
                        "role": "assistant",
                        "parts": [{"type": "reasoning", "content": "Hm."}, {"type": "text", "content": "Yes."}],
                    }
                ]
            )
        },
        {
            "mlflow.spanOutputs": json.dumps(
                {
                    "object": "response",
                    "output": [
                        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]},
                    ],
                }
            )
        },
        {"ai.response.text": "Yes.", "ai.response.reasoning": "Hm."},
        {
            "gen_ai.completion.0.role": "thinking",
            "gen_ai.completion.0.content": "Hm.",
            "gen_ai.completion.1.role": "assistant",
            "gen_ai.completion.1.content": "Yes.",
        },
        {
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.contents.0.message_content.type": "reasoning",
            "llm.output_messages.0.message.contents.0.message_content.text": "Hm.",
            "llm.output_messages.0.message.contents.1.message_content.type": "text",
            "llm.output_messages.0.message.contents.1.message_content.text": "Yes.",
        },
    ],
)
def test_reasoning_is_beside_the_content_for_histories_leave_it_out(attributes: dict[str, Any]):
    assert read(attributes).answers == [Message("assistant", "Yes.", reasoning="Hm.")]


# -- what instrumentors do


def test_a_list_of_attributes_may_begin_anywhere():
    found = read(m.openinference(first=2))
    assert same(found.prompt) == same(m.PROMPT[2:])
    assert found.partial == ("content",)
    whole = read({**m.openinference(first=2), "input.value": json.dumps(m.openai_request())})
    assert same(whole.prompt) == same(m.PROMPT)


def test_a_cut_off_prompt_keeps_what_came_before_the_cut():
    text = m.ENCODINGS["otel, JSON"]["gen_ai.input.messages"]
    found = read({"gen_ai.input.messages": text[: text.index("sunny")]})
    assert same(found.prompt)[:-1] == same(m.PROMPT)[:-1]
    assert (found.prompt or [])[-1].content == "25C and "
    assert found.partial == ("content",)


def test_an_embedding_has_texts_and_no_messages_and_keeps_no_vector():
    texts, vector = ["alpha", "beta"], [0.25] * 16
    as_messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]} for text in texts])
    told = [
        {"gen_ai.input.messages": as_messages, "gen_ai.embeddings.dimension.count": 16},
        {"ai.values": [json.dumps(text) for text in texts], "ai.embeddings": [json.dumps(vector)] * 2},
        {"inputs": json.dumps(texts), "embeddings": json.dumps([vector] * 2)},
        {
            "mlflow.spanInputs": json.dumps({"input": texts}),
            "mlflow.spanOutputs": json.dumps({"data": [{"embedding": vector}] * 2}),
        },
        {f"embedding.embeddings.{n}.embedding.text": text for n, text in enumerate(texts)}
        | {f"embedding.embeddings.{n}.embedding.vector": vector for n in range(2)},
    ]
    for attributes in told:
        found = read(attributes, "embedding")
        assert found.inputs == texts
        assert found.outputs["dimensions"] == 16
        assert found.outputs.get("vectors", 2) == 2
        assert found.prompt is found.answers is None
        assert "0.25" not in repr(vars(found))
    name = "gen_ai.client.inference.operation.details"
    assert heard(m.log(name, {"gen_ai.operation.name": "embeddings", "gen_ai.input.messages": as_messages})) == []


def test_litellm_tells_a_call_beside_the_answer():
    found = read(
        {
            "gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "tool_calls"}]',
            "gen_ai.completion.0.function_call.name": "weather",
            "gen_ai.completion.0.function_call.arguments": '{"city": "Paris"}',
        }
    )
    assert found.answers == [Message("assistant", "", (ToolCall("weather", {"city": "Paris"}, None),))]


def test_a_call_has_the_id_that_its_result_refers_to():
    call = {"type": "tool_call", "id": "fc_1", "name": "weather", "arguments": {}}
    output = json.dumps([{"role": "assistant", "parts": [call]}])
    found = read({"gen_ai.output.messages": output, "gen_ai.tool.call.id": "call_1"})
    assert [c.id for a in found.answers or () for c in a.calls] == ["call_1"]


def test_blocks_written_as_json_texts_are_the_calls_told_beside_them():
    parts = [
        {"type": "text", "content": "I look."},
        {"type": "text", "content": json.dumps({"id": "t1", "input": {}, "name": "f", "type": "tool_use"})},
        {"type": "tool_call", "id": "t1", "name": "f", "arguments": {"a": 1}},
    ]
    found = read({"gen_ai.input.messages": json.dumps([{"role": "assistant", "parts": parts}])})
    assert found.prompt == [Message("assistant", "I look.", (ToolCall("f", {"a": 1}, "t1"),))]


def test_two_agents_answers_in_a_row_stay_two():
    said = [langchain("one", "A"), langchain("two", "B")]
    call = {"name": "f", "args": {}, "id": "c", "type": "tool_call"}
    handed = m.langchain_message("AIMessage", content="", type="ai", name="two", tool_calls=[call])
    found = read({"gen_ai.prompt": json.dumps({"messages": [[*said, handed]]})})
    assert [(p.content, len(p.calls)) for p in found.prompt or ()] == [("A", 0), ("B", 0), ("", 1)]


def langchain(name: str, text: str) -> dict[str, Any]:
    return m.langchain_message("AIMessage", content=text, type="ai", name=name)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "uri", "uri": "https://x/y.png", "modality": "image", "mime_type": "image/png"}, "url"),
        ({"type": "image-url", "url": "https://x/y.png"}, "url"),
        ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, "url"),
        ({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, "url"),
        ({"type": "binary", "media_type": "image/png", "content": m.PNG}, "base64"),
        ({"type": "uri", "uri": m.URL, "modality": "image"}, "base64"),
        ({"type": "blob", "mime_type": None, "modality": "image", "content": m.PNG}, "base64"),
        ({"type": "image", "image": {"type": "Buffer", "data": [137, 80, 78, 71, 13, 10, 26, 10]}}, "start"),
    ],
)
def test_an_image_is_the_same_part_however_it_is_carried(part: dict[str, Any], expected: str):
    (message,) = read({"gen_ai.input.messages": json.dumps([{"role": "user", "parts": [part]}])}).prompt or ()
    forms = {
        "url": {"type": "image", "url": "https://x/y.png"},
        "base64": {"type": "image", "base64": m.PNG, "mime_type": "image/png"},
        "start": {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"},
    }
    assert message.content == [forms[expected]]


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("[{'type': 'text', 'text': 'mild'}]", "mild"),
        ([{"type": "text", "text": "mild"}], "mild"),
        ({"degrees": 18}, '{"degrees":18}'),
        (None, ""),
        (18, "18"),
        ("[1] a footnote", "[1] a footnote"),
    ],
)
def test_a_tools_result_is_a_text(result: Any, content: str):
    parts = [{"type": "tool_call_response", "id": "c", "response": result}]
    found = read({"gen_ai.input.messages": json.dumps([{"role": "user", "parts": parts}])})
    assert found.prompt == [Message("tool", content, call_id="c")]


# -- anything but a model call


def test_lists_of_messages_in_payloads_are_messages():
    given = json.dumps({"messages": m.langchain_messages(), "limit": 3})
    made = json.dumps([{"update": {"messages": [langchain("agent", m.FOUND)]}, "goto": []}])
    found = read({"input.value": given, "output.value": made}, "chain")
    assert same(found.inputs["messages"]) == same(m.PROMPT)
    assert found.inputs["limit"] == 3
    assert same(found.outputs[0]["update"]["messages"]) == same([m.ANSWER])
    assert found.question == found.inputs["messages"]


def test_a_roots_question_and_reply():
    found = read({"traceloop.entity.input": '{"inputs": "Why?", "tags": [], "kwargs": {}}'}, "chain")
    assert (found.inputs, found.question) == ("Why?", [Message("user", "Why?")])
    history = [*m.langchain_messages(), langchain("agent", m.FOUND)]
    found = read({"gen_ai.completion": json.dumps({"messages": history})}, "agent")
    assert same(found.reply) == same([m.ANSWER])
    found = read({"ai.prompt": '{"system": "Be brief.", "prompt": "Why?"}', "ai.response.text": "So."}, "chain")
    assert found.question == [Message("user", "Why?")]
    assert found.reply == [Message("assistant", "So.")]


def test_pydantic_ai_tells_an_agents_history_in_one():
    messages = json.loads(m.ENCODINGS["pydantic-ai"]["gen_ai.input.messages"])
    answer = {"role": "assistant", "parts": [{"type": "text", "content": m.FOUND}]}
    attributes = {
        "pydantic_ai.all_messages": json.dumps([*messages, answer]),
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": m.BRIEF}]),
        "final_result": m.FOUND,
    }
    found = read(attributes, "agent")
    assert same(found.question) == same([m.USER])
    assert same(found.inputs["system_instructions"]) == same([m.SYSTEM])
    assert same(found.outputs["messages"]) == same([m.CALLS, *m.TOOLS, m.ANSWER])
    assert same(found.reply) == same([m.ANSWER])


def test_a_tool_has_arguments_and_a_result():
    attributes = {"gen_ai.tool.call.arguments": '{"city": "Paris"}', "gen_ai.tool.call.result": "18C"}
    found = read(attributes, "tool")
    assert (found.inputs, found.outputs) == ({"city": "Paris"}, "18C")
    found = read({"ai.toolCall.args": '{"city":"Paris"}', "ai.toolCall.result": '"18C"'}, "tool")
    assert (found.inputs, found.outputs) == ({"city": "Paris"}, "18C")
    message = m.langchain_message("ToolMessage", content="18C", type="tool", tool_call_id="c")
    found = read({"gen_ai.tool.call.result": json.dumps({"output": message, "kwargs": {}})}, "tool")
    assert found.outputs == Message("tool", "18C", call_id="c")


def test_retrieved_documents_have_one_form():
    document = {"page_content": "Berlin.", "metadata": {"source": "geo"}, "type": "Document"}
    flat = {
        "input.value": "Capital?",
        "retrieval.documents.0.document.id": "d1",
        "retrieval.documents.0.document.content": "Berlin.",
        "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.0.document.metadata": '{"source": "geo"}',
    }
    found = read(flat, "retriever")
    assert (found.inputs, found.outputs) == ({"query": "Capital?"}, [{**document, "id": "d1", "score": 0.5}])
    found = read(
        {"gen_ai.prompt": '{"query": "Capital?"}', "gen_ai.completion": json.dumps({"documents": [document]})},
        "retriever",
    )
    assert (found.inputs, found.outputs) == ({"query": "Capital?"}, [document])
    found = read(
        {"gen_ai.retrieval.query.text": "Capital?", "gen_ai.retrieval.documents": '[{"id":"d1","score":0.5}]'},
        "retriever",
    )
    assert (found.inputs, found.outputs) == ({"query": "Capital?"}, [{"id": "d1", "score": 0.5}])


# -- anything at all

KEYS = sorted({key for attributes in m.ENCODINGS.values() for key in attributes})
WORDS = st.sampled_from(
    [
        "role",
        "content",
        "parts",
        "type",
        "text",
        "tool_call",
        "lc",
        "kwargs",
        "id",
        "user",
        "assistant",
        "messages",
        "0",
        "image",
    ]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=25,
)
KINDS = st.sampled_from(["llm", "embedding", "retriever", "tool", "agent", "chain", "prompt", "other"])


def as_json(value: Any) -> str:
    return json.dumps(value, default=repr)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=12), JUNK | JUNK.map(as_json), max_size=6),
    KINDS,
    JUNK,
)
def test_nothing_makes_it_raise(attributes: dict[str, Any], kind: str, body: Any):
    # What could not be read would be noted.
    assert "messages" not in read(attributes, kind, events=[NativeEvent("gen_ai.choice", 1, attributes)]).partial
    for name in ("gen_ai.user.message", "gen_ai.choice", "gen_ai.client.inference.operation.details"):
        assert heard(m.log(name, body, attributes)) is not None


def test_instructions_that_were_cut_off_are_not_told_beside_the_whole_ones():
    (request,) = (value for name, value in m.ENCODINGS["gemini"].items() if name == "input.value")
    for cut in range(len(request)):
        found = same(read({"input.value": request[:cut], "gen_ai.system_instructions": m.BRIEF}).prompt)
        assert [role for role, *_ in found].count("system") == 1, request[:cut]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(m.ENCODINGS)), st.data())
def test_wherever_it_is_cut_off_what_is_whole_is_kept(name: str, data: st.DataObject):
    attributes = dict(m.ENCODINGS[name])
    key = next(iter(attributes))
    if not isinstance(attributes[key], str) or "input_messages" in key or key.startswith("gen_ai.prompt."):
        return
    whole = same(read(attributes).prompt)
    cut = data.draw(st.integers(0, len(attributes[key])))
    found = same(read({key: attributes[key][:cut], "gen_ai.system_instructions": m.BRIEF}).prompt)
    assert found[: max(0, len(found) - 2)] == whole[: max(0, len(found) - 2)]
