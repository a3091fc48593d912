"""One little conversation, as each instrumentor writes it: what every one of them is to be read as, and their forms."""

from __future__ import annotations

import json
from typing import Any

from chopsky_trace.telemetry.conventions.native import NO_STATUS, NativeEvent, NativeLog, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Message, Reading, ToolCall

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
URL = f"data:image/png;base64,{PNG}"
BRIEF, ASKED, FOUND = "Be brief.", "Weather in both of these?", "18C in Paris, 25C in Tokyo."
ARGS = ({"city": "Paris"}, {"city": "Tokyo", "days": [1, 2]})
RESULTS = ("18C and cloudy", "25C and sunny")
IDS = ("call_1", "call_2")

SYSTEM = Message("system", BRIEF)
USER = Message("user", [{"type": "text", "text": ASKED}, {"type": "image", "base64": PNG, "mime_type": "image/png"}])
CALLS = Message("assistant", "", tuple(ToolCall("weather", a, i) for a, i in zip(ARGS, IDS, strict=True)))
TOOLS = [Message("tool", r, call_id=i) for r, i in zip(RESULTS, IDS, strict=True)]
ANSWER = Message("assistant", FOUND)
PROMPT = [SYSTEM, USER, CALLS, *TOOLS]
"""Of the second call; the first had the first two, and its answer was the third."""


def span(attributes: dict[str, Any], **fields: Any) -> NativeSpan:
    values: dict[str, Any] = {
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "parent_id": None,
        "name": "chat",
        "kind": 3,
        "start": 1,
        "end": 2,
        "status": NO_STATUS,
        "message": "",
        "attributes": attributes,
        "events": (),
        "scope": "some.scope",
        "resource": {},
    }
    return NativeSpan(**{**values, **fields})


def log(name: str, body: Any = None, attributes: dict[str, Any] | None = None) -> NativeLog:
    return NativeLog("1" * 32, "2" * 16, name, 1, body, attributes or {}, "some.scope", {})


def reading(kind: str = "llm") -> Reading:
    found = Reading()
    found.kind = kind  # type: ignore[assignment]
    return found


def told(message: Message) -> tuple[Any, ...]:
    """What makes a message the same message."""
    return message.role, message.content, message.calls, message.call_id


def _genai_parts(*, text: bool, result: str, tools_by: str) -> list[dict[str, Any]]:
    calls = [
        {"type": "tool_call", "id": i, "name": "weather", "arguments": json.dumps(a) if text else a}
        for a, i in zip(ARGS, IDS, strict=True)
    ]
    results = [
        {"type": "tool_call_response", "id": i, "name": "weather", result: r} for r, i in zip(RESULTS, IDS, strict=True)
    ]
    image = {"type": "blob", "mime_type": "image/png", "modality": "image", "content": PNG}
    tools = (
        [{"role": "user", "parts": results}]
        if tools_by == "user"
        else [{"role": "tool", "parts": [r], "name": "weather"} for r in results]
    )
    return [
        {"role": "user", "parts": [{"type": "text", "content": ASKED}, image], "name": None},
        {"role": "assistant", "parts": calls, "name": "agent"},
        *tools,
    ]


def _genai(
    *,
    text: bool = False,
    result: str = "response",
    tools_by: str = "tool",
    system: str = "both",
    structured: bool = False,
) -> dict[str, Any]:
    prompt = _genai_parts(text=text, result=result, tools_by=tools_by)
    told_system = [{"type": "text", "content": BRIEF}]
    if system != "instructions":
        prompt.insert(0, {"role": "system", "parts": told_system})
    answer = [{"role": "assistant", "parts": [{"type": "text", "content": FOUND}], "finish_reason": "stop"}]
    write: Any = (lambda value: value) if structured else json.dumps
    found = {"gen_ai.input.messages": write(prompt), "gen_ai.output.messages": write(answer)}
    if system != "messages":
        found["gen_ai.system_instructions"] = write(told_system)
    return found


def openai_messages() -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": URL, "detail": "low"}}
    calls = [
        {"id": i, "type": "function", "function": {"name": "weather", "arguments": json.dumps(a, indent=1)}}
        for a, i in zip(ARGS, IDS, strict=True)
    ]
    return [
        {"role": "developer", "content": BRIEF},
        {"role": "user", "content": [{"type": "text", "text": ASKED}, image]},
        {"role": "assistant", "content": None, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": i, "content": r} for r, i in zip(RESULTS, IDS, strict=True)),
    ]


def openai_request() -> dict[str, Any]:
    return {"model": "m", "messages": openai_messages(), "tools": [{"type": "function", "function": {"name": "f"}}]}


def openai_response() -> dict[str, Any]:
    message = {"role": "assistant", "content": FOUND, "refusal": None, "tool_calls": None, "function_call": None}
    return {"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


def responses_items() -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "input_text", "text": ASKED}, {"type": "input_image", "image_url": URL}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        *(
            {"type": "function_call", "id": f"fc_{i}", "call_id": i, "name": "weather", "arguments": json.dumps(a)}
            for a, i in zip(ARGS, IDS, strict=True)
        ),
        *({"type": "function_call_output", "call_id": i, "output": r} for r, i in zip(RESULTS, IDS, strict=True)),
    ]


