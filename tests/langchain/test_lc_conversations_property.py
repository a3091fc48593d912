"""Generated conversations: whatever is said, sent again, cut, changed, lost or late, each message is there once.

CHOPSKY_TEST_EXAMPLES=2000 tries more of them than a run of all tests does.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from lc_conversations import Chat, Talk, batches, clear, tables
from lc_conversations import given as received
from lc_support import ai, call

from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder

EXAMPLES = int(os.environ.get("CHOPSKY_TEST_EXAMPLES", "40"))
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
            place = next((i for i, m in enumerate(history) if m.type == kind and not getattr(m, "tool_calls", None)), None)
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


ROLES = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}


def write(talk: Talk, lines: list[bytes], seed: int | None) -> None:
    clear(talk.connection)
    chance = random.Random(seed)
    for batch in [lines] if seed is None else batches(lines, chance, chance.choice([1, 3, None])):
        write_batch(talk.connection, Builder().build(batch).payload)


def conversations(check: Any, talk: Talk) -> None:
    """Hold generated conversations with the talk's tracers and check each."""
    tracers = [talk.process(stores=False) for _ in range(PROCESSES)]
    for n, tracer in enumerate(tracers):
        # Each is bound to its own folder with its first event.
        talk.set_variable("CHOPSKY_TRACE_DATA_DIR", str(talk.folder / f"process {n}"))
        Chat(replies=[ai("hello")]).invoke("hello", {"callbacks": [tracer]})

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=EXAMPLES <= 40,
        database=None,
    )
    @given(turns=st.lists(TURNS, min_size=1, max_size=7), seed=st.integers(0, 2**32))
    def hold(turns: list[Turn], seed: int) -> None:
        held = Held(talk, tracers)
        for turn in turns:
            held.hold(turn)
        check(held, seed)

    hold()


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(900)
def test_every_prompt_rebuilds_and_each_message_is_there_once(talk: Talk) -> None:
    def check(held: Held, seed: int) -> None:
        write(talk, talk.lines, None)
        held.all_is_there()
        rows = tables(talk.connection)
        write(talk, talk.lines, seed)
        held.all_is_there()
        assert tables(talk.connection) == rows

    conversations(check, talk)


def chain_of(talk: Talk) -> dict[str, set[str]]:
    """Each call and those its prompt extends, directly or not."""
    found: dict[str, set[str]] = {}
    for row in talk.rows(
        """with recursive chain as (
            select id, id as through from conversation_spans where kind = 'llm'
            union select c.id, s.prompt_extends from chain c join conversation_spans s on s.id = c.through
            where s.prompt_extends is not null
        ) select * from chain"""
    ):
        found.setdefault(str(row["id"]), set()).add(str(row["through"]))
    return found


def no_message_of_these_is_missing(talk: Talk, records: list[dict[str, Any]]) -> None:
    """Whatever a record brought into the conversation has its row, once, even where its body was lost."""
    brought = {
        (UUID(ref.get("span", record["id"]) if ref["place"] == "out" else record["run"]), UUID(ref["body"]), ref["place"], ref["n"])
        for record in records
        for ref in record.get("messages", ())
        if ref["place"] != "history"
    }
    found = talk.rows(
        "select case when version is null then conversation_run_id else span_id end as owner, body_id"
        " from conversation_messages where not is_history"
    )
    assert Counter((row["owner"], row["body_id"]) for row in found) == Counter((owner, body) for owner, body, _, _ in brought)


@pytest.mark.timeout(900)
def test_what_lost_records_take_along_is_counted_and_never_wrong(talk: Talk) -> None:
    def check(held: Held, seed: int) -> None:
        chance = random.Random(seed)
        share = chance.choice([0.05, 0.3])
        kept = [line for line in talk.lines if chance.random() > share]
        write(talk, kept, seed)
        counted: dict[str, set[str]] = {}
        for batch in checks.check(Reader(talk.connection), patience_s=0):
            for finding in batch.findings:
                counted.setdefault(finding.check, set()).add(str(finding.span_id))
        records = [orjson.loads(line) for line in kept]
        arrived = {(record["t"], record["id"]) for record in records}
        no_message_of_these_is_missing(talk, records)
        prompts, chains = talk.prompts(), chain_of(talk)
        for run_id, messages in received.items():
            if ("start", run_id.hex) in arrived:
                rebuilt = prompts[run_id]
                if not rebuilt:
                    assert str(run_id) in counted["prompts"]
                elif rebuilt != messages:
                    # Gaps, at the right places, and the missing bodies counted where they are referred to.
                    assert all(
                        row == message or set(row.values()) == {None}
                        for row, message in zip(rebuilt, messages, strict=True)
                    )
                    assert chains[str(run_id)] & counted["references"]
            elif ("end", run_id.hex) in arrived:
                assert str(run_id) in counted["ends_without_start"]
        stored = talk.said()
        for n, thread in enumerate(held.threads):
            found = Counter(line for line in stored.get(held.key(n), ()) if line not in thread.known)
            bodiless = Counter(line for line in found.elements() if line.endswith(": None"))
            # Of a lost turn there is what later prompts tell: perhaps less, never more than was said.
            assert not found - bodiless - Counter(thread.said)
            assert found.total() <= len(thread.said)

    conversations(check, talk)
