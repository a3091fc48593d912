"""What is kept long enough goes: by policy, by expires_at, by age; and nothing that stays misses it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import writer_records as records
from click.testing import CliRunner, Result
from read_rows import at, call, ident, ingest, message, run, span
from retained import findings, left, turn
from roles import signed_in

from chopsky_trace.cli import main
from chopsky_trace.database import retention
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.payloads import raw_spans
from chopsky_trace.database.read import Reader
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(database_url: str) -> Invoke:
    def run_command(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env={"CHOPSKY_TRACE_DATABASE_URL": database_url, "COLUMNS": "80"})

    return run_command


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def age(connection: Connection, days: int, *runs: UUID) -> None:
    connection.execute(
        "update conversation_runs set created_at = now() - make_interval(days => %s) where id = any (%s)",
        [days, list(runs)],
    )


def prune(connection: Connection, *arguments: Any) -> dict[str, Any]:
    places = ", ".join(["%s"] * len(arguments))
    row = connection.execute(f"select chopsky_prune({places})".encode(), arguments).fetchone()
    assert row is not None
    return row[0]


def policy(connection: Connection, what: str, days: float | None, tenant: str | None = None) -> None:
    retention.set_policy(connection, what, tenant, None if days is None else timedelta(days=days))


def test_without_a_policy_all_is_kept(connection: Connection):
    old = turn(connection, "a")
    age(connection, 10_000, old)
    assert not retention.prune_some(connection, 100)
    assert prune(connection)["runs"] == 0
    assert left(connection) == {old}


def test_a_tenants_own_rule_goes_before_the_general_one(connection: Connection):
    runs = {
        (tenant, days): turn(connection, f"{tenant} {days}", tenant_id=tenant)
        for tenant in ("acme", "bolt", "cook", None)
        for days in (5, 20, 50)
    }
    for (_, days), one in runs.items():
        age(connection, days, one)
    policy(connection, "runs", 30)
    policy(connection, "runs", 10, "acme")
    policy(connection, "runs", None, "bolt")
    due = {("acme", 20), ("acme", 50), ("cook", 50), (None, 50)}
    usage = connection.execute("select * from usage_metrics order by key").fetchall()
    dry = prune(connection, 100, 1000, True)
    assert len(left(connection)) == 12
    done = prune(connection)
    assert {name for name, one in runs.items() if one not in left(connection)} == due
    assert connection.execute("select * from usage_metrics order by key").fetchall() == usage
    counted = ("sessions", "runs", "spans", "messages", "contents")
    assert [dry[name] for name in counted] == [done[name] for name in counted] == [0, 4, 8, 8, 8]
    assert findings(connection) == []


def test_what_is_under_way_or_held_stays(connection: Connection):
    held = turn(connection, "held", session_id="1", user_id="ann")
    ingest(
        connection,
        span("open", "open", status=None, ended_at=None, end_version=None, response_time_ms=None),
        runs=[run("open")],
    )
    age(connection, 50, held, UUID(ident("open")))
    connection.execute("update conversation_sessions set legal_hold = true, expires_at = '2020-01-01'")
    for what in ("sessions", "runs", "messages", "payloads"):
        policy(connection, what, 1)
    before = connection.execute("select * from conversation_spans order by id").fetchall()
    assert prune(connection)["busy"] == 0
    assert prune(connection, 100, 100, False, timedelta(days=1))["runs"] == 0
    assert connection.execute("select cleanup_expired_conversations()").fetchone() == (0,)
    assert connection.execute("select * from conversation_spans order by id").fetchall() == before
    connection.execute("update conversation_sessions set legal_hold = false")
    assert prune(connection)["sessions"] == 1
    assert left(connection) == {UUID(ident("open"))}


def test_what_somebody_is_at_is_left_for_another_time(connection: Connection, database_url: str):
    runs = [turn(connection, name, session_id=name[0], user_id="ann") for name in ("a1", "a2", "b1", "c1")]
    age(connection, 50, *runs)
    policy(connection, "runs", 30)
    with psycopg.connect(database_url) as writer:
        # One by its row, one by its session, as a writer has it.
        writer.execute("select 1 from conversation_runs where id = %s for no key update", [runs[0]])
        writer.execute("select pg_advisory_xact_lock(hashtextextended('b', 0))")
        done = prune(connection, 1)
        # a2 would hand what a1 refers to over to it.
        assert (done["runs"], done["busy"], done["more"]) == (1, 3, False)
        assert left(connection) == set(runs[:3])
    assert prune(connection)["runs"] == 3


def test_at_most_so_many_go_in_one_transaction(connection: Connection):
    runs = [turn(connection, f"r{number}") for number in range(7)]
    for number, one in enumerate(runs):
        age(connection, 50 + number, one)
    done = prune(connection, 2, 5, False, timedelta(days=30))
    assert (done["runs"], done["more"]) == (5, True)
    assert left(connection) == set(runs[:2]), "the oldest go first"
    assert [one["runs"] for one in retention.prune(connection, 1, timedelta(days=30), None)] == [1, 1, 0]


def same_words(connection: Connection, name: str, *before: str, session: str = "s") -> UUID:
    """A run whose prompt begins with what was said in others; each asks the same words, and hears its own."""
    bodies = [ident("body", f"{one} hears") for one in before] + [ident("body", "hello")]
    ingest(
        connection,
        span(name, name),
        call(name, "call", parent=name, prompt_bodies=bodies, output_bodies=[ident("body", f"{name} hears")]),
        message(name, "hello", "user", 0),
        message(name, f"{name} hears", "assistant", 1, span_id=ident(name, "call"), token_count=20, cost="0.000123"),
        runs=[run(name, started_at=at(0), session_id=session, user_id="ann")],
    )  # fmt: skip
    connection.execute(
        "insert into conversation_feedback (conversation_run_id, user_id, thumbs) values (%s, 'ann', 'up')",
        [ident(name)],
    )
    return UUID(ident(name))


@pytest.mark.parametrize("arrived", ["in order", "the last first"])
@pytest.mark.parametrize("stays", [False, True])
def test_what_goes_and_what_is_kept_count_once_however_many_batches(connection: Connection, arrived: str, stays: bool):
    names = [f"r{number}" for number in range(7)]
    runs = [same_words(connection, name, *names[:number]) for number, name in enumerate(names)]
    if stays:
        same_words(connection, "stays", "r1", "r4")
    for number, one in enumerate(runs):
        age(connection, 50 + (number if arrived == "the last first" else -number), one)
    dry = retention.due(connection, timedelta(days=30), None)
    assert [dry[name] for name in ("runs", "spans", "messages", "feedback")] == [7, 14, 14, 7]
    counts = dict.fromkeys(retention.COUNTS, 0)
    for done in retention.prune(connection, 2, timedelta(days=30), None):
        assert findings(connection) == [], "exact between batches, too"
        counts = {name: count + done[name] for name, count in counts.items()}
    kept = connection.execute(
        "select count(*) from conversation_messages where conversation_run_id <> all (%s) and is_history", [runs]
    ).fetchone()
    assert kept == (counts["messages_kept"],)
    assert counts | {"messages_kept": 0} == {name: dry[name] for name in retention.COUNTS}
    assert (counts["messages_kept"] > 0) == stays


def test_the_messages_of_an_expired_session_count_once(connection: Connection):
    for name in ("r1", "r2", "r3"):
        same_words(connection, name)
    connection.execute("update conversation_sessions set expires_at = now()")
    dry = retention.due(connection, None, None)
    done = prune(connection, 1)
    assert [done[name] for name in ("sessions", "runs", "messages", "feedback", "messages_kept")] == [1, 3, 6, 3, 0]
    assert [dry[name] - done[name] for name in retention.COUNTS] == [0] * len(retention.COUNTS)


def test_a_dry_run_counts_feedback_that_its_own_policy_removes(connection: Connection):
    same_words(connection, "held")
    same_words(connection, "a", session="a")
    same_words(connection, "b", session="b")
    connection.execute("update conversation_sessions set legal_hold = true where session_id = 's'")
    connection.execute("update conversation_feedback set created_at = now() - interval '50 days'")
    age(connection, 50, UUID(ident("b")))
    policy(connection, "feedback", 30)
    policy(connection, "runs", 30)
    assert prune(connection, 100, 100, True)["feedback"] == 2
    assert prune(connection)["feedback"] == 2


def test_a_later_prompt_keeps_what_it_refers_to_and_a_media_its_bytes(connection: Connection):
    first = turn(connection, "t1", 0, session_id="s", user_id="ann")
    said = [ident("body", "t1 asks"), ident("body", "t1 hears")]
    ingest(
        connection,
        span("t2", "t2", second=10, inputs=[{"$messages": said}, {"$media": ident("content", "picture")}]),
        call("t2", "call", parent="t2", second=11, prompt_bodies=[*said, ident("body", "t2 asks")]),
        message("t2", "t2 asks", "user", 10),
        runs=[run("t2", started_at=at(10), session_id="s", user_id="ann")],
    )  # fmt: skip
    age(connection, 50, first)
    policy(connection, "runs", 30)
    prompt = "select content, parts from conversation_prompt(%s)"
    before = connection.execute(prompt, [ident("t2", "call")]).fetchall()
    raw = [one.row["inputs"] for one in raw_spans(Reader(connection), [UUID(ident("t2"))])]
    shown = connection.execute("select total_messages from conversation_runs where id = %s", [ident("t2")]).fetchone()
    done = prune(connection)
    assert (done["runs"], done["messages_kept"]) == (1, 2)
    assert connection.execute(prompt, [ident("t2", "call")]).fetchall() == before
    assert [one.row["inputs"] for one in raw_spans(Reader(connection), [UUID(ident("t2"))])] == raw
    assert findings(connection) == []
    after = connection.execute("select total_messages from conversation_runs where id = %s", [ident("t2")]).fetchone()
    assert after == shown, "what was kept for a prompt is not part of the transcript"
    # The next turn sends it all again: nothing is doubled.
    ingest(
        connection,
        span("t3", "t3", second=20),
        call("t3", "call", parent="t3", second=21, prompt_bodies=said),
        message("t3", "t1 asks", "user", 20, is_history=True),
        message("t3", "t1 hears", "assistant", 20, is_history=True),
        runs=[run("t3", started_at=at(20), session_id="s", user_id="ann")],
    )  # fmt: skip
    rows = connection.execute("select count(*) from conversation_messages where body_id = any (%s::uuid[])", [said])
    assert rows.fetchone() == (2,)


@pytest.mark.parametrize("what", ["messages", "payloads"])
def test_content_goes_and_numbers_stay(connection: Connection, what: str):
    one = turn(connection, "a", session_id="1", user_id="ann")
    age(connection, 50, one)
    totals = "select total_messages, total_tokens_used, total_cost, status from conversation_runs"
    before = connection.execute(totals).fetchall()
    policy(connection, what, 30)
    done = prune(connection)
    assert done[f"runs_without_{what}"] == 1
    assert connection.execute(totals).fetchall() == before
    assert findings(connection) == []
    told = connection.execute("select count(*) from conversation_messages where content is not null").fetchone()
    assert told == (2 if what == "payloads" else 0,)
    kinds = connection.execute("select kind from conversation_contents").fetchall()
    assert kinds == ([("media",)] if what == "payloads" else []), "what a message shows goes with the message"
    gone = connection.execute("select count(*) from conversation_spans where num_nonnulls(inputs, outputs) > 0")
    assert gone.fetchone() == (0,)
    assert prune(connection)[f"runs_without_{what}"] == 0, "once"


def test_expired_sessions_go_with_all_of_theirs_and_do_not_come_back(connection: Connection):
    turn(connection, "a1", session_id="a", user_id="ann")
    turn(connection, "b1", session_id="b", user_id="ann")
    connection.execute(
        "insert into conversation_messages (session_id, user_id, role, content) values ('a', 'ann', 'user', 'Hi')"
    )
    connection.execute("insert into conversation_sessions (session_id, expires_at) values ('c', now())")
    connection.execute(
        "update conversation_sessions set expires_at = now() - interval '1 minute' where session_id = 'a'"
    )
    assert connection.execute("select cleanup_expired_conversations()").fetchone() == (2,)
    assert connection.execute("select session_id from conversation_sessions").fetchall() == [("b",)]
    assert left(connection) == {UUID(ident("b1"))}
    assert connection.execute("select count(*) from conversation_messages where session_id = 'a'").fetchone() == (0,)
    turn(connection, "a1", session_id="a", user_id="ann")
    assert left(connection) == {UUID(ident("b1"))}
    turn(connection, "a2", session_id="a", user_id="ann")
    assert len(left(connection)) == 2, "a new run in it is a new session"


def test_a_long_session_goes_bit_by_bit(connection: Connection):
    for number in range(5):
        turn(connection, f"r{number}", number, session_id="long", user_id="ann")
    connection.execute("update conversation_sessions set last_activity_at = '2020-01-01'")
    policy(connection, "sessions", 30)
    done = prune(connection, 2, 3)
    assert (done["runs"], done["sessions"], done["more"]) == (3, 0, True)
    assert findings(connection) == []
    # Its activity is derived from what is left.
    connection.execute("update conversation_sessions set last_activity_at = '2020-01-01'")
    assert prune(connection)["sessions"] == 1
    assert connection.execute("select count(*) from conversation_sessions").fetchone() == (0,)


def test_a_run_that_saw_only_anothers_calls_goes_with_it(connection: Connection):
    turn(connection, "a")
    same = {"response_id": "one", "second": 0.1, "started_at": at(0.1), "ended_at": at(0.9)}
    for name, source in (("a", "langchain"), ("b", "otel")):
        ingest(
            connection,
            *([span("b", "b", source=source)] if name == "b" else []),
            call(name, "call", parent=name, **(same | {"source": source, "start_version": "2", "end_version": "2"})),
            runs=[run(name)],
        )
    assert connection.execute("select merged from conversation_runs where id = %s", [ident("b")]).fetchone() == (True,)
    age(connection, 50, UUID(ident("a")), UUID(ident("b")))
    policy(connection, "runs", 30)
    assert prune(connection)["runs"] == 2
    assert left(connection) == set()


def test_only_the_service_prunes_and_sets_policies(connection: Connection):
    for role in ("anon", "authenticated"):
        for query in ("select chopsky_prune()", "select cleanup_expired_conversations()", "select erase_user('ann')"):
            with signed_in(connection, role, {"sub": "ann"}), pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(query.encode())
    turn(connection, "a", session_id="s", user_id="ann")
    age(connection, 50, UUID(ident("a")))
    with signed_in(connection, "service_role"):
        connection.execute("insert into retention_policies (what, keep_for) values ('runs', '1 day')")
        assert prune(connection)["runs"] == 1
        connection.execute("select erase_user('ann')")


def test_pruning_beside_writers_stops_nobody_and_takes_nothing_new(connection: Connection, database_url: str):
    old = [turn(connection, f"old {n}", n, session_id=f"s{n % 3}", user_id="ann") for n in range(30)]
    age(connection, 50, *old)
    policy(connection, "runs", 30)
    errors: list[BaseException] = []
    finished = threading.Event()

    def write(writer: int) -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as own:
                for n in range(25):
                    turn(own, f"new {writer} {n}", 100 + n, session_id=f"s{n % 3}", user_id="ann")
        except BaseException as error:
            errors.append(error)

    def remove() -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as own:
                while not finished.is_set():
                    prune(own, 3, 6)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    pruners = [threading.Thread(target=remove) for _ in range(2)]
    for thread in [*pruners, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    finished.set()
    for thread in pruners:
        thread.join()
    assert errors == []
    while prune(connection)["runs"]:
        pass
    assert left(connection) == {UUID(ident(f"new {writer} {n}")) for writer in range(2) for n in range(25)}
    assert findings(connection) == []


def test_policies_and_pruning_by_command(connection: Connection, invoke: Invoke):
    assert "all is kept" in invoke("retention", "list").stdout
    answer(invoke("retention", "set", "runs", "30d", "--json"))
    answer(invoke("retention", "set", "runs", "forever", "--tenant", "acme", "--json"))
    listed = answer(invoke("retention", "list", "--json"))["policies"]
    assert [(one["what"], one["tenant_id"], one["keep_for"]) for one in listed] == [
        ("runs", None, "30d"),
        ("runs", "acme", "forever"),
    ]
    assert "(all)" in invoke("retention", "list").stdout
    age(connection, 50, turn(connection, "a"), turn(connection, "b", tenant_id="acme"))
    assert answer(invoke("prune", "--dry-run", "--json"))["runs"] == 1
    assert len(left(connection)) == 2
    assert answer(invoke("prune", "--json"))["runs"] == 1
    assert "Nothing is due" in invoke("prune").stdout
    refused = invoke("prune", "--older-than", "7d")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert answer(invoke("prune", "--older-than", "7d", "--tenant", "acme", "--yes", "--json"))["runs"] == 1
    answer(invoke("retention", "remove", "runs", "--json"))
    assert invoke("retention", "remove", "runs").exit_code == 1
    for unclear in ("soon", "6m", "6M", "0d"):
        assert invoke("retention", "set", "runs", unclear).exit_code == 2
    without = invoke("prune", "schedule", "on")
    assert without.exit_code == 1
    assert "pg_cron" in without.stderr


def test_the_schedule_is_pg_crons(connection: Connection, invoke: Invoke, admin: Connection):
    """With pg_cron's interface and none of its clockwork: the extension is in no wheel."""
    admin.execute("create schema cron; grant usage on schema cron to postgres")
    try:
        admin.execute(
            "create table cron.job (jobid bigint generated always as identity, jobname text unique, command text);"
            "create function cron.schedule(n text, s text, c text) returns bigint language sql as"
            " 'insert into cron.job (jobname, command) values (n, c) on conflict (jobname) do update"
            " set command = c returning jobid';"
            "create function cron.unschedule(j bigint) returns boolean language sql as"
            " 'delete from cron.job where jobid = j returning true';"
            "grant all on all tables in schema cron to postgres"
        )
        answer(invoke("prune", "schedule", "on", "--json"))
        answer(invoke("prune", "schedule", "on", "--json"))
        [(command,)] = connection.execute("select command from cron.job").fetchall()
        assert connection.execute(command.encode()).fetchone() is not None
        answer(invoke("prune", "schedule", "off", "--json"))
        assert connection.execute("select * from cron.job").fetchall() == []
    finally:
        admin.execute("drop schema cron cascade")


