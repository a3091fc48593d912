"""The one way in: batches of several writers at once, runs that turn out to be part of another, and the reaper."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from uuid import UUID, uuid4

import psycopg
import pytest

from chopsky_trace.database import write
from chopsky_trace.database.connect import Connection
from chopsky_trace.errors import SchemaError

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
SPAN = {"kind": "llm", "status": "completed", "source": "langchain"}


def payload(
    runs: list[dict[str, object]], spans: list[dict[str, object]], messages: list[dict[str, object]] | None = None
) -> bytes:
    return json.dumps({"runs": runs, "spans": spans, "messages": messages or []}).encode()


def call(run: UUID, number: int, **columns: object) -> dict[str, object]:
    """A finished model call, the same whenever it is told."""
    span = UUID(int=run.int ^ (number + 1))
    return {
        **SPAN,
        "id": str(span),
        "conversation_run_id": str(run),
        "parent_span_id": str(run),
        "start_version": "1",
        "end_version": "1",
        "started_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:01Z",
        "input_tokens": 10,
        "output_tokens": 3,
        "total_tokens": 13,
        "cost": "0.25",
        "response_time_ms": 100,
        **columns,
    }


def message(run: UUID, number: int, **columns: object) -> dict[str, object]:
    body = UUID(int=number + 7)
    return {
        "id": str(UUID(int=run.int ^ ((number + 1) << 64))),
        "body_id": str(body),
        "conversation_run_id": str(run),
        "role": "user",
        "content": f"words {number}",
        "version": "1",
        "position": number,
        "created_at": "2026-01-01T00:00:00Z",
        **columns,
    }


def connect(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def scalar(connection: Connection, query: str, *parameters: object) -> object:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def test_what_was_said_is_settled_from_its_own_run_and_not_from_all_there_is(connection: Connection) -> None:
    runs = [uuid4() for _ in range(100)]
    told = {"source": "otel", "question_keys": [], "answer_keys": []}
    spans = [
        call(run, n, **told, parent_span_id=str(call(run, 0)["id"]) if n else None) for run in runs for n in range(4)
    ]
    messages = [message(run, n, span_id=call(run, 0)["id"]) for run in runs for n in range(4)]
    write.write_batch(connection, payload([{"id": str(run)} for run in runs], spans, messages))
    read = "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = %s"
    with connection.transaction():
        before = [scalar(connection, read, table) for table in ("conversation_spans", "conversation_messages")]
        connection.execute("select chopsky_settle_turns(%s)", [runs[:1]])
        looked = [scalar(connection, read, table) for table in ("conversation_spans", "conversation_messages")]
    assert [int(str(now)) - int(str(then)) for now, then in zip(looked, before, strict=True)] == [4, 4]


@pytest.mark.parametrize("writers", [8])
def test_writers_on_the_same_runs_never_deadlock_and_totals_are_exact(
    database_url: str, connection: Connection, writers: int
):
    runs = [uuid4() for _ in range(12)]
    calls, chance = 24, random.Random(1)
    work: list[list[bytes]] = [[] for _ in range(writers)]
    for number in range(calls):
        # Each call is told by two writers; a writer's batch touches many runs, in an order of its own.
        for writer in (number % writers, (number + 3) % writers):
            mine = chance.sample(runs, len(runs))
            spans = [call(run, number) for run in mine]
            messages = [message(run, number, is_history=number % 3 == 0, occurrence=number % 2) for run in mine]
            scope = {"session_id": "shared", "user_id": "user"}
            work[writer].append(payload([{"id": str(run), **scope} for run in mine], spans, messages))
    together = threading.Barrier(writers)

    def drive(batches: list[bytes]) -> None:
        with closing(connect(database_url)) as mine:
            together.wait()
            for batch in batches:
                write.write_batch(mine, batch)

    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(drive, batches) for batches in work]:
            done.result()
    rows = connection.execute(
        "select distinct total_input_tokens, total_output_tokens, total_tokens_used, total_cost,"
        " average_response_time from conversation_runs"
    ).fetchall()
    assert rows == [(10 * calls, 3 * calls, 13 * calls, Decimal("0.25") * calls, 100)]
    assert scalar(connection, "select count(*) from conversation_spans") == calls * len(runs)
    wrong = """
    select count(*) from conversation_runs r where total_messages <> (
        select count(*) from conversation_messages m where m.conversation_run_id = r.id and not m.is_internal)"""
    assert scalar(connection, wrong) == 0
    sequences = (
        "select conversation_run_id, array_agg(sequence order by sequence) from conversation_messages group by 1"
    )
    assert all(
        found == list(range(1, len(found) + 1)) for _, found in connection.execute(sequences.encode()).fetchall()
    )


def test_writing_a_batch_again_changes_nothing(connection: Connection):
    run = uuid4()
    batch = payload(
        [{"id": str(run), "session_id": "s"}], [call(run, 0), call(run, 1)], [message(run, 0), message(run, 1)]
    )
    tables = ("conversation_runs", "conversation_spans", "conversation_messages", "conversation_analytics")
    write.write_batch(connection, batch)
    shot = "select to_jsonb(t) - 'updated_at' from {} t order by id"
    before = [connection.execute(shot.format(table).encode()).fetchall() for table in tables]
    write.write_batch(connection, batch)
    assert [connection.execute(shot.format(table).encode()).fetchall() for table in tables] == before
    assert all(before)


def test_a_run_that_joins_another_brings_its_messages_of_the_same_batch(connection: Connection):
    outer, inner = uuid4(), uuid4()
    root = {"id": str(inner), "conversation_run_id": str(outer), "kind": "chain", "start_version": "1"}
    write.write_batch(connection, payload([{"id": str(outer)}], [root]))
    write.write_batch(connection, payload([{"id": str(inner)}], [call(inner, 0)], [message(inner, 0)]))
    assert connection.execute("select id, total_messages, total_tokens_used from conversation_runs").fetchall() == [
        (outer, 1, 13)
    ]


def test_a_run_that_joins_another_loses_nothing_that_is_being_written(database_url: str, connection: Connection):
    outer, inner = uuid4(), uuid4()
    write.write_batch(connection, payload([{"id": str(inner)}], [call(inner, 0)], [message(inner, 0)]))
    root = {"id": str(inner), "conversation_run_id": str(outer), "kind": "chain", "start_version": "1"}
    with (
        closing(connect(database_url)) as first,
        closing(connect(database_url)) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        with first.transaction():
            late = payload([{"id": str(inner)}], [call(inner, 1)], [message(inner, 1)])
            first.execute("select public.chopsky_ingest(%s::json)", [late.decode()])
            joining = pool.submit(write.write_batch, second, payload([{"id": str(outer)}], [root]))
            while not joining.done() and not scalar(connection, WAITING):
                pass
        joining.result()
    rows = connection.execute("select id, total_messages, total_tokens_used from conversation_runs").fetchall()
    assert rows == [(outer, 2, 26)]


def test_a_span_that_says_odd_things_keeps_its_batch(connection: Connection):
    run = uuid4()
    odd = call(run, 0, response_time_ms=-5, input_tokens=-1, total_tokens=-1, cost="-1")
    write.write_batch(
        connection,
        payload(
            [{"id": str(run)}], [odd, call(run, 1)], [message(run, 0, response_time_ms=-5, token_count=-1, cost="-1")]
        ),
    )
    assert scalar(connection, "select count(*) from conversation_spans") == 2
    assert scalar(connection, "select total_messages from conversation_runs") == 1


def test_the_reaper_and_a_writer_do_not_deadlock(database_url: str, connection: Connection):
    runs = sorted(uuid4() for _ in range(6))
    opened = payload(
        [{"id": str(run)} for run in runs],
        [{"id": str(run), "conversation_run_id": str(run), "kind": "chain", "start_version": "1"} for run in runs],
    )
    write.write_batch(connection, opened)
    connection.execute("update conversation_spans set created_at = now() - interval '2 hours'")
    with (
        closing(connect(database_url)) as writer,
        closing(connect(database_url)) as reaper,
        ThreadPoolExecutor(1) as pool,
    ):
        with writer.transaction():
            # As ingest does it: the run first, then its spans.
            writer.execute("select 1 from conversation_runs where id = any (%s) order by id for no key update", [runs])
            reaping = pool.submit(write.reap, reaper, 3600.0)
            while not reaping.done() and not scalar(connection, WAITING):
                pass
            writer.execute(
                "update conversation_spans set status = 'completed', end_version = '1' where"
                " conversation_run_id = any (%s)",
                [runs],
            )
        reaping.result()
    assert connection.execute("select distinct status from conversation_spans").fetchall() == [("completed",)]
    connection.execute("update conversation_spans set status = 'active', end_version = null")
    assert write.reap(connection, 3600.0) == len(runs)
    assert connection.execute("select distinct status from conversation_runs").fetchall() == [("abandoned",)]
    end = {**SPAN, "id": str(runs[0]), "conversation_run_id": str(runs[0]), "end_version": "1"}
    write.write_batch(connection, payload([{"id": str(runs[0])}], [end]))
    assert scalar(connection, "select status from conversation_runs where id = %s", runs[0]) == "completed", (
        "a real end outranks it"
    )


def test_what_a_failure_means(connection: Connection, fresh_database: str):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as poison:
        write.write_batch(connection, payload([{"id": "no uuid"}], []))
    assert write.classify(poison.value) == "poison"
    with closing(connect(fresh_database)) as empty, pytest.raises(SchemaError) as missing:
        write.write_batch(empty, payload([], []))
    assert write.classify(missing.value) == "schema"
    with connection.transaction(force_rollback=True):
        connection.execute("set local statement_timeout = 1")
        with pytest.raises(psycopg.errors.QueryCanceled) as slow:
            connection.execute("select pg_sleep(10)")
    assert write.classify(slow.value) == "transient"
    with connection.transaction(force_rollback=True):
        connection.execute("set local role anon")
        with pytest.raises(psycopg.errors.InsufficientPrivilege) as denied:
            connection.execute("select public.chopsky_ingest('{}')")
    assert write.classify(denied.value) == "access"
    with connection.transaction(force_rollback=True):
        connection.execute("set transaction read only")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as standby:
            connection.execute("delete from conversation_runs")
    assert write.classify(standby.value) == "transient"
    broken = connect(connection.info.dsn)
    connection.execute("select pg_terminate_backend(%s)", [broken.info.backend_pid])
    with closing(broken), pytest.raises(psycopg.OperationalError) as cut:
        write.write_batch(broken, payload([], []))
    assert write.classify(cut.value) == "transient"
    with pytest.raises(psycopg.OperationalError) as closed:
        write.write_batch(broken, payload([], []))
    assert write.classify(closed.value) == "transient"


def test_a_batch_is_a_transaction_with_its_own_timeout(connection: Connection):
    run = uuid4()
    with pytest.raises(psycopg.Error):
        write.write_batch(connection, payload([{"id": str(run)}], [{"id": "no uuid"}]))
    assert scalar(connection, "select count(*) from conversation_runs") == 0
    before = scalar(connection, "show statement_timeout")
    write.write_batch(connection, payload([{"id": str(run)}], []), timeout_s=7.0)
    assert scalar(connection, "show statement_timeout") == before, "behind a pooler the session is not ours"


def test_a_writer_reports_on_itself(connection: Connection):
    status = {
        "writer_id": str(uuid4()),
        "host": "h",
        "process_id": 1,
        "version": "0.1.0",
        "schema_number": 8,
        "started_at": "2026-01-01T00:00:00Z",
        "backlog_records": 2,
        "backlog_bytes": 300,
        "stored_records": 4,
        "losses": {"journal_full": 1},
    }
    write.report_status(connection, json.dumps(status).encode())
    write.report_status(connection, json.dumps({**status, "stored_records": 5}).encode())
    assert connection.execute("select stored_records, losses from writer_status").fetchall() == [
        (5, {"journal_full": 1})
    ]
