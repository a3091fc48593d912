"""Each message once and exact, whatever it is made of: media, reasoning, citations, providers' own items."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from lc_conversations import Talk, joined
from lc_listening import Told, chat
from lc_support import ai, call, find_recipe

PICTURE = base64.b64encode(bytes(range(256)) * 8).decode()
MEDIA: dict[str, list[Any]] = {
    "text": [{"type": "text", "text": "What"}, {"type": "text", "text": "is this?"}],
    "strings": ["What", {"type": "text", "text": "is this?"}],
    "image url": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/carrot.png", "detail": "low"}},
    ],
    "image": [{"type": "image", "base64": PICTURE, "mime_type": "image/png"}, {"type": "text", "text": "and?"}],
    "openai base64": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}],
    "anthropic base64": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    ],
    "audio": [{"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}}],
    "pdf": [
        {"type": "file", "base64": PICTURE, "mime_type": "application/pdf", "filename": "menu.pdf"},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PICTURE}", "filename": "menu.pdf"}},
        {
            "type": "document",
            "source": {"type": "url", "url": "https://example.com/menu.pdf"},
            "citations": {"enabled": True},
        },
    ],
    "gemini media": [{"type": "media", "mime_type": "video/mp4", "data": PICTURE}, {"type": "text", "text": "What?"}],
    "odd": [
        {"type": "text", "text": "ünï ✓ 🥕 \u2028"},
        {"type": "x", "n": [1, 2.5, 1.0, 1e15, -7, None, True, {}], "": {"": []}},
    ],
}
ANSWERS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "anthropic thinking": (
        [
            {"type": "thinking", "thinking": "It is orange.", "signature": "EqQBCgIYAhIM"},
            {"type": "redacted_thinking", "data": "EmwKAhgB"},
            {"type": "text", "text": "A carrot."},
        ],
        {},
    ),
    "anthropic citations": (
        [
            {"type": "text", "text": "It is a "},
            {
                "type": "text",
                "text": "carrot.",
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "carrot",
                        "document_index": 0,
                        "start_char_index": 3,
                        "end_char_index": 9,
                    }
                ],
            },
        ],
        {},
    ),
    "anthropic tool use": (
        [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "find_recipe", "input": {"dish": "soup"}},
        ],
        {"calls": [call("find_recipe", "toolu_1", dish="soup")]},
    ),
    "anthropic server tools": (
        [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "carrot"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [{"type": "web_search_result", "url": "https://example.com"}],
            },
            {"type": "text", "text": "A carrot."},
        ],
        {},
    ),
    "openai responses": (
        [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Orange."}],
                "encrypted_content": "gAAA",
            },
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "carrot"},
            },
            {
                "type": "text",
                "text": "A carrot.",
                "annotations": [{"type": "url_citation", "url": "https://example.com"}],
                "id": "msg_1",
                "phase": "final",
            },
        ],
        {},
    ),
    "openai refusal": ([{"type": "refusal", "refusal": "No."}], {}),
    "gemini": (
        [
            {"type": "thinking", "thinking": "Orange."},
            {"type": "executable_code", "executable_code": "1 + 1", "language": 1},
            {"type": "code_execution_result", "code_execution_result": "2", "outcome": 1},
            {"type": "text", "text": "A carrot.", "extras": {"signature": "CpcB"}},
        ],
        {},
    ),
    "standard blocks": (
        [
            {"type": "reasoning", "reasoning": "Orange.", "extras": {"signature": "x"}},
            {
                "type": "text",
                "text": "A carrot.",
                "annotations": [{"type": "citation", "url": "https://example.com", "title": "Carrots"}],
            },
            {"type": "non_standard", "value": {"anything": ["at", "all"]}},
        ],
        {},
    ),
    "audio": (
        [{"type": "audio", "id": "audio_1", "base64": PICTURE, "mime_type": "audio/wav", "transcript": "A carrot."}],
        {},
    ),
    "two texts": ([{"type": "text", "text": "A"}, "carrot."], {}),
}


def text_of(blocks: list[Any]) -> str:
    return "\n".join(
        b if isinstance(b, str) else b["text"] for b in blocks if isinstance(b, str) or b["type"] == "text"
    )


@pytest.mark.parametrize("kind", MEDIA)
def test_media_in_a_question(talk: Talk, kind: str) -> None:
    from langchain.agents import create_agent
    from langgraph.checkpoint.memory import InMemorySaver

    agent = create_agent(chat("A carrot.", "Orange."), [], checkpointer=InMemorySaver())
    for question in (MEDIA[kind], "which colour?"):
        talk.process()
        config = talk.thread("s")
        # Not the model's own ears: what LangChain tells is not always what it gives.
        config["callbacks"].append(Told())
        agent.invoke({"messages": [HumanMessage(question)]}, config)
    first = [f"user: {text_of(MEDIA[kind])}", "assistant: A carrot."]
    second = ["user: which colour?", "assistant: Orange."]
    talk.prove([*first, *second], first, second, seeds=2)
    # The picture is in one row, however often the history is sent.
    (kept,) = talk.rows("select count(*) as n, max(size_bytes) as size from conversation_contents where kind = 'media'")
    assert kept["n"] == (PICTURE in str(MEDIA[kind]))
    assert kept["size"] == (2_048 if kept["n"] else None)
    payloads = talk.rows("select concat(inputs, outputs) as text from conversation_spans")
    assert not any(PICTURE[:200] in row["text"] for row in payloads)


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_of_blocks_sent_again(talk: Talk, kind: str) -> None:
    blocks, fields = ANSWERS[kind]
    model = chat(ai(tokens=None, **fields).model_copy(update={"content": blocks}), "Yes.")
    history: list[BaseMessage] = [HumanMessage("What is this?")]
    history.append(model.invoke(history, talk.config("s")))
    text = f"assistant: {text_of(blocks)}"
    said = ["user: What is this?", text + (" ['find_recipe']" if fields else "")]
    more: list[BaseMessage] = [HumanMessage("sure?")]
    if fields:
        more.insert(0, ToolMessage([{"type": "text", "text": "boil"}], tool_call_id="toolu_1"))
        said.append("tool: boil")
    talk.process()
    # As a history that was kept as JSON gives it back: other objects, other ids.
    history = [message.model_copy(deep=True, update={"id": None}) for message in history]
    model.invoke([*history, *more], talk.config("s"))
    asked = ["user: sure?", "assistant: Yes."]
    talk.prove([*said, *asked], ["user: What is this?", text], asked, seeds=2)


def test_reasoning_beside_the_content(talk: Talk) -> None:
    """What providers put beside the content is kept with the message; it is no part of what tells messages apart."""
    thought = ai("A carrot.").model_copy(update={"additional_kwargs": {"reasoning_content": "It is orange."}})
    model = chat(thought, "Yes.")
    history: list[BaseMessage] = [HumanMessage("What is this?")]
    history.append(model.invoke(history, talk.config("s")))
    model.invoke([*history, HumanMessage("sure?")], talk.config("s"))
    said = [["user: What is this?", "assistant: A carrot."], ["user: sure?", "assistant: Yes."]]
    talk.prove(joined(said), *said)
    kept = talk.rows("select metadata from conversation_messages where content = 'A carrot.'")
    assert [row["metadata"]["reasoning_content"] for row in kept] == ["It is orange."]


def test_tools_that_return_media_and_artifacts(talk: Talk) -> None:
    from langchain.agents import create_agent
    from langchain_core.tools import tool

    @tool(response_format="content_and_artifact")
    def photograph(dish: str) -> tuple[list[Any], dict[str, str]]:
        """Take a picture."""
        return [{"type": "image", "base64": PICTURE, "mime_type": "image/png"}, {"type": "text", "text": dish}], {
            "raw": "x"
        }

    agent = create_agent(chat(ai(calls=[call("photograph", "p1", dish="soup")], tokens=None), "Nice."), [photograph])
    config = talk.config("s")
    config["callbacks"].append(Told())
    agent.invoke({"messages": [HumanMessage("show me")]}, config)
    talk.prove(
        ["user: show me", "assistant:  ['photograph']", "tool: soup", "assistant: Nice."],
        ["user: show me", "assistant: Nice."],
    )


def test_names_and_tool_calls_that_could_not_be_read(talk: Talk) -> None:
    broken = {"name": "look", "args": '{"closely": tru', "id": "c1", "error": "not JSON", "type": "invalid_tool_call"}
    model = chat("Hello.")
    messages: list[BaseMessage] = [
        SystemMessage("Be kind.", name="manager"),
        HumanMessage("hi", name="ada"),
        AIMessage("", invalid_tool_calls=[broken]),
        ToolMessage("what?", tool_call_id="c1", name="look", status="error"),
        HumanMessage("hi", name="bob"),
    ]
    model.invoke(messages, talk.config("s"))
    talk.prove(
        ["system: Be kind.", "user: hi", "assistant:  ['look']", "tool: what?", "user: hi", "assistant: Hello."],
        ["user: hi", "assistant: Hello."],
    )


def test_assistants_of_different_names_that_say_the_same(talk: Talk) -> None:
    model = chat("Yes.")
    agreed = [AIMessage("I agree.", name=name) for name in ("cook", "waiter")]
    model.invoke([HumanMessage("well?"), *agreed, HumanMessage("all?")], talk.config("s"))
    talk.prove(
        ["user: well?", "assistant: I agree.", "assistant: I agree.", "user: all?", "assistant: Yes."],
        ["user: all?", "assistant: Yes."],
    )


def test_an_agents_name_in_later_prompts(talk: Talk) -> None:
    from langchain.agents import create_agent

    agent = create_agent(
        chat(ai(calls=[call("find_recipe", "f1", dish="soup")], tokens=None), "Boil it."), [find_recipe], name="cook"
    )
    agent.invoke({"messages": [HumanMessage("soup")]}, talk.config("s"))
    talk.prove(
        ["user: soup", "assistant:  ['find_recipe']", "tool: soup: boil, season, serve", "assistant: Boil it."],
        ["user: soup", "assistant: Boil it."],
    )
