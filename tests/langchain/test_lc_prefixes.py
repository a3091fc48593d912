"""Long sessions whose every turn is a run of its own that sends all that was said: storage, prompts, payloads."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from click.testing import CliRunner
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from lc_conversations import Talk, batches, clear, differences, tables
from lc_listening import chat
from lc_support import answer_last

from chopsky_trace.cli import main
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.delivery import Delivery


def hold(talk: Talk, turns: range, graph: Any) -> list[bytes]:
    """Turns of a LangGraph thread, each a run in a process of its own; their records, which went nowhere."""
    begun = len(talk.lines)
    for turn in turns:
        graph.invoke({"messages": [HumanMessage(f"question {turn}")]}, talk.thread("s"))
    return talk.lines[begun:]


def agent() -> Any:
    from langchain.agents import create_agent
    from langgraph.checkpoint.memory import InMemorySaver

    model = chat(answer_last)
    return create_agent(model, system_prompt="Be kind.", checkpointer=InMemorySaver())


def histories(talk: Talk, turns: int) -> list[bytes]:
    """The same without a graph: a model that is given all that was said."""
    model = chat(answer_last)
    history: list[BaseMessage] = [SystemMessage("Be kind.")]
    for turn in range(turns):
        history.append(HumanMessage(f"question {turn}"))
        history.append(model.invoke(history, talk.config("s")))
    return talk.lines


def store(talk: Talk, lines: list[bytes], size: int = 500) -> None:
    for start in range(0, len(lines), size):
        write_batch(talk.connection, Builder().build(lines[start : start + size]).payload)


def stored_bytes(talk: Talk) -> int:
    """Of all spans and prefixes, as text: nothing is compressed."""
    (row,) = talk.rows(
        "select (select sum(octet_length(s::text)) from conversation_spans s)"
        " + (select coalesce(sum(octet_length(p::text)), 0) from conversation_prefixes p) as bytes"
    )
    return int(row["bytes"])


def prompts_are_exact(talk: Talk) -> bool:
    return talk.prompts() == talk.given


@pytest.mark.timeout(300)
def test_storage_grows_with_the_turns_of_a_thread_not_with_their_square(talk: Talk) -> None:
    talk.process(stores=False)
    graph = agent()
    sizes: list[int] = []
    for turns in (range(50), range(50, 150)):
        store(talk, hold(talk, turns, graph))
        sizes.append(stored_bytes(talk))
    assert len(talk.given) == 150
    assert prompts_are_exact(talk)
    assert max(len(messages) for messages in talk.given.values()) == 300
    assert sizes[1] <= 3.5 * sizes[0]
    # 300 messages with and without the system prompt: as many rows of 64 as fit into each.
    assert len(talk.rows("select from conversation_prefixes")) == 2 * 4
    assert talk.findings() == []


@pytest.mark.timeout(300)
def test_order_batching_duplication_and_copy_do_not_matter(talk: Talk) -> None:
    talk.process(stores=False)
    graph = agent()
    lines = [*histories(talk, 80), *hold(talk, range(80), graph)]
    store(talk, lines)
    expected = tables(talk.connection)
    assert len(expected["conversation_prefixes"]) >= 3
    for seed in range(2):
        clear(talk.connection)
        for batch in batches(lines, random.Random(seed)):
            write_batch(talk.connection, Builder().build(batch).payload)
        assert differences(expected, tables(talk.connection)) == []
    clear(talk.connection)
    delivery = Delivery(Target(talk.url, "test"), Settings())
    try:
        for start in range(0, len(lines), 300):
            delivery.send(Builder().build(lines[start : start + 300], packed=True))
            delivery.collect()
            assert delivery._wary == 0, "by COPY"
    finally:
        delivery.disconnect()
    assert differences(expected, tables(talk.connection)) == []
    assert prompts_are_exact(talk)
    assert talk.findings() == []


def test_a_nodes_state_is_shown_whole_until_a_row_is_gone(talk: Talk) -> None:
    talk.process(stores=False)
    store(talk, hold(talk, range(100), agent()))
    (node,) = talk.rows(
        "select id, inputs from conversation_spans where name = 'model' order by started_at desc limit 1"
    )
    state = node["inputs"]["messages"]
    assert (state.keys(), len(state["$messages"])) == ({"$prefix", "$messages"}, 199 - 192)

    def show() -> Any:
        arguments = ["show", str(node["id"]), "--raw"]
        return CliRunner().invoke(main, arguments, env={"CHOPSKY_TRACE_DATABASE_URL": talk.url})

    shown = show()
    assert shown.exit_code == 0
    assert [message["content"] for message in json.loads(shown.stdout)["inputs"]["messages"]] == [
        text for turn in range(100) for text in (f"question {turn}", f"answer to question {turn}")
    ][:-1]
    talk.connection.execute("delete from conversation_prefixes where id = %s", [state["$prefix"]])
    assert ("references", "inputs", "$prefix: what the list begins with is not all stored") in talk.findings()
    shown = show()
    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["inputs"]["messages"] == state
