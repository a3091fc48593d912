"""What a span says was said: a model call's prompt and answers; of anything else, what went in and came out."""

from __future__ import annotations

from typing import Any, cast

from chopsky_trace.records import text_of
from chopsky_trace.telemetry.conventions import flat, table
from chopsky_trace.telemetry.conventions.dialogue import blank, conversation, without_repeats
from chopsky_trace.telemetry.conventions.events import heard, heard_on
from chopsky_trace.telemetry.conventions.exchanges import answered, asked, instructions_of
from chopsky_trace.telemetry.conventions.inputs_outputs import fill
from chopsky_trace.telemetry.conventions.media import Fields, kind_of
from chopsky_trace.telemetry.conventions.native import ERROR, NativeSpan
from chopsky_trace.telemetry.conventions.parts import Content, call_of
from chopsky_trace.telemetry.conventions.reading import Message, Reading
from chopsky_trace.telemetry.conventions.values import as_dict, as_list, note, parsed, scalar

__all__ = ["contents", "heard"]

_REQUESTS = (
    "gcp.vertex.agent.llm_request",
    "ai.prompt.messages",
    "ai.prompt",
    "gen_ai.prompt",
    "mlflow.spanInputs",
    "langfuse.observation.input",
    "events",
    "request_data",
    "raw_input",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "input.value",
    "traceloop.entity.input",
    "gen_ai.task.input",
    "input",
)
_RESPONSES = (
    "gen_ai.completion",
    "mlflow.spanOutputs",
    "langfuse.observation.output",
    "events",
    "gcp.vertex.agent.llm_response",
    "response_data",
    "response",
    "output.value",
    "traceloop.entity.output",
    "gen_ai.task.output",
    "output",
)
"""Where a call's request and its response stand as a whole, the surest first."""
_NOTHING = flat.Listed([], True)


def contents(span: NativeSpan, reading: Reading) -> None:
    """Fill in prompt, answers, inputs, outputs, question and reply. Never raises."""
    try:
        if reading.kind == "llm":
            _call(span, reading)
        else:
            fill(span, reading)
    except Exception:  # Whatever it is in a span that nobody thought of: it costs its messages, not the span.
        note(reading, "messages")


def _call(span: NativeSpan, reading: Reading) -> None:
    lists = flat.listed(span.attributes)
    turn = _is_one_turn(span, reading, lists)
    prompt = _prompt(span, reading, lists)
    answers = _answers(span, reading, lists, turn)
    if (prompt is None or answers is None) and span.events:
        told = heard_on(span)
        prompt = prompt or [h.message for h in told if h.half == "prompt"]
        if not answers:
            answers = [h.message for h in told if h.half == "answer"]
            reasons = (h.finish_reason for h in told if h.half == "answer")
            reading.finish_reason = reading.finish_reason or next(reasons, None)
    if prompt and answers and span.scope.startswith(table.LOGFIRE_AGENTS):
        prompt = _without_answer(prompt, answers)
    reading.prompt = prompt or None
    if span.status == ERROR or reading.status == "failed":
        # What came of an answer before the call failed is no answer.
        if answers:
            reading.outputs = {"partial": [text_of(m.content) for m in answers]}
    else:
        reading.answers = answers or None


def _without_answer(prompt: list[Message], answers: list[Message]) -> list[Message]:
    """The prompt without the answer at its end: Logfire lists the whole exchange of an agent's call, unmarked."""
    last, answer = prompt[-1], answers[-1]
    same = last.role == "assistant" and (last.calls, text_of(last.content)) == (answer.calls, text_of(answer.content))
    return prompt[:-1] if same else prompt


def _is_one_turn(span: NativeSpan, reading: Reading, lists: dict[str, flat.Listed]) -> bool:
    """Whether several messages among the answers are one: the Responses API's items are."""
    if span.attributes.get("openai.api.type") == "responses" or (reading.response_id or "").startswith("resp_"):
        return True
    if span.name.startswith(("Response", "openai.response")):
        return True
    return (
        len(lists.get(flat.OUTPUT, _NOTHING).items) > 1
        and as_dict(parsed(span, reading, "output.value")).get("object") == "response"
    )


def _prompt(span: NativeSpan, reading: Reading, lists: dict[str, flat.Listed]) -> list[Message] | None:
    found = asked(parsed(span, reading, "gen_ai.input.messages"))
    if found is None:
        found = _listed_prompt(span, reading, lists)
    for name in _REQUESTS:
        if found is not None:
            break
        if name in span.attributes:
            found = asked(_payload(span, reading, name))
    if found is None and span.scope == "litellm":
        found = asked(flat.litellm(span.attributes, ".messages"))
    instructions = instructions_of(parsed(span, reading, "gen_ai.system_instructions"))
    return found if instructions is None else without_repeats(instructions, found or [])


