"""Conversations held with real LangChain on real Postgres, and the proof that each message is stored once.

A `Talk` records in its processes (each with a tracer, a journal and a memory of its own), keeps every record, and then
proves three things of what is stored: as its writers wrote it, and written again in other orders and batches.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from lc_listening import as_json, given, streamed
from lc_support import run_script
from psycopg.rows import dict_row

from chopsky_trace import SupabaseTracer
from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, resolve_target
from chopsky_trace.writer import writer_for

SEEDS = 3
PATIENCE_S = 3_600.0
# When the server wrote it; analytics' own key.
UNCOMPARED = {
    "conversation_runs": ("created_at", "updated_at"),
    "conversation_spans": ("created_at",),
    "conversation_analytics": ("id", "created_at", "updated_at"),
    "conversation_messages": (),
    "conversation_prefixes": ("created_at",),
}


def tables(connection: psycopg.Connection[Any]) -> dict[str, list[dict[str, Any]]]:
    """Every row of ours, without what differs from one write to the next."""
    found = {}
    for table, hidden in UNCOMPARED.items():
        key = "conversation_run_id" if table == "conversation_analytics" else "id"
        kept = connection.execute(f"select * from {table} order by {key}").fetchall()
        found[table] = [{name: value for name, value in row.items() if name not in hidden} for row in kept]
    return found


def differences(first: dict[str, list[Any]], second: dict[str, list[Any]]) -> list[tuple[Any, ...]]:
    """(table, id, column, value, other value), or (table, id) of a row that one of them lacks."""
    found: list[tuple[Any, ...]] = []
    for table in first:
        key = "conversation_run_id" if table == "conversation_analytics" else "id"
        rows, others = ({row[key]: row for row in kept[table]} for kept in (first, second))
        found += [(table, row_id) for row_id in rows.keys() ^ others.keys()]
        found += [
            (table, row_id, column, value, others[row_id][column])
            for row_id in rows.keys() & others.keys()
            for column, value in rows[row_id].items()
            if value != others[row_id][column]
        ]
    return found


def clear(connection: psycopg.Connection[Any]) -> None:
    for table in ("conversation_messages", "conversation_spans", "conversation_runs", "conversation_prefixes"):
        connection.execute(f"delete from {table}")


def batches(lines: Sequence[bytes], chance: random.Random, largest: int | None = None) -> Iterator[list[bytes]]:
    """The lines in any order, some twice, in batches of any size."""
    left = [*lines, *(line for line in lines if chance.random() < 0.2)]
    chance.shuffle(left)
    while left:
        size = chance.randint(1, largest or len(left))
        yield left[:size]
        left = left[size:]


def joined(lists: Sequence[Sequence[str]]) -> list[str]:
    return [line for lines in lists for line in lines]


def shown(row: Mapping[str, Any]) -> str:
    """One stored message, as the tests write it: `role: text [its tool calls]`."""
    calls = [call["name"] for call in row["tool_calls"] or ()]
    return f"{row['role']}: {row['content']}" + (f" {calls}" if calls else "")


class Talk:
    """Conversations of one or many processes with one database."""

    def __init__(self, url: str, folder: Path, set_variable: Callable[[str, str], None]) -> None:
        self.url = url
        self.folder = folder
        self.set_variable = set_variable
        self.lines: list[bytes] = []
        self.tracers: list[SupabaseTracer] = []
        self.given = given
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            url, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )
        given.clear()
        streamed.clear()

    # -- recording

    def process(self, *, stores: bool = True, **options: Any) -> SupabaseTracer:
        """A tracer that remembers nothing of what others told: journal, writer and memory are its own.

        With `stores` off its records are kept here and go nowhere else.
        """
        # Prompts are to be exact, images and all.
        self.set_variable("CHOPSKY_TRACE_KEEP_MEDIA", "true")
        self.set_variable("CHOPSKY_TRACE_DATA_DIR", str(self.folder / f"process {len(self.tracers)}"))
        settings = Settings.from_env()
        writer = writer_for(resolve_target(settings, self.url), settings)
        put = writer.put

        def keep(record: bytes) -> bool:
            self.lines.append(record)
            return put(record) if stores else True

        writer.put = keep
        tracer = SupabaseTracer(self.url, **options)
        self.tracers.append(tracer)
        return tracer

    def config(self, session: str | None = None, *, tracer: SupabaseTracer | None = None, **metadata: Any) -> Any:
        """A call's config, in the process that began last."""
        if tracer is None:
            tracer = self.tracers[-1] if self.tracers else self.process()
        if session is not None:
            metadata["session_id"] = session
        return {"callbacks": [tracer], "metadata": metadata}

    def thread(self, thread_id: str, **more: Any) -> Any:
        """The same for LangGraph with a checkpointer."""
        return {**self.config(), "configurable": {"thread_id": thread_id}, **more}

    def in_processes(self, *codes: str, first: str = "", **variables: str) -> None:
        """Run each code in a real process of its own, one after the other; what they record is kept here.

        In the code `talk` is a Talk of that process. Each is forked from one that has only imported, and run `first`.
        """
        self.folder.mkdir(exist_ok=True)
        names = [str(self.folder / f"left {number}") for number in range(len(codes))]
        script = PREAMBLE.format(
            first=first, url=self.url, folder=str(self.folder / "forked"), tasks=list(zip(codes, names, strict=True))
        )
        done = run_script(script, variables)
        assert done.returncode == 0, done.stderr[-3000:]
        for name in names:
            left = json.loads(Path(name).read_text())
            self.lines += [line.encode() for line in left["lines"]]
            self.given.update({UUID(run): messages for run, messages in left["given"].items()})

    def leave(self, path: str) -> None:
        """In a process of `in_processes`: everything is stored; leave what was recorded."""
        assert self.flush()
        assert not streamed, "a process that streams cannot leave what its model was given"
        lines = [line.decode() for line in self.lines]
        left = {"lines": lines, "given": {str(run): messages for run, messages in given.items()}}
        Path(path).write_text(json.dumps(left))

    def flush(self) -> bool:
        return all(tracer.flush(20) for tracer in self.tracers)

    # -- what is stored

    def rows(self, query: str, *args: Any) -> list[dict[str, Any]]:
        return self.connection.execute(query, args).fetchall()

    def sessions(self) -> dict[Any, list[dict[str, Any]]]:
        """Messages of each session in order; a run without a session is one of its own, under its number."""
        found: dict[Any, list[dict[str, Any]]] = {}
        numbers: dict[UUID, int] = {}
        for row in self.rows(
            "select m.*, r.id as run_id, r.session_id as session, r.tenant_id as tenant, r.user_id as person"
            " from conversation_messages m join conversation_runs r on r.id = m.conversation_run_id"
            " order by r.started_at, r.id, m.sequence"
        ):
            key: Any = numbers.setdefault(row["run_id"], len(numbers))
            if row["session"] is not None:
                who = (row["tenant"], row["person"], row["session"])
                key = row["session"] if who[:2] == (None, None) else tuple(part for part in who if part is not None)
            found.setdefault(key, []).append(row)
        return found

    def said(self) -> dict[Any, list[str]]:
        return {key: [shown(row) for row in rows] for key, rows in self.sessions().items()}

    def prompts(self) -> dict[UUID, list[dict[str, Any]]]:
        found: dict[UUID, list[dict[str, Any]]] = {}
        for row in self.rows(
            "select s.id, p.* from conversation_spans s left join lateral conversation_prompt(s.id) p on true"
            " where s.kind = 'llm' order by s.id, p.position"
        ):
            prompt = found.setdefault(row.pop("id"), [])
            if row["position"] is not None:
                assert row.pop("position") == len(prompt) + 1
                prompt.append(row)
        return found

    def transcripts(self) -> list[list[str]]:
        """Of each run, in the order they began."""
        runs = self.rows("select id from conversation_runs order by started_at, id")
        return [
            [
                f"{row['role']}: {row['content']}"
                for row in self.rows("select * from conversation_transcript(%s)", r["id"])
            ]
            for r in runs
        ]

    def findings(self, *ignored: str) -> list[tuple[str, str, str]]:
        """What `chopsky-trace check` finds."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return [
                (finding.check, finding.field, finding.cause)
                for batch in checks.check(Reader(connection), patience_s=PATIENCE_S)
                for finding in batch.findings
                if finding.check not in ignored
            ]

    # -- the proof

    def prove(
        self,
        said: Sequence[str] | Mapping[Any, Sequence[str]],
        *transcripts: Sequence[str],
        seeds: int = SEEDS,
        largest: int | None = None,
        ignored: Sequence[str] = (),
    ) -> None:
        """Each message once and in order, each prompt exact, each transcript right: as written, and in any order.

        Args:
            said: what is to be stored, of the only session or by session, system prompts and tools included.
            transcripts: what the user said and was answered, run by run.
        """
        assert self.flush()
        self._is_right(said, transcripts, ignored)
        expected = tables(self.connection)
        for seed in range(seeds):
            chance = random.Random(seed)
            clear(self.connection)
            for batch in batches(self.lines, chance, largest):
                write_batch(self.connection, Builder(keep_media=True).build(batch).payload)
            self._is_right(said, transcripts, ignored)
            assert differences(expected, tables(self.connection)) == [], f"other rows with seed {seed}"

    def _is_right(
        self,
        said: Sequence[str] | Mapping[Any, Sequence[str]],
        transcripts: Sequence[Sequence[str]],
        ignored: Sequence[str],
    ) -> None:
        found = self.said()
        if isinstance(said, Mapping):
            assert found == said
        else:
            assert len(found) == 1, f"one session expected, not {list(found)}"
            assert next(iter(found.values())) == said
        prompts = self.prompts()
        for run_id, messages in self.given.items():
            assert prompts.pop(run_id) == messages
        assert sorted(prompts.values(), key=as_json) == sorted(streamed, key=as_json)
        assert self.transcripts() == [list(lines) for lines in transcripts]
        assert self.findings(*ignored) == []


PREAMBLE = """
import os
from pathlib import Path
from lc_conversations import *
from lc_listening import *
{first}
for number, (code, left) in enumerate({tasks!r}):
    child = os.fork()
    if not child:
        status = 1
        try:
            talk = Talk({url!r}, Path({folder!r}) / str(number), os.environ.__setitem__)
            talk.process()
            exec(code)
            talk.leave(left)
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, number
"""