def test_a_writer_prunes_where_nothing_else_does(connection: Connection, tracer_settings: Settings, database_url: str):
    old = turn(connection, "a")
    age(connection, 50, old)
    policy(connection, "runs", 30)
    writer = Writer(Target(database_url, "test"), tracer_settings)
    try:
        assert writer.put(records.start("new"))
        assert writer.flush(20)
        while old in left(connection):
            assert writer.stats()["losses"] == {}
        assert left(connection) == {UUID(records.span_id("new"))}
    finally:
        writer.close(1)


def test_tombstones_of_runs_age_and_those_of_persons_do_not(connection: Connection):
    for name in ("a", "b"):
        turn(connection, name, session_id=name, user_id="ann")
    connection.execute("delete from conversation_sessions where session_id = 'a'")
    connection.execute("select erase_user('ann')")
    kinds = "select kind, count(*) from conversation_tombstones group by kind order by kind"
    assert connection.execute(kinds).fetchall() == [("person", 1), ("run", 2)]
    connection.execute("update conversation_tombstones set erased_at = erased_at - interval '366 days'")
    policy(connection, "tombstones", 500)
    assert prune(connection)["tombstones"] == 0
    retention.remove_policy(connection, "tombstones", None)
    assert prune(connection, 100, 1000, True)["tombstones"] == 2
    assert retention.prune_some(connection, 100) is False
    assert connection.execute(kinds).fetchall() == [("person", 1)]
    # What is of the person and began before is refused all the same.
    connection.execute("update conversation_tombstones set erased_at = now()")
    turn(connection, "b", session_id="b", user_id="ann")
    assert left(connection) == set()


