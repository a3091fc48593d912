"""The usage roll-ups are what the runs used, whatever happens to runs, in whatever order; and who may read of them."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chopsky_trace.database import check as checks
from chopsky_trace.database import write
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.read import Reader

SPACE = UUID("0b0f62a8-5b0e-5c1a-9c53-2f6f4f9b7a01")
MODELS = (("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("anthropic", "claude"), (None, None))
USAGE = "select {} from usage_metrics order by day, tenant_id, user_id, provider, model"
COST_VIEWS = (
    "provider_usage_stats",
    "daily_message_volume",
    "daily_message_volume_by_user",
    "monthly_usage_summary",
    "current_day_usage",
)
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def run_id(number: int) -> UUID:
    return uuid5(SPACE, f"run {number}")


def payload(run: UUID, *spans: dict[str, Any], messages: list[dict[str, Any]] | None = None, **scope: Any) -> bytes:
    told = {"runs": [{"id": str(run), **scope}], "spans": list(spans), "messages": messages or []}
    return json.dumps(told, default=str).encode()


def call(run: UUID, name: object, **columns: Any) -> dict[str, Any]:
    """A model call that ended."""
    columns = {
        "id": uuid5(run, f"call {name}"),
        "parent_span_id": run,
        "start_version": "1",
        "end_version": "1",
    } | columns
    columns = {"kind": "llm", "status": "completed", "source": "langchain", "conversation_run_id": run} | columns
    times = {"started_at": "2026-01-01T10:00:00Z", "ended_at": "2026-01-01T10:00:01Z", "response_time_ms": 1000}
    names = {"provider": "openai", "model": "gpt-4o"}
    return {**times, **names, "input_tokens": 10, "output_tokens": 3, "total_tokens": 13, "cost": "0.25"} | columns


def message(run: UUID, name: object, **columns: Any) -> dict[str, Any]:
    """A message that a call told of."""
    about = {"id": uuid5(run, f"message {name}"), "body_id": uuid5(SPACE, f"body {name}"), "conversation_run_id": run}
    about |= {"span_id": uuid5(run, f"call {name}"), "role": "user", "content": f"words {name}", "version": "1"}
    return {**about, "created_at": "2026-01-01T10:00:00Z"} | columns


def ingest(connection: Connection, run: UUID, *spans: dict[str, Any], **more: Any) -> None:
    write.write_batch(connection, payload(run, *spans, **more))


def usage(connection: Connection, columns: str) -> list[tuple[Any, ...]]:
    return connection.execute(USAGE.format(columns).encode()).fetchall()


def wrong(connection: Connection) -> list[checks.Finding]:
    found = [finding for batch in checks.check(Reader(connection), patience_s=3600) for finding in batch.findings]
    return [finding for finding in found if finding.check in ("usage", "usage_sums", "totals", "analytics")]


def rebuilt(connection: Connection) -> int:
    """How many rows the rebuild had to change."""
    row = connection.execute("select rebuild_usage()").fetchone()
    assert row is not None
    return row[0]


# -- what is counted


def test_calls_and_messages_by_day_and_model(connection: Connection):
    run = uuid4()
    evening = {"started_at": "2026-01-01T23:30:00-05:00", "ended_at": "2026-01-01T23:31:00-05:00"}
    ingest(
        connection,
        run,
        {"id": run, "conversation_run_id": run, "kind": "chain", "start_version": "1", "status": "active"},
        call(run, 1, cache_read_tokens=4),
        call(run, 2, cost=None),
        call(run, 3, status="failed", input_tokens=None, output_tokens=None, total_tokens=None, cost=None),
        call(run, 4, **evening, provider="anthropic", model=None, model_requested="claude", total_tokens=None, cost=0),
        call(run, 5, status="active", ended_at=None, end_version=None),
        # What no call can have used is stored as reported, and is in no sum.
        call(run, 6, input_tokens=-5, response_time_ms=-1),
        messages=[
            message(run, 1),
            message(run, 2, role="assistant", provider="openai", model="gpt-4o"),
            message(run, 3, role="assistant", provider="openai", model="gpt-4o", is_internal=True),
        ],
        user_id="ann",
        tenant_id="one",
    )
    columns = (
        "day::text, tenant_id, user_id, provider, model, calls, failed_calls, input_tokens, output_tokens, total_tokens"
    )
    columns += ", cache_read_tokens, reasoning_tokens, total_cost, unpriced_calls, unmeasured_calls"
    columns += ", response_time_ms, timed_calls, messages, user_messages, assistant_messages"
    who, none = ("one", "ann"), Decimal(0)
    seconds = Decimal(3000)
    assert usage(connection, columns) == [
        ("2026-01-01", *who, "openai", "gpt-4o", 4, 1, 20, 9, 39, 4, None, Decimal("0.5"), 1, 0, seconds, 3, 1, 0, 1),
        ("2026-01-01", *who, None, None, 0, 0, None, None, None, None, None, None, 0, 0, None, 0, 1, 1, 0),
        (
            "2026-01-02",
            *who,
            "anthropic",
            "claude",
            1,
            0,
            10,
            3,
            None,
            None,
            None,
            none,
            0,
            1,
            Decimal(1000),
            1,
            0,
            0,
            0,
        ),
    ]
    assert wrong(connection) == []


def test_a_message_outside_a_run_counts_once_however_often_it_is_changed(connection: Connection):
    connection.execute("insert into conversation_messages (role, content, token_count) values ('user', 'Hello', 7)")
    for tokens in (9, 11):
        connection.execute("update conversation_messages set token_count = %s", [tokens])
        assert usage(connection, "contributions, messages, user_messages, total_tokens") == [(1, 1, 1, tokens)]
        assert wrong(connection) == []
    connection.execute("delete from conversation_messages")
    assert usage(connection, "messages") == []


def test_messages_by_hand_are_calls_where_they_name_a_model(connection: Connection):
    add = "insert into conversation_messages (conversation_run_id, tenant_id, user_id, role, content, provider, model,"
    add += " token_count, cost, response_time_ms, created_at)"
    add += " values (%s, 'one', 'ann', %s, '', %s, %s, %s, %s, %s, '2026-01-01Z')"
    run = uuid4()
    connection.execute("insert into conversation_runs (id, tenant_id, user_id) values (%s, 'one', 'ann')", [run])
    for owner in (None, run):
        connection.execute(add, [owner, "user", None, None, 5, None, None])
        connection.execute(add, [owner, "assistant", "openai", "gpt-4o", 150, "0.0008", 850])
        connection.execute(add, [owner, "assistant", "openai", "gpt-4o", None, None, None])
    columns = "provider, contributions, calls, input_tokens, output_tokens, total_tokens, total_cost, unpriced_calls"
    columns += ", unmeasured_calls, timed_calls, messages"
    assert usage(connection, columns) == [
        ("openai", 3, 4, None, 300, 300, Decimal("0.0016"), 2, 2, 2, 4),
        (None, 2, 0, 10, None, 10, None, 0, 0, 0, 2),
    ]
    assert wrong(connection) == []
    # Into a run, another person's, out of it, and away.
    connection.execute("update conversation_messages set conversation_run_id = %s where role = 'user'", [run])
    assert usage(connection, "provider, contributions, messages") == [("openai", 3, 4), (None, 1, 2)]
    connection.execute(
        "update conversation_messages set conversation_run_id = null, user_id = 'ben' where role = 'user'"
    )
    assert usage(connection, "user_id, messages") == [("ann", 4), ("ben", 2)]
    connection.execute("delete from conversation_messages where conversation_run_id is null")
    assert usage(connection, "user_id, messages") == [("ann", 2)]
    assert (wrong(connection), rebuilt(connection)) == ([], 0)


def derived(connection: Connection) -> list[Any]:
    """All that follows from spans and messages."""
    asked = (
        "select to_jsonb(r) - '{updated_at}'::text[] from conversation_runs r order by id",
        "select to_jsonb(a) - '{updated_at}'::text[] from conversation_analytics a order by conversation_run_id",
        "select id, sequence from conversation_messages order by id",
        "select * from usage_contributions order by owner_id, key",
        "select * from usage_metrics order by key",
        "select * from usage_totals order by key",
    )
    return [connection.execute(one.encode()).fetchall() for one in asked]


@pytest.mark.parametrize("traced", [True, False])
def test_a_message_by_hand_leaves_what_a_recompute_would(connection: Connection, traced: bool):
    chance = random.Random(1)
    run = uuid4()
    if traced:
        calls = [
            call(run, 1, started_at=None),
            call(run, 2, status="active", ended_at=None, end_version=None),
            call(run, 3, kind="embedding", status="failed", total_tokens=None, cost=None, provider=None, model=None),
            call(run, 4, input_tokens=-5, response_time_ms=chance.choice([-1, None])),
            call(run, 5, kind="tool", cost=None),
        ]
        ingest(connection, run, *calls, messages=[message(run, 1), message(run, 2, role="assistant")], user_id="ann")
    else:
        connection.execute(
            "insert into conversation_runs (id, status, user_satisfaction_score) values (%s, 'completed', 4)", [run]
        )
    for _ in range(24):
        columns = [chance.choice(["user", "assistant"]), *chance.choice(MODELS), chance.choice([None, 4])]
        columns += [chance.choice([None, 0, 1]), chance.choice([None, 7]), chance.random() < 0.2]
        with connection.transaction():
            # Which takes much longer, is not needed.
            connection.execute("alter function chopsky_recompute rename to chopsky_recompute_slowly")
            connection.execute(
                "insert into conversation_messages (conversation_run_id, role, content, provider, model, token_count,"
                " cost, response_time_ms, is_internal) values (%s, %s, '', %s, %s, %s, %s, %s, %s)",
                [run, *columns],
            )
            connection.execute("alter function chopsky_recompute_slowly rename to chopsky_recompute")
        before = derived(connection)
        connection.execute("select recompute_runs(%s)", [[run]])
        assert derived(connection) == before
        assert rebuilt(connection) == 0
    assert wrong(connection) == []


def test_totals_set_by_hand_stand_for_their_messages(connection: Connection):
    run = uuid4()
    connection.execute(
        "insert into conversation_runs (id, user_id, started_at) values (%s, 'ann', '2026-01-01Z')", [run]
    )
    add = "insert into conversation_messages (conversation_run_id, role, content, token_count, created_at)"
    connection.execute(f"{add} values (%s, 'user', '', 5, '2026-01-01Z')".encode(), [run])
    assert usage(connection, "total_tokens, total_cost, messages") == [(5, None, 1)]
    connection.execute(
        "update conversation_runs set total_tokens_used = 1500, total_cost = 0.0025, total_messages = 10"
    )
    assert usage(connection, "total_tokens, total_cost, messages") == [(1500, Decimal("0.0025"), 1)]
    connection.execute("update conversation_runs set total_cost = null, started_at = '2026-02-01Z'")
    assert usage(connection, "day::text, total_tokens, total_cost, messages") == [
        ("2026-01-01", None, None, 1),
        ("2026-02-01", 1500, None, 0),
    ]
    assert wrong(connection) == []
    # Calls tell better.
    ingest(connection, run, call(run, 1))
    assert usage(connection, "sum(total_tokens) over ()::bigint, total_cost") == [(18, Decimal("0.25")), (18, None)]
    assert (wrong(connection), rebuilt(connection)) == ([], 0)


def test_a_call_seen_twice_is_counted_where_it_counts(connection: Connection):
    mine, other = uuid4(), uuid4()
    inner = {"source": "otel", "instrumentor": "openai", "is_provider": True, "response_id": "r"}
    ingest(connection, other, call(other, 1, **inner, id=other, parent_span_id=None), user_id="other")
    assert usage(connection, "user_id, calls") == [("other", 1)]
    ingest(connection, mine, call(mine, 1, response_id="r"), user_id="mine")
    assert usage(connection, "user_id, calls, total_tokens") == [("mine", 1, 13)]
    connection.execute("delete from conversation_runs where id = %s", [mine])
    assert usage(connection, "user_id, calls, total_tokens") == [("other", 1, 13)]
    assert (wrong(connection), rebuilt(connection)) == ([], 0)


def test_a_name_of_any_length_and_a_clock_of_anybodys_cost_no_batch(connection: Connection):
    chance = random.Random(5)
    name = "".join(chance.choices("abcdefghij🍲漢", k=5_000))
    run = uuid4()
    ingest(connection, run, call(run, 1, provider=name, model=name[::-1], started_at="infinity"))
    assert usage(connection, "day::text, provider = model, calls") == [("9999-12-31", False, 1)]
    assert wrong(connection) == []


# -- whatever happens


def some(chance: random.Random) -> list[UUID]:
    """Three of the six runs."""
    return [run_id(number) for number in chance.sample(range(6), 3)]


def told(chance: random.Random) -> tuple[UUID, bytes]:
    """Some of what a run has to tell; the same number tells the same, or a later version of it."""
    run = run_id(chance.randrange(6))
    spans: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    for number in chance.sample(range(5), 3):
        provider, model = chance.choice(MODELS)
        known = chance.random() < 0.7
        spans.append(
            call(
                run, number, provider=provider, model=model, end_version=str(chance.randrange(4)),
                started_at=f"2026-01-0{chance.randint(1, 3)}T23:59:00Z", status=chance.choice(["completed", "failed"]),
                total_tokens=chance.randrange(50) if known else None, cost=str(chance.randrange(3)) if known else None,
                cache_read_tokens=chance.choice([None, 0, 2]), response_time_ms=chance.choice([None, 5]),
                kind=chance.choice(["llm", "embedding", "tool"]), start_version=str(chance.randrange(4)),
            )
        )  # fmt: skip
        role = chance.choice(["user", "assistant"])
        messages.append(
            message(run, number, role=role, provider=provider, model=model, is_history=chance.random() < 0.2,
                    is_internal=chance.random() < 0.3, version=str(chance.randrange(4)), position=number)
        )  # fmt: skip
    scope = {"user_id": chance.choice(["ann", "ben"]), "tenant_id": "one", "session_id": chance.choice(["s", "t"])}
    told = payload(run, *spans, messages=messages, **scope)
    return run, told


Batches = list[bytes]


def batch(connection: Connection, chance: random.Random, batches: Batches) -> None:
    _, made = told(chance)
    batches.append(made)
    write.write_batch(connection, made)


def again(connection: Connection, chance: random.Random, batches: Batches) -> None:
    if batches:
        write.write_batch(connection, chance.choice(batches))


def by_hand(connection: Connection, chance: random.Random, batches: Batches) -> None:
    """A message in a run, or in none."""
    columns = [chance.choice(["user", "assistant"]), *chance.choice(MODELS), chance.choice([None, 4])]
    columns += [chance.choice([None, 0, 1]), chance.choice([None, 7]), chance.random() < 0.2]
    connection.execute(
        "insert into conversation_messages (conversation_run_id, user_id, role, content, provider, model, token_count,"
        " cost, response_time_ms, is_internal, created_at) select r.id, 'ann', %s, '', %s, %s, %s, %s, %s, %s,"
        " coalesce(%s, clock_timestamp()) from (select %s::uuid) g (id) left join conversation_runs r on r.id = g.id",
        # Among the others, or after them all.
        [*columns, chance.choice(["2026-01-02Z", None]), chance.choice([None, run_id(chance.randrange(6))])],
    )


def move(connection: Connection, chance: random.Random, batches: Batches) -> None:
    connection.execute(
        "update conversation_runs set user_id = %s, tenant_id = %s where id = any (%s)",
        [chance.choice(["ann", "ben", None]), chance.choice(["one", "two", None]), some(chance)],
    )


def another_day(connection: Connection, chance: random.Random, batches: Batches) -> None:
    day = f"2026-01-0{chance.randint(1, 5)}Z"
    connection.execute(
        "update conversation_spans set started_at = %s where conversation_run_id = any (%s)", [day, some(chance)]
    )
    connection.execute("update conversation_messages set created_at = %s where user_id = 'ben'", [day])


def totals_by_hand(connection: Connection, chance: random.Random, batches: Batches) -> None:
    run = run_id(chance.randrange(6))
    connection.execute("insert into conversation_runs (id) values (%s) on conflict do nothing", [run])
    totals = [chance.choice([None, 0, 9]), chance.choice([None, 0, 2])]
    connection.execute(
        # Where spans tell others they would stand only until the next recompute.
        "update conversation_runs r set total_tokens_used = %s, total_cost = %s where id = %s and not exists ("
        "select 1 from conversation_spans s where s.conversation_run_id = r.id)",
        [*totals, run],
    )


def delete_rows(connection: Connection, chance: random.Random, batches: Batches) -> None:
    table = chance.choice(["conversation_spans", "conversation_messages"])
    any_row = f"select id from {table} order by md5(id::text || %s) limit 1"
    connection.execute(f"delete from {table} where id = ({any_row})".encode(), [str(chance.random())])


def delete_runs(connection: Connection, chance: random.Random, batches: Batches) -> None:
    connection.execute("delete from conversation_runs where id = any (%s)", [some(chance)])


def prune(connection: Connection, chance: random.Random, batches: Batches) -> None:
    runs = some(chance)
    with connection.transaction():
        connection.execute("select chopsky_keep_usage(%s)", [runs])
        connection.execute("delete from conversation_runs where id = any (%s)", [runs])


def increment(connection: Connection, chance: random.Random, batches: Batches) -> None:
    connection.execute(
        "select increment_usage_metrics(user_id => 'ann', provider => 'openai', model => 'gpt-4o',"
        " day => '2026-01-02', input_tokens => %s, total_cost => %s)",
        [chance.choice([None, 3]), chance.choice([None, 1])],
    )


def join(connection: Connection, chance: random.Random, batches: Batches) -> None:
    """A run turns out to be a span of another."""
    inner, outer, _ = some(chance)
    ingest(connection, outer, {"id": inner, "conversation_run_id": outer, "kind": "chain", "start_version": "1"})


def seen_twice(connection: Connection, chance: random.Random, batches: Batches) -> None:
    """Two runs tell of one call."""
    first, second, _ = some(chance)
    inner = {"source": "otel", "instrumentor": "x", "is_provider": True, "response_id": "twin"}
    calls = [(first, call(first, "twin", response_id="twin")), (second, call(second, "twin", **inner))]
    for run, one in chance.sample(calls, 2):
        ingest(connection, run, one)


OPERATIONS = (
    batch, batch, batch, again, by_hand, by_hand, move, another_day, totals_by_hand, delete_rows, delete_rows,
    delete_runs, prune, increment, join, seen_twice,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(st.sampled_from(OPERATIONS), min_size=4, max_size=14), seed=st.integers(0, 2**32))
def test_the_roll_ups_are_their_rebuild_whatever_happens(
    connection: Connection, operations: list[Callable[..., None]], seed: int
):
    chance = random.Random(seed)
    connection.execute(b"delete from conversation_runs; delete from conversation_messages")
    connection.execute(b"delete from usage_kept; delete from usage_metrics; delete from usage_totals")
    batches: Batches = []
    for operation in operations:
        operation(connection, chance, batches)
        sums = connection.execute(
            "select (select sum(total_tokens) from usage_metrics), (select sum(total_tokens) from usage_totals), ("
            "select sum(t) from (select total_tokens_used from conversation_runs where not merged union all select"
            " token_count from conversation_messages where conversation_run_id is null union all"
            " select total_tokens from usage_kept) x (t))"
        ).fetchone()
        assert sums is not None
        assert sums[0] == sums[1] == sums[2]
    assert wrong(connection) == []
    assert rebuilt(connection) == 0


def test_four_writers_on_shared_keys(database_url: str, connection: Connection):
    """Each tells of its own runs, all of the same users and models, in an order of its own; others delete and prune."""
    writers, each = 4, 12
    together = threading.Barrier(writers)

    def drive(writer: int) -> None:
        chance = random.Random(writer)
        with closing(psycopg.connect(database_url, autocommit=True, prepare_threshold=None)) as mine:
            together.wait()
            for number in range(each):
                runs = [uuid5(SPACE, f"{writer} {number} {user}") for user in chance.sample(range(6), 6)]
                batch: dict[str, list[dict[str, Any]]] = {"runs": [], "spans": [], "messages": []}
                for run in runs:
                    batch["runs"].append({"id": run, "user_id": str(run.int % 3)})
                    batch["spans"] += [
                        call(run, name, provider=provider, model=model) for name, (provider, model) in enumerate(MODELS)
                    ]
                    batch["messages"].append(message(run, 1))
                write.write_batch(mine, json.dumps(batch, default=str).encode())
                chance.shuffle(runs)
                with mine.transaction():
                    mine.execute(
                        "select 1 from conversation_runs where id = any (%s) order by id for update", [runs[:3]]
                    )
                    mine.execute("select chopsky_keep_usage(%s)", [runs[:1]])
                    mine.execute("delete from conversation_runs where id = any (%s)", [runs[:3]])
                mine.execute("select increment_usage_metrics(user_id => '0', total_tokens => 1, day => '2026-01-01')")

    with ThreadPoolExecutor(writers) as pool:
        for done in [pool.submit(drive, writer) for writer in range(writers)]:
            done.result()
    (sums,) = connection.execute("select sum(calls), sum(total_tokens), sum(messages) from usage_metrics").fetchall()
    # Of six runs two are gone without a trace.
    batches = writers * each
    assert sums == (batches * (4 * 4 + 1), batches * (4 * 4 * 13 + 1), batches * 4)
    assert (wrong(connection), rebuilt(connection)) == ([], 0)


def test_what_is_pruned_stays_and_what_is_deleted_goes(connection: Connection):
    runs = [uuid4() for _ in range(3)]
    for run in runs:
        ingest(connection, run, call(run, 1), messages=[message(run, 1)], user_id="ann")
    with connection.transaction():
        connection.execute("select chopsky_keep_usage(%s)", [runs[:2]])
        connection.execute("delete from conversation_runs where id = any (%s)", [runs[:2]])
    assert usage(connection, "contributions, calls, total_cost, messages") == [
        (3, 3, Decimal("0.75"), 0),
        (3, 0, None, 3),
    ]
    connection.execute("delete from conversation_runs")
    assert usage(connection, "contributions, calls, total_cost, messages") == [
        (2, 2, Decimal("0.5"), 0),
        (2, 0, None, 2),
    ]
    assert (wrong(connection), rebuilt(connection)) == ([], 0)
    assert usage(connection, "calls") == [(2,), (0,)]


def test_check_finds_what_is_wrong_and_the_rebuild_mends_it(connection: Connection):
    run, old = uuid4(), uuid4()
    ingest(connection, run, call(run, 1), messages=[message(run, 1)], user_id="ann")
    ingest(connection, old, call(old, 1, started_at="2025-06-01Z", ended_at="2025-06-01Z"), user_id="ann")
    connection.execute("insert into conversation_messages (role, content, user_id) values ('user', '', 'ann')")
    before = usage(connection, "*")
    for damage, check, field in (
        (
            "update usage_metrics set total_tokens = 14 where provider is not null",
            "usage_sums",
            "usage_metrics.total_tokens",
        ),
        ("update usage_totals set total_cost = null", "usage_sums", "usage_totals.total_cost"),
        ("delete from usage_metrics", "usage_sums", "usage_metrics.calls"),
        ("update usage_contributions set input_tokens = 11 where calls > 0", "usage", "input_tokens"),
        (f"delete from usage_contributions where owner_id = '{run}'", "usage", "messages"),
        ("update usage_contributions set owner_id = gen_random_uuid()", "usage_sums", "usage_contributions.owner_id"),
        ("delete from usage_contributions", "usage_sums", "usage_contributions.messages"),
    ):
        connection.execute(damage.encode())
        assert (check, field) in {(finding.check, finding.field) for finding in wrong(connection)}, damage
        rebuilt(connection)
        assert (wrong(connection), rebuilt(connection)) == ([], 0), damage
        assert usage(connection, "*") == before, damage
    # From a day on: what was before stays as it is.
    connection.execute("update usage_metrics set calls = 7")
    connection.execute("select rebuild_usage('2026-01-01')")
    assert usage(connection, "day >= '2026-01-01', calls = 7")[0] == (False, True)
    assert {finding.field for finding in wrong(connection)} == {"usage_metrics.calls"}


def test_a_rebuild_waits_for_writers_and_they_for_it(database_url: str, connection: Connection):
    run = uuid4()
    with (
        ThreadPoolExecutor(1) as pool,
        closing(psycopg.connect(database_url, prepare_threshold=None)) as writer,
    ):
        writer.execute("select chopsky_ingest(%s::json)", [payload(run, call(run, 1)).decode()])
        rebuild = pool.submit(rebuilt, connection)
        while writer.execute(WAITING.encode()).fetchone() == (0,):
            pass
        writer.commit()
        assert rebuild.result() == 0
    assert usage(connection, "calls") == [(1,)]


def test_an_increment_is_added_and_stays(connection: Connection):
    add = "select increment_usage_metrics('one', 'ann', 'openai', 'gpt-4o', '2026-01-01', {})"
    connection.execute(add.format("input_tokens => 3, output_tokens => 2, total_cost => 0.5, messages => 1").encode())
    connection.execute(add.format("calls => 2, cache_read_tokens => 0").encode())
    columns = "calls, input_tokens, total_tokens, cache_read_tokens, reasoning_tokens, total_cost, unpriced_calls"
    expected = [(3, 3, 5, 0, None, Decimal("0.5"), 2, 2, 1)]
    assert usage(connection, f"{columns}, unmeasured_calls, messages") == expected
    assert (wrong(connection), rebuilt(connection)) == ([], 0)
    assert usage(connection, f"{columns}, unmeasured_calls, messages") == expected


# -- who may read, and what the views say


@contextmanager
def signed_in(connection: Connection, user: str, tenant: str | None = None, role: str | None = None) -> Iterator[None]:
    claims = {"sub": user, "role": "authenticated", "app_metadata": {"tenant_id": tenant, "chopsky_role": role}}
    with connection.transaction(force_rollback=True):
        connection.execute("select set_config('role', 'authenticated', true)")
        connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        yield


@pytest.fixture
def shared(connection: Connection) -> Connection:
    """Today's calls of three users of two tenants and of one without; one call of ann's is of last year."""
    for number, (user, tenant) in enumerate([("ann", "one"), ("ben", "one"), ("cleo", "two"), ("dora", None)]):
        connection.execute(
            "select increment_usage_metrics(%s, %s, 'openai', 'gpt-4o', calls => %s, total_tokens => 10,"
            " total_cost => 1, messages => 2, user_messages => 1, response_time_ms => 30)",
            [tenant, user, number + 1],
        )
    connection.execute(
        "select increment_usage_metrics('one', 'ann', 'openai', 'gpt-4o', '2025-01-01', total_cost => 1)"
    )
    return connection


def test_one_reads_ones_own_usage_and_no_costs(shared: Connection):
    seen = "select user_id, sum(calls) from user_usage where day > '2026-01-01' group by 1 order by 1"
    for user, tenant, role, sees in (
        ("ann", "one", None, [("ann", 1)]),
        ("ann", "two", None, []),
        ("dora", None, None, [("dora", 4)]),
        ("root", "one", "admin", [("ann", 1), ("ben", 2)]),
        ("help", "two", "support", [("cleo", 3)]),
        ("lost", None, "admin", []),
    ):
        with signed_in(shared, user, tenant, role):
            assert shared.execute(seen).fetchall() == sees, user
    for table in (*COST_VIEWS, "usage_kept", "usage_contributions", "usage_sums"):
        with signed_in(shared, "root", "one", "admin"), pytest.raises(psycopg.errors.InsufficientPrivilege):
            shared.execute(f"select 1 from {table}".encode())


def test_the_costs_grant_opens_the_views_for_ones_own(shared: Connection):
    stats = "select request_count, total_tokens, total_cost, average_response_time from provider_usage_stats"
    assert shared.execute(stats).fetchall() == [(10, 40, 4, 12)]
    with shared.transaction(force_rollback=True):
        for table in ("usage_metrics", "usage_totals"):
            shared.execute(f"grant select (total_cost, unpriced_calls) on {table} to authenticated".encode())
        for user, tenant, role, calls, cost in (
            ("ann", "one", None, 1, 1),
            ("root", "one", "admin", 3, 2),
            ("dora", None, None, 4, 1),
        ):
            with signed_in(shared, user, tenant, role):
                found = shared.execute(f"{stats} where provider = 'openai' and model = 'gpt-4o'".encode()).fetchall()
                assert [row[::2] for row in found] == [(calls, cost)], user
                for view in COST_VIEWS[1:]:
                    query = f"select sum(total_cost) from {view} where current_date - 1 <= "
                    day = "month + 31" if view == "monthly_usage_summary" else "day"
                    assert shared.execute((query + day).encode()).fetchall() == [(cost,)], (user, view)


def test_the_views_sum_up(shared: Connection):
    service = "set local role service_role"
    with shared.transaction():
        shared.execute(service)
        volume = shared.execute(
            "select user_id, messages, user_messages, total_cost from daily_message_volume_by_user order by 2, 1"
        )
        assert volume.fetchall() == [("ann", 0, 0, 1), *((user, 2, 1, 1) for user in ("ann", "ben", "cleo", "dora"))]
        volume = shared.execute(
            "select tenant_id, messages, user_messages, total_cost from daily_message_volume order by 2, 1"
        )
        assert volume.fetchall() == [("one", 0, 0, 1), ("two", 2, 1, 1), (None, 2, 1, 1), ("one", 4, 2, 2)]
        months = shared.execute(
            "select month::text, calls, active_days from monthly_usage_summary where user_id = 'ann' order by 1"
        )
        assert [row[1:] for row in months] == [(1, 1), (1, 1)]
        today = shared.execute("select user_id, calls from current_day_usage order by 1").fetchall()
        assert today == [("ann", 1), ("ben", 2), ("cleo", 3), ("dora", 4)]
        used = shared.execute(
            "select first_used_on = last_used_on, last_used_on = (now() at time zone 'UTC')::date"
            " from provider_usage_stats"
        )
        assert used.fetchall() == [(True, True)]


# -- scores


def scores(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select completion_rate, user_engagement_score, conversation_quality_score from conversation_analytics"
    ).fetchall()


def test_scores_follow_what_the_run_tells(connection: Connection):
    run = uuid4()
    root = {"id": run, "conversation_run_id": run, "kind": "chain", "start_version": "1"}
    ingest(connection, run, root | {"status": "active"})
    assert scores(connection) == [(None, None, None)]
    ended = root | {"end_version": "1", "status": "completed", "ended_at": "2026-01-01Z"}
    ingest(connection, run, ended, call(run, 1), call(run, 2, status="failed", metadata={"retry_attempt": 2}))
    assert scores(connection) == [(100, None, 65)], "an error and a retry"
    connection.execute("update conversation_runs set user_satisfaction_score = 4")
    assert scores(connection) == [(100, None, 70)]
    ingest(connection, run, messages=[message(run, number, position=number) for number in range(3)])
    assert scores(connection) == [(100, 30, 70)]
    assert wrong(connection) == []
    ingest(
        connection,
        run,
        ended | {"end_version": "2", "status": "failed"},
        messages=[message(run, n, position=n) for n in range(12)],
    )
    assert scores(connection) == [(0, 100, 70)], "a failure passed up is one"


def test_scores_of_a_run_by_hand_and_scores_by_hand(connection: Connection):
    run = uuid4()
    connection.execute("insert into conversation_runs (id) values (%s)", [run])
    connection.execute(
        "insert into conversation_messages (conversation_run_id, role, content) values (%s, 'user', '')", [run]
    )
    assert scores(connection) == [(None, 10, None)], "what went wrong is known of spans only"
    connection.execute("update conversation_runs set status = 'completed', user_satisfaction_score = 5")
    assert scores(connection) == [(100, 10, 100)]
    connection.execute("update conversation_analytics set conversation_quality_score = 42")
    connection.execute("update conversation_runs set status = 'failed', user_satisfaction_score = 1")
    assert scores(connection) == [(0, 10, 42)], "a person's word stays"
    connection.execute("update conversation_analytics set conversation_quality_score = null, metadata = '{}'")
    connection.execute("select recompute_runs(%s)", [[run]])
    assert scores(connection) == [(0, 10, 0)], "until they give it back"