def _responses() -> dict[str, Any]:
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": FOUND}]}
    return {
        "mlflow.spanInputs": json.dumps({"model": "m", "instructions": BRIEF, "input": responses_items()}),
        "mlflow.spanOutputs": json.dumps({"id": "resp_1", "object": "response", "output": [item]}),
    }


def anthropic_request() -> dict[str, Any]:
    uses = [{"type": "tool_use", "id": i, "name": "weather", "input": a} for a, i in zip(ARGS, IDS, strict=True)]
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    results = [
        {"type": "tool_result", "tool_use_id": IDS[0], "content": RESULTS[0]},
        {"type": "tool_result", "tool_use_id": IDS[1], "content": [{"type": "text", "text": RESULTS[1]}]},
    ]
    return {
        "model": "m",
        "system": [{"type": "text", "text": BRIEF, "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": ASKED}, image]},
            {"role": "assistant", "content": uses},
            {"role": "user", "content": results},
        ],
    }


def _anthropic() -> dict[str, Any]:
    response = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": FOUND}]}
    return {
        "mlflow.spanInputs": json.dumps(anthropic_request()),
        "mlflow.spanOutputs": json.dumps(response),
    }


def _gemini() -> dict[str, Any]:
    calls = [{"functionCall": {"id": i, "name": "weather", "args": a}} for a, i in zip(ARGS, IDS, strict=True)]
    results = [
        {"functionResponse": {"id": i, "name": "weather", "response": {"type": "text", "value": r}}}
        for r, i in zip(RESULTS, IDS, strict=True)
    ]
    contents = [
        {"role": "user", "parts": [{"text": ASKED}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
        {"role": "model", "parts": calls},
        {"role": "user", "parts": results},
    ]
    request = {"contents": contents, "config": {"system_instruction": {"parts": [{"text": BRIEF}]}}}
    response = {"candidates": [{"content": {"role": "model", "parts": [{"text": FOUND}]}}]}
    return {"input.value": json.dumps(request), "output.value": json.dumps(response)}


def langchain_message(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": kwargs}


def langchain_messages() -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": URL}}
    calls = [{"name": "weather", "args": a, "id": i, "type": "tool_call"} for a, i in zip(ARGS, IDS, strict=True)]
    uses = [
        {"type": "tool_use", "id": i, "input": {}, "name": "weather", "partial_json": "{}", "index": 1} for i in IDS
    ]
    return [
        langchain_message("SystemMessage", content=BRIEF, type="system"),
        langchain_message("HumanMessage", content=[{"type": "text", "text": ASKED}, image], type="human"),
        langchain_message("AIMessageChunk", content=uses, type="ai", name="agent", tool_calls=calls),
        *(
            langchain_message("ToolMessage", content=r, type="tool", name="weather", tool_call_id=i)
            for r, i in zip(RESULTS, IDS, strict=True)
        ),
    ]


def _langsmith() -> dict[str, Any]:
    answer = langchain_message("AIMessage", content=FOUND, type="ai", tool_calls=[], additional_kwargs={})
    generations = [[{"text": FOUND, "type": "ChatGeneration", "message": answer}]]
    return {
        "gen_ai.prompt": json.dumps({"messages": [langchain_messages()]}),
        "gen_ai.completion": json.dumps({"generations": generations, "llm_output": {}}),
    }


def _langfuse() -> dict[str, Any]:
    tool = {"role": "tool", "content": {"type": "function", "function": {"name": "weather", "parameters": {}}}}
    return {
        "langfuse.observation.input": json.dumps([*openai_messages(), tool]),
        "langfuse.observation.output": json.dumps({"role": "assistant", "content": FOUND}),
    }


def ai_sdk_messages() -> list[dict[str, Any]]:
    calls = [
        {"type": "tool-call", "toolCallId": i, "toolName": "weather", "input": a}
        for a, i in zip(ARGS, IDS, strict=True)
    ]
    results = [
        {"type": "tool-result", "toolCallId": i, "toolName": "weather", "output": {"type": "text", "value": r}}
        for r, i in zip(RESULTS, IDS, strict=True)
    ]
    return [
        {"role": "system", "content": BRIEF},
        {
            "role": "user",
            "content": [{"type": "text", "text": ASKED}, {"type": "file", "mediaType": "image/png", "data": PNG}],
        },
        {"role": "assistant", "content": calls},
        {"role": "tool", "content": results},
    ]


def _ai_sdk() -> dict[str, Any]:
    return {"ai.prompt.messages": json.dumps(ai_sdk_messages()), "ai.response.text": FOUND}


def openinference(*, blocks: bool = False, first: int = 0) -> dict[str, Any]:
    """The flat form; with `blocks`, calls in the content, too, as for Anthropic."""
    found: dict[str, Any] = {}
    at = "llm.input_messages.{}.message."
    found[at.format(0) + "role"], found[at.format(0) + "content"] = "system", BRIEF
    user, part = at.format(1), "contents.{}.message_content."
    found |= {
        user + "role": "user",
        user + part.format(0) + "type": "text",
        user + part.format(0) + "text": ASKED,
        user + part.format(1) + "type": "image",
        user + part.format(1) + "image.image.url": URL,
        at.format(2) + "role": "assistant",
        at.format(2) + "name": "agent",
    }
    for n, (args, call_id) in enumerate(zip(ARGS, IDS, strict=True)):
        places = [f"tool_calls.{n}.tool_call."]
        if blocks:
            found[f"{at.format(2)}contents.{n}.message_content.type"] = "tool_use"
            places.append(f"contents.{n}.tool_call.")
        for place in places:
            call = at.format(2) + place
            found |= {call + "id": call_id, call + "function.name": "weather"}
            found[call + "function.arguments"] = json.dumps(args)
    for n, (result, call_id) in enumerate(zip(RESULTS, IDS, strict=True), 3):
        tool = at.format(n)
        found |= {tool + "role": "tool", tool + "content": result, tool + "tool_call_id": call_id}
    found = {k: v for k, v in found.items() if int(k.split(".")[2]) >= first}
    found["llm.output_messages.0.message.role"] = "assistant"
    found["llm.output_messages.0.message.contents.0.message_content.type"] = "text"
    found["llm.output_messages.0.message.contents.0.message_content.text"] = FOUND
    return found


def traceloop() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for n, message in enumerate(openai_messages()):
        at = f"gen_ai.prompt.{n}."
        found[at + "role"] = message["role"]
        content = message["content"]
        if content is not None:
            found[at + "content"] = content if isinstance(content, str) else json.dumps(content)
        for k, call in enumerate(message.get("tool_calls", ())):
            found |= {f"{at}tool_calls.{k}.{key}": value for key, value in call["function"].items()}
            found[f"{at}tool_calls.{k}.id"] = call["id"]
        if "tool_call_id" in message:
            found[at + "tool_call_id"] = message["tool_call_id"]
    return {**found, "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": FOUND}


def _events_attribute() -> dict[str, Any]:
    names = {"developer": "system"}
    events = [
        {"event.name": f"gen_ai.{names.get(m['role'], m['role'])}.message", "gen_ai.message.index": n, **m}
        for n, m in enumerate(openai_messages())
    ]
    choice = {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": FOUND}}
    return {"events": json.dumps([*events, choice])}


def _litellm() -> dict[str, Any]:
    prompt: list[dict[str, Any]] = []
    for message in openai_messages():
        content = message["content"]
        parts = [{"type": "text", "content": content}] if isinstance(content, str) else content or []
        prompt.append({**{k: v for k, v in message.items() if k != "content"}, "parts": parts})
    answer = [{"role": "assistant", "parts": [{"type": "text", "content": FOUND}], "finish_reason": "stop"}]
    return {"gen_ai.input.messages": json.dumps(prompt), "gen_ai.output.messages": json.dumps(answer)}


ENCODINGS: dict[str, dict[str, Any]] = {
    "otel, JSON": _genai(system="messages"),
    "otel, structured": _genai(system="messages", structured=True),
    "otel, results of the user": _genai(system="instructions", tools_by="user"),
    "pydantic-ai": _genai(text=True, result="result", tools_by="user", system="instructions"),
    "openlit": _genai(system="both"),
    "litellm": _litellm(),
    "openinference": openinference(),
    "openinference, blocks": openinference(blocks=True),
    "openllmetry, flat": traceloop(),
    "langsmith": _langsmith(),
    "mlflow, chat completions": {
        "mlflow.spanInputs": json.dumps(openai_request()),
        "mlflow.spanOutputs": json.dumps(openai_response()),
    },
    "mlflow, responses": _responses(),
    "mlflow, anthropic": _anthropic(),
    "langfuse": _langfuse(),
    "ai sdk": _ai_sdk(),
    "logfire, events": _events_attribute(),
    "logfire, request": {
        "request_data": json.dumps(openai_request()),
        "response_data": json.dumps({"message": {"role": "assistant", "content": FOUND}}),
    },
    "gemini": _gemini(),
}


def message_logs() -> list[NativeLog]:
    names = {"developer": "system"}
    found: list[NativeLog] = []
    for message in openai_messages():
        role = names.get(message["role"], message["role"])
        body = {k: v for k, v in message.items() if v is not None and k not in ("role", "tool_call_id")}
        if "tool_call_id" in message:
            body["id"] = message["tool_call_id"]
        found.append(log(f"gen_ai.{role}.message", body, {"gen_ai.system": "openai"}))
    message = {"role": "assistant", "content": FOUND}
    found.append(log("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": message}))
    return found


def message_events() -> list[NativeEvent]:
    """The same as events on a span, whose attributes cannot nest."""
    return [
        NativeEvent(found.name, 1, {k: v if isinstance(v, str | int) else json.dumps(v) for k, v in found.body.items()})
        for found in message_logs()
    ]