def test_of_many_writers_one_prunes_at_a_time(
    connection: Connection, tracer_settings: Settings, database_url: str, tmp_path: Path
):
    policy(connection, "runs", 30)
    old = [turn(connection, f"r{number}", user_id="ann") for number in range(8)]
    age(connection, 50, *old)
    usage = "select day, calls, total_tokens, messages from usage_metrics where user_id = 'ann' order by key"
    before = connection.execute(usage).fetchall()
    lock = "hashtextextended('chopsky_trace.prune', 0)"
    with psycopg.connect(database_url) as another:
        another.execute(f"select pg_advisory_xact_lock({lock})".encode())
        assert retention.prune_some(connection, 100) is False, "somebody else is at it: no reason to come again at once"
        assert left(connection) == set(old)
    made = [Writer(Target(database_url, "test"), replace(tracer_settings, data_dir=tmp_path / n)) for n in "abc"]
    try:
        for number, writer in enumerate(made):
            assert writer.put(records.start(f"new {number}"))
        assert all([writer.flush(20) for writer in made])
        while left(connection) & set(old):
            assert [writer.stats()["losses"] for writer in made] == [{}] * 3
    finally:
        for writer in made:
            writer.close(1)
    assert len(left(connection)) == 3
    assert connection.execute(usage).fetchall() == before, "kept once"
