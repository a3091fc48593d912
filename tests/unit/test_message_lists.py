"""A long list of messages in a payload is recognised by its beginning, and still told as it stands now."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from chopsky_trace.sources.langchain.messages import Snapshot
from chopsky_trace.telling.memory import PREFIX_MESSAGES, Root


def ids_of(told: dict[str, Any], tree: dict[str, list[str]]) -> list[str]:
    """All body ids that a payload's reference stands for."""
    listed = told["messages"]
    span, skip, end = listed.get("$of", ("", 0, 0))
    return [*(tree[span][skip:end] if span else ()), *listed["$messages"]]


def conversation(length: int) -> list[BaseMessage]:
    return [(AIMessage if n % 2 else HumanMessage)(f"message {n}") for n in range(length)]


class Run:
    """One root, and a call whose prompt was the conversation."""

    def __init__(self, messages: list[BaseMessage]) -> None:
        self.root = Root("a" * 32, 0, 0)
        self.snapshot = Snapshot(None, max_string=1_000_000)
        self.draft: dict[str, Any] = {"bodies": [], "messages": []}
        entries = self.snapshot.entries(self.root, self.draft, messages)
        ids = [entry.id for entry in entries]
        self.root.prompt("b" * 32, entries, ids)
        self.tree = {"b" * 32: ids}

    def told(self, messages: list[BaseMessage]) -> list[str]:
        return ids_of(self.snapshot.payload(self.root, self.draft, {"messages": messages}), self.tree)

    def afresh(self, messages: list[BaseMessage]) -> list[str]:
        """The ids by a root that remembers nothing."""
        draft: dict[str, Any] = {"bodies": [], "messages": []}
        return [entry.id for entry in self.snapshot.entries(Root("c" * 32, 0, 0), draft, messages)]


def test_a_list_that_grows_is_told_whole() -> None:
    messages = conversation(2 * PREFIX_MESSAGES)
    run = Run(messages[:PREFIX_MESSAGES])
    for length in range(1, len(messages) + 1):
        for _ in range(2):
            assert run.told(messages[:length]) == run.afresh(messages[:length])
    assert run.root.lists


def test_a_message_changed_in_a_known_list_is_told_again() -> None:
    messages = conversation(PREFIX_MESSAGES + 4)
    run = Run(messages)
    before = run.told(messages)
    messages[3].content = "something else"
    after = run.told(messages)
    assert after == run.afresh(messages)
    assert [a == b for a, b in zip(after, before, strict=True)].index(False) == 3
    messages.pop(2)
    assert run.told(messages) == run.afresh(messages)


def test_another_conversation_with_the_same_first_message_is_its_own() -> None:
    messages = conversation(PREFIX_MESSAGES + 4)
    run = Run(messages)
    run.told(messages)
    other = [messages[0], *reversed(messages[1:])]
    assert run.told(other) == run.afresh(other)
    assert run.told(messages) == run.afresh(messages)
    run.root.prompt("d" * 32, *prompt_of(run, [SystemMessage("before it"), *messages]))
    run.tree["d" * 32] = run.afresh([SystemMessage("before it"), *messages])
    assert run.told(messages) == run.afresh(messages)


def prompt_of(run: Run, messages: list[BaseMessage]) -> tuple[Any, list[str]]:
    entries = run.snapshot.entries(run.root, run.draft, messages)
    return entries, [entry.id for entry in entries]


def test_the_application_s_own_payload_stays_as_it_is() -> None:
    messages = conversation(3)
    run = Run(messages)
    payload = {"messages": messages, "text": "long " * 1_000, "n": 1, "none": []}
    before = dict(payload)
    told = run.snapshot.payload(run.root, run.draft, payload)
    assert payload == before
    assert all(payload[key] is value for key, value in before.items())
    assert {key: type(value) for key, value in told.items()} == {"messages": dict, "text": dict, "n": int, "none": list}
