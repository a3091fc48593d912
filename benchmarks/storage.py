"""What a conversation takes: bytes in all tables against its distinct messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from benchmarks import machine, workloads
from benchmarks.server import Server
from chopsky_trace import SupabaseTracer
from chopsky_trace.database.migrate import migrate

CONVERSATIONS = 10
TURNS = (10, 30, 100, 300)
KINDS: dict[str, Callable[[int], workloads.Run]] = {
    "loop by hand": workloads.hand_loop,
    "`create_agent`": workloads.agent,
}
SIZES = """select c.relname, pg_total_relation_size(c.oid) from pg_class c
    where c.relkind = 'r' and c.relname like 'conversation\\_%%'"""


@dataclass(frozen=True, slots=True)
class Stored:
    """One kind of conversation of one length; bytes are per conversation, indexes included."""

    kind: str
    turns: int
    distinct_bytes: float
    prompts_bytes: float
    messages_bytes: float
    all_bytes: float


class _Distinct(BaseCallbackHandler):
    """Counts the JSON of each message once, and of each call's whole prompt and answer, as LangChain writes them."""

    run_inline = True

    def __init__(self) -> None:
        self.prompts_bytes = 0
        self.distinct: dict[tuple[str, str, str], int] = {}

    def _count(self, message: BaseMessage) -> None:
        size = len(dumps(message))
        self.prompts_bytes += size
        self.distinct[message.type, str(message.content), str(getattr(message, "tool_calls", ""))] = size

    def on_chat_model_start(self, serialized: Any, messages: list[list[BaseMessage]], **kwargs: Any) -> None:
        for message in messages[0]:
            self._count(message)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration):
            self._count(generation.message)


def measure(server: Server, share: float, say: Callable[[str], None]) -> list[Stored]:
    """Store conversations of each kind and length into a database of their own."""
    found: list[Stored] = []
    for kind, make in KINDS.items():
        for turns in TURNS if share >= 1 else TURNS[:3]:
            say(f"storage: {kind}, {turns} turns")
            run = make(turns)
            counted = _Distinct()
            run(0, {"callbacks": [counted]})
            sizes = _stored(server, run)
            found.append(
                Stored(
                    kind,
                    turns,
                    sum(counted.distinct.values()),
                    counted.prompts_bytes,
                    sizes["conversation_messages"],
                    sum(sizes.values()),
                )
            )
    return found


def _stored(server: Server, run: workloads.Run) -> dict[str, float]:
    with _database(server) as url:
        with psycopg.connect(url) as connection:
            before = dict(connection.execute(SIZES).fetchall())
        tracer = SupabaseTracer(url)
        for number in range(CONVERSATIONS):
            run(number, {"callbacks": [tracer]})
        if not tracer.close(120):
            raise RuntimeError("not everything was stored")
        with psycopg.connect(url) as connection:
            after = dict(connection.execute(SIZES).fetchall())
    return {table: (after[table] - before[table]) / CONVERSATIONS for table in after}


@contextmanager
def _database(server: Server) -> Iterator[str]:
    url = server.create("bench_storage")
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
    folder = os.environ.get("CHOPSKY_TRACE_DATA_DIR")
    os.environ["CHOPSKY_TRACE_DATA_DIR"] = str(server.folder / "journal")
    try:
        yield url
    finally:
        os.environ.pop("CHOPSKY_TRACE_DATA_DIR")
        if folder is not None:
            os.environ["CHOPSKY_TRACE_DATA_DIR"] = folder
        server.drop("bench_storage")


def table(found: Sequence[Stored]) -> str:
    """Kilobytes, and how many times the distinct messages they are."""
    rows = [
        [
            each.kind,
            str(each.turns),
            f"{each.distinct_bytes / 1000:,.0f}",
            f"{each.prompts_bytes / each.distinct_bytes:,.1f}",
            f"{each.messages_bytes / each.distinct_bytes:.2f}",
            f"{each.all_bytes / each.distinct_bytes:.2f}",
        ]
        for each in found
    ]
    head = [
        "one conversation of",
        "turns",
        "distinct messages, kB",
        "sent to the model, times",
        "message rows, times",
        "all tables, times",
    ]
    return machine.table(head, rows)
