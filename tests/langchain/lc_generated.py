"""Conversations as hypothesis makes them up, held with real calls, and what they must leave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from lc_conversations import Talk
from lc_listening import Chat
from lc_listening import given as received
from lc_support import ROLES, ai, call

PROCESSES = 3
# Few words, so that much is said again.
WORDS = st.sampled_from(["yes", "no", "cook"])
ANSWERS = st.sampled_from(["More?", "Soup.", "yes"])
THREADS = [{"session_id": "1", "tenant_id": "ada"}, {"session_id": "1", "tenant_id": "bob"}, {"session_id": "2"}]


@dataclass(frozen=True)
class Turn:
    """One thing a user does in a thread, and how the application sends it."""

    thread: int
    process: int
    word: str
    answers: tuple[str, ...]
    """More than one: the calls of one run, with a tool's result between them, or side by side."""
    shape: str
    """bare: the model alone; chain: within a run that is given the messages; late: only the call knows the session."""
    side_by_side: bool
    fails_first: bool
    sent_as: str
    window: int | None
    system: str | None
    before: str
    """What happens to the history first: nothing, an answer or question in it is edited, or its end is taken back."""


TURNS = st.builds(
    Turn,
    thread=st.integers(0, len(THREADS) - 1),
    process=st.integers(0, PROCESSES - 1),
    word=WORDS,
    answers=st.lists(ANSWERS, min_size=1, max_size=3).map(tuple),
    shape=st.sampled_from(["bare", "chain", "chain", "late"]),
    side_by_side=st.booleans(),
    fails_first=st.booleans(),
    sent_as=st.sampled_from(["objects", "copies", "dicts"]),
    window=st.one_of(st.none(), st.integers(0, 4)),
    system=st.sampled_from([None, "Be kind.", "Be brief."]),
    before=st.sampled_from(["nothing", "nothing", "nothing", "edit answer", "edit question", "take back"]),
)


@dataclass
class Thread:
    """What an application holds of a thread, and what is to be stored of it."""

    history: list[BaseMessage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    """Not said by any run, but sent: system prompts and edited messages."""


class Held:
    """A generated conversation as it is held: real calls, and what they must leave."""

    def __init__(self, talk: Talk, tracers: list[Any]) -> None:
        self.talk = talk
        self.tracers = tracers
        self.threads = [Thread() for _ in THREADS]
        self.number = 0
        talk.lines.clear()
        received.clear()

    def hold(self, turn: Turn) -> None:
        thread = self.threads[turn.thread]
        self._before(thread, turn)
        question = HumanMessage(turn.word)
        thread.said.append(f"user: {turn.word}")
        window = thread.history if turn.window is None else thread.history[len(thread.history) - turn.window :]
        if turn.window == 0:
            window = []
        opening: list[BaseMessage] = [SystemMessage(turn.system)] if turn.system else []
        opening += window
        for message in opening:
            line = f"{'system' if message.type == 'system' else ROLES[message.type]}: {message.content}"
            if (message.type == "system" or "edited" in line) and line not in thread.known:
                thread.known.append(line)
        thread.history = [*thread.history, question]
        self._ask(thread, turn, [*opening, question])

    def _before(self, thread: Thread, turn: Turn) -> None:
        self.number += 1
        history = [*thread.history]
        if turn.before == "take back":
            while history and history.pop().type != "human":
                pass
        else:
            kind = {"edit answer": "ai", "edit question": "human"}.get(turn.before)
            place = next(
                (i for i, m in enumerate(history) if m.type == kind and not getattr(m, "tool_calls", None)), None
            )
            if place is not None:
                made = AIMessage if kind == "ai" else HumanMessage
                history[place] = made(f"edited {self.number}")
        thread.history = history

    def _ask(self, thread: Thread, turn: Turn, prompt: list[BaseMessage]) -> None:
        callbacks: Any = {"callbacks": [self.tracers[turn.process]]}
        scope = {"metadata": dict(THREADS[turn.thread])}
        whole = turn.shape != "bare"
        answers = turn.answers if whole else turn.answers[:1]

        def one(messages: list[BaseMessage], reply: AIMessage, config: Any) -> AIMessage:
            model = Chat(replies=[*([ConnectionError("down")] if turn.fails_first else []), reply])
            caller: Any = model.with_retry(wait_exponential_jitter=False) if turn.fails_first else model
            return caller.invoke(self._sent(messages, turn.sent_as), config)

        def calls(messages: list[BaseMessage], config: Any) -> None:
            sent = messages
            for place, text in enumerate(answers):
                last = place == len(answers) - 1
                tools = [] if last or turn.side_by_side else [call("look", f"call {self.number} {place}")]
                answer = one(sent, ai(text, calls=tools, tokens=None), config)
                thread.said.append(f"assistant: {text}" + (" ['look']" if tools else ""))
                if tools:
                    result = ToolMessage("seen", tool_call_id=tools[0]["id"])
                    thread.said.append("tool: seen")
                    thread.history += [answer, result]
                    sent = [*sent, answer, result]
                elif last:
                    thread.history.append(answer)

        if not whole:
            calls(prompt, {**callbacks, **scope})
            return
        inner = scope if turn.shape == "late" else {}
        around = RunnableLambda(lambda messages: calls(messages, inner))
        around.invoke(prompt, callbacks if turn.shape == "late" else {**callbacks, **scope})

    def _sent(self, messages: list[BaseMessage], how: str) -> list[Any]:
        if how == "objects":
            return messages
        if how == "copies":
            return [message.model_copy(deep=True, update={"id": f"new {id(message)}"}) for message in messages]
        found: list[dict[str, Any]] = []
        for message in messages:
            plain: dict[str, Any] = {"role": ROLES[message.type], "content": message.content}
            if getattr(message, "tool_calls", None):
                plain["tool_calls"] = [
                    {"id": one["id"], "type": "function", "function": {"name": one["name"], "arguments": "{}"}}
                    for one in message.tool_calls  # type: ignore[attr-defined]  # only an assistant's has them
                ]
            if isinstance(message, ToolMessage):
                plain["tool_call_id"] = message.tool_call_id
            found.append(plain)
        return found

    # -- what must hold

    def key(self, thread: int) -> Any:
        scope = THREADS[thread]
        return (scope["tenant_id"], scope["session_id"]) if "tenant_id" in scope else scope["session_id"]

    def all_is_there(self) -> None:
        stored = self.talk.said()
        expected = {self.key(n): thread for n, thread in enumerate(self.threads) if thread.said}
        assert stored.keys() == expected.keys()
        for key, thread in expected.items():
            assert [line for line in stored[key] if line not in thread.known] == thread.said
            assert sorted(line for line in stored[key] if line in thread.known) == sorted(thread.known)
        assert self.talk.prompts() == received
        assert self.talk.findings() == []