def _payload(span: NativeSpan, reading: Reading, name: str) -> Any:
    """MLflow writes a text as JSON, too, in quotes."""
    found = parsed(span, reading, name)
    return scalar(found) if name.startswith("mlflow.") else found


def _listed_prompt(span: NativeSpan, reading: Reading, lists: dict[str, flat.Listed]) -> list[Message] | None:
    if flat.INPUT in lists:
        listed = lists[flat.INPUT]
        found = conversation(flat.openinference(listed.items))
        if listed.whole:
            return None if blank(found) else found
        # The request as a whole, if it is there yet, has what the list has lost.
        whole = asked(parsed(span, reading, "input.value"))
        note(reading, "content")
        return whole if whole and len(whole) > len(found) else found
    if flat.PROMPT in lists:
        listed = lists[flat.PROMPT]
        if not listed.whole:
            note(reading, "content")
        found = conversation(flat.traceloop(listed.items))
        return None if blank(found) else found
    if flat.PROMPTS in lists:
        return conversation(flat.texts(lists[flat.PROMPTS].items, "prompt")) or None
    # Older and plainer: the texts as one list.
    return conversation(as_list(span.attributes.get("llm.prompts"))) or None


def _answers(span: NativeSpan, reading: Reading, lists: dict[str, flat.Listed], turn: bool) -> list[Message] | None:
    output = parsed(span, reading, "gen_ai.output.messages")
    found = answered(output, turn=turn)
    if flat.COMPLETION in lists:
        found = _with_legacy_calls(found, lists[flat.COMPLETION].items, turn)
    if found is None and flat.OUTPUT in lists:
        found = answered(flat.openinference(lists[flat.OUTPUT].items), turn=turn)
    if found is None and flat.CHOICES in lists:
        texts = flat.texts(lists[flat.CHOICES].items, "completion")
        found = [Message("assistant", text) for text in texts] or None
    if found is None:
        found = _ai_sdk(span, reading)
    for name in _RESPONSES:
        if found is not None:
            break
        if name in span.attributes:
            found = answered(_payload(span, reading, name), turn=turn)
    if found is None and span.scope == "litellm":
        found = answered({"choices": flat.litellm(span.attributes, ".choices")})
    if found and len(found) == 1 and found[0].calls:
        found = _with_call_id(span, found[0])
    return found


def _with_call_id(span: NativeSpan, answer: Message) -> list[Message]:
    """The answer with its call's id: OpenLIT tells the Responses API's id of the item there, the call's beside it."""
    told: Any = span.attributes.get("gen_ai.tool.call.id")
    if len(answer.calls) == 1 and told.__class__ is str and told and (answer.calls[0].id or "").startswith("fc_"):
        answer = answer._replace(calls=(answer.calls[0]._replace(id=told),))
    return [answer]


def _with_legacy_calls(found: list[Message] | None, items: list[Any], turn: bool) -> list[Message] | None:
    """Answers out of `gen_ai.completion.N`, or with the call that LiteLLM tells only there."""
    if found is None:
        items = flat.traceloop(items)
        # Reasoning comes as an answer of its own, before the one that it led to.
        turn = turn or any(kind_of(item) == "reasoning" for item in items if item.__class__ is dict)
        return answered(items, turn=turn)
    for n, item in enumerate(items[: len(found)]):
        call: Any = as_dict(item).get("function_call")
        if call.__class__ is dict and not found[n].calls:
            told = call_of(cast("Fields", call))
            if told is not None:
                found[n] = found[n]._replace(calls=(told,))
    return found


def _ai_sdk(span: NativeSpan, reading: Reading) -> list[Message] | None:
    """The AI SDK's answer, which it tells in pieces."""
    attributes = span.attributes
    calls = as_list(parsed(span, reading, "ai.response.toolCalls"))
    text: Any = attributes.get("ai.response.text")
    if not text:
        text = attributes.get("ai.response.object")
    if not calls and not text and "ai.response.files" not in attributes:
        return None
    content = Content()
    content.add(text if text.__class__ is str else None)
    content.add(parsed(span, reading, "ai.response.files"))
    content.add([{"type": "tool-call", **call} for call in calls if call.__class__ is dict])
    thought: Any = attributes.get("ai.response.reasoning")
    reasoning = thought if thought.__class__ is str else ""
    return [Message("assistant", content.plain(), tuple(content.calls), reasoning=reasoning)]
