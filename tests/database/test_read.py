"""What the reader tells of rows that were stored the way a writer stores them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from fix_postgres import as_user
from read_rows import agent_turn, at, call, ident, ingest, message, run, span

import chopsky_trace
from chopsky_trace.database import check as checks
from chopsky_trace.database import statements
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.follow import Follower
from chopsky_trace.database.probe import probe
from chopsky_trace.database.read import Reader, RunFilter
from chopsky_trace.errors import AmbiguousError, ConnectError, NotFoundError, SchemaError

LONG = 100_000.0


@pytest.fixture
def reader(connection: Connection) -> Reader:
    return Reader(connection)


def found(reader: Reader, patience_s: float = LONG, batch_runs: int = 500) -> list[tuple[str, str]]:
    batches = checks.check(reader, patience_s=patience_s, batch_runs=batch_runs)
    return [(finding.check, finding.field) for batch in batches for finding in batch.findings]


def tamper(admin: Connection, query: str, *parameters: object) -> None:
    """Change rows behind the triggers' back."""
    admin.execute("set session_replication_role = replica")
    admin.execute(query.encode(), parameters)
    admin.execute("set session_replication_role = origin")


@pytest.mark.parametrize(
    ("statuses", "stored"),
    [(("completed", "failed"), "failed"), (("completed", "completed"), "completed"), (("failed", "active"), "active")],
)
def test_check_knows_how_a_run_stands_whose_root_is_elsewhere(
    connection: Connection, reader: Reader, admin: Connection, statuses: tuple[str, str], stored: str
):
    rows = [
        span("out", f"top {number}", parent="away", status=status)
        | ({"end_version": None, "ended_at": None} if status == "active" else {})
        for number, status in enumerate(statuses)
    ]
    rows.append(span("out", "below", parent="top 0", status="failed"))
    ingest(connection, *rows, runs=[run("out")])
    assert connection.execute("select status from conversation_runs").fetchall() == [(stored,)]
    assert found(reader) == []
    tamper(admin, "update conversation_runs set status = 'interrupted'")
    # Scores follow from the status.
    assert ("totals", "status") in found(reader)
    assert {check for check, _ in found(reader)} <= {"totals", "analytics"}


def test_check_counts_what_the_totals_count(connection: Connection, reader: Reader):
    """No impossible number, no parent's repeated tokens, and no cost of a message that was said elsewhere."""
    ingest(
        connection,
        span("r", "r", input_tokens=7, output_tokens=7, total_tokens=14),
        call("r", "fine", parent="r"),
        call("r", "odd", parent="r", total_tokens=10**17, input_tokens=10**17, output_tokens=0),
        message("r", "old", "assistant", 0, is_history=True, cost="0.5"),
        message("r", "new", "assistant", 1, cost="0.25"),
        runs=[run("r")],
    )
    row = connection.execute("select total_tokens_used, total_cost from conversation_runs").fetchone()
    assert row == (120, Decimal("0.250246"))
    assert [name for name, _ in found(reader)] == []


def test_runs_are_listed_newest_first_in_pages(connection: Connection, reader: Reader):
    names = [f"turn {number}" for number in range(5)]
    for name in names:
        agent_turn(connection, name)
    first = reader.runs(RunFilter(), limit=3)
    second = reader.runs(RunFilter(), limit=3, after=first[-1]["id"])
    assert [row["name"] for row in first + second] == names[::-1]


def test_runs_are_filtered(connection: Connection, reader: Reader):
    agent_turn(connection, "ana's", user_id="ana", session_id="1", tenant_id="acme", project="kitchen")
    agent_turn(connection, "bo's", user_id="bo", session_id="2", second=7200)
    for wanted in ({"user_id": "ana"}, {"session_id": "1"}, {"tenant_id": "acme"}, {"project": "kitchen"}):
        assert [row["name"] for row in reader.runs(RunFilter(**wanted), limit=9)] == ["ana's"]
    since = reader.runs(RunFilter(user_id="bo"), limit=1)[0]["started_at"]
    assert [row["name"] for row in reader.runs(RunFilter(since=since), limit=9)] == ["bo's"]
    assert reader.runs(RunFilter(status="failed"), limit=9) == []
    assert len(reader.runs(RunFilter(status="completed"), limit=9)) == 2


def test_a_short_id_stands_for_one_run(connection: Connection, reader: Reader):
    close = [
        "019ac0de-0000-7000-8000-000000000001",
        "019ac0de-0000-7000-8000-00000000000f",
        "019ac0df-0000-7000-8000-000000000001",
    ]
    for run_id in close:
        ingest(
            connection,
            {"id": run_id, "conversation_run_id": run_id, "kind": "chain", "start_version": "1"},
            runs=[{"id": run_id}],
        )
    short = {str(row["id"]): row["short_id"] for row in reader.runs(RunFilter(), limit=9)}
    assert {key: reader.find(value).run_id for key, value in short.items()} == {key: UUID(key) for key in close}
    assert short[close[2]] == "019ac0df-0000"
    with pytest.raises(AmbiguousError, match="several runs"):
        reader.find("019ac0de")


def test_a_spans_short_id_stands_for_it_alone(connection: Connection, reader: Reader):
    """Among spans that began in the same millisecond as their root, and beside a run whose root is not stored."""
    root = "019ac0de-0000-7000-8000-000000000001"
    children = [f"019ac0de-0000-7{number:03x}-8000-000000000001" for number in (0x000, 0x001, 0xFFF)]
    children[0] = children[0].replace("8000", "9000")
    elsewhere = "019ac0de-0000-7fff-8000-000000000002"
    rows = [{"id": root, "conversation_run_id": root, "kind": "chain", "start_version": "1"}]
    rows += [
        {"id": child, "conversation_run_id": root, "parent_span_id": root, "kind": "llm", "start_version": "1"}
        for child in children
    ]
    ingest(connection, *rows, runs=[{"id": root}, {"id": elsewhere}])
    short = {str(row["id"]): row["short_id"] for row in reader.spans(UUID(root), limit=9)}
    assert {key: reader.find(value).id for key, value in short.items()} == {key: key for key in (root, *children)}
    assert all(len(value) < 36 for key, value in short.items() if key != children[2])
    below = reader.spans_below(UUID(root), UUID(children[1]), limit=9)
    assert [row["short_id"] for row in below] == [short[children[1]]]


def test_an_id_stands_for_a_run_a_span_or_a_session(connection: Connection, reader: Reader):
    run_id = agent_turn(connection, session_id="Thread 1")
    span_id = ident("turn", "plan")
    assert reader.find(run_id).kind == "run"
    assert reader.find(run_id.replace("-", "").upper()).run_id == UUID(run_id)
    assert (reader.find(span_id).kind, reader.find(span_id[:9]).run_id) == ("span", UUID(run_id))
    assert reader.find("Thread 1").kind == "session"
    with pytest.raises(NotFoundError, match="8 characters"):
        reader.find(run_id[:4])
    with pytest.raises(NotFoundError):
        reader.find(ident("nothing"))


def test_a_session_may_be_named_like_an_id(connection: Connection, reader: Reader):
    agent_turn(connection, "a", session_id=ident("session"))
    agent_turn(connection, "b", session_id="deadbeef")
    assert reader.find(ident("session")).kind == "session"
    assert reader.find("deadbeef").kind == "session"


def test_messages_come_in_pages_with_and_without_the_internal_ones(connection: Connection, reader: Reader):
    run_id = UUID(agent_turn(connection))
    assert [row["role"] for row in reader.messages(run_id, limit=9)] == ["user", "assistant"]
    whole = reader.messages(run_id, limit=9, internal=True)
    assert [row["sequence"] for row in whole] == [1, 2, 3, 4, 5]
    assert reader.messages(run_id, limit=9, internal=True, after=3) == whole[3:]
    transcript = connection.execute("select content from conversation_transcript(%s)", [run_id]).fetchall()
    assert [row["content"] for row in reader.messages(run_id, limit=9)] == [content for (content,) in transcript]


def test_a_prompt_is_put_together_again(connection: Connection, reader: Reader):
    agent_turn(connection)
    prompt = reader.prompt(UUID(ident("turn", "answer")))
    assert [row["role"] for row in prompt] == ["system", "user", "assistant", "tool"]


def test_spans_come_in_pages_and_from_a_span_down(connection: Connection, reader: Reader):
    run_id = UUID(agent_turn(connection))
    ingest(connection, span("turn", "inner", parent="plan", second=1.5), runs=[run("turn")])
    first = reader.spans(run_id, limit=2)
    rest = reader.spans(run_id, limit=9, after=first[-1]["id"])
    names = [row["name"] for row in first + rest]
    assert names == ["turn", "plan", "inner", "lookup", "lookup again", "answer"]
    below = reader.spans_below(run_id, UUID(ident("turn", "plan")), limit=9)
    assert [row["name"] for row in below] == ["plan", "inner"]


def test_a_ring_of_parents_ends(connection: Connection, reader: Reader):
    ingest(connection, span("ring", "a", parent="b"), span("ring", "b", parent="a"), runs=[run("ring")])
    below = reader.spans_below(UUID(ident("ring")), UUID(ident("ring", "a")), limit=9)
    assert {row["name"] for row in below} == {"a", "b"}


def test_cost_is_the_sum_of_what_is_known(connection: Connection, reader: Reader):
    agent_turn(connection, user_id="ana")
    unknown = {"cost": None, "input_tokens": None, "output_tokens": None, "total_tokens": None, "model": "mystery"}
    ingest(connection, span("u", "u"), call("u", "call", parent="u", **unknown), runs=[run("u")])
    rows, total = reader.cost("model", since=None, limit=9)
    assert total is not None
    assert [(row["key"], row["calls"], row["cost"], row["unpriced_calls"]) for row in rows] == [
        ("gpt-4o-mini", 2, Decimal("0.0003230000"), 0),
        ("mystery", 1, None, 1),
    ]
    assert (total["cost"], total["unpriced_calls"], total["total_tokens"], total["runs"]) == (
        Decimal("0.000323"),
        1,
        300,
        2,
    )


@pytest.mark.parametrize("by", ["model", "user", "tenant", "session", "day", "project"])
def test_every_sum_of_cost_agrees(connection: Connection, reader: Reader, by: str):
    agent_turn(connection, "a", user_id="ana", session_id="1")
    agent_turn(connection, "b", second=90_000)
    connection.execute("insert into conversation_runs (id, user_id) values (%s, 'hand')", [ident("hand")])
    connection.execute(
        "update conversation_runs set total_tokens_used = 7, total_cost = 0.5 where id = %s", [ident("hand")]
    )
    connection.execute("insert into conversation_runs (id) values (%s)", [ident("typed")])
    connection.execute(
        "insert into conversation_messages (conversation_run_id, role, token_count, cost) values (%s, 'user', 5, 0.25)",
        [ident("typed")],
    )
    rows, total = reader.cost(by, since=None, limit=99)  # pyright: ignore[reportArgumentType] - parametrised
    assert total is not None
    assert (total["cost"], total["total_tokens"], total["runs"]) == (Decimal("0.750646"), 612, 4)
    assert sum(row["cost"] for row in rows) == total["cost"]


def test_without_runs_there_is_no_sum(reader: Reader):
    assert reader.cost("model", since=None, limit=9) == ([], None)
    assert reader.cost("day", since=None, limit=9) == ([], None)


def test_a_follower_tells_of_each_run_once_and_of_its_end(connection: Connection, reader: Reader):
    agent_turn(connection, "old")
    follower = Follower(reader)
    assert [row["name"] for _, row in follower.poll(recent=5)] == ["old"]
    assert follower.poll() == []
    open_root = span("new", "new", status="active", ended_at=None, end_version=None, response_time_ms=None)
    ingest(connection, open_root, runs=[run("new")])
    agent_turn(connection, "quick")
    assert {(event, row["name"]) for event, row in follower.poll()} == {("started", "new"), ("ended", "quick")}
    ingest(connection, span("new", "new", end_version="2"), runs=[run("new")])
    assert [(event, row["name"]) for event, row in follower.poll()] == [("ended", "new")]
    assert follower.poll() == []


def test_a_follower_waits_for_runs_that_were_under_way(connection: Connection, reader: Reader, admin: Connection):
    ingest(connection, span("long", "long", status="active", ended_at=None, end_version=None), runs=[run("long")])
    admin.execute("update conversation_runs set created_at = now() - interval '1 day'")
    follower = Follower(reader)
    assert follower.poll() == []
    ingest(connection, span("long", "long"), runs=[run("long")])
    assert [(event, row["name"]) for event, row in follower.poll()] == [("ended", "long")]


def test_a_healthy_mirror_has_no_exception(connection: Connection, reader: Reader):
    for number in range(5):
        agent_turn(connection, f"turn {number}", second=60 * number, session_id="1")
    assert found(reader) == []
    batches = list(checks.check(reader, patience_s=LONG, batch_runs=2))
    assert [batch.runs for batch in batches] == [2, 2, 1]
    assert sum(batch.spans for batch in batches) == 25
    assert sum(batch.messages for batch in batches) == 25


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("update conversation_runs set total_cost = 1", ("totals", "total_cost")),
        ("update conversation_runs set total_input_tokens = null", ("totals", "total_input_tokens")),
        ("update conversation_runs set total_messages = 9", ("totals", "total_messages")),
        ("update conversation_runs set average_response_time = 1", ("totals", "average_response_time")),
        ("update conversation_runs set unpriced_calls = 1", ("totals", "unpriced_calls")),
        ("update conversation_runs set status = 'failed'", ("totals", "status")),
        ("update conversation_analytics set error_count = 2", ("analytics", "error_count")),
        ("update conversation_analytics set retry_count = 0", ("analytics", "retry_count")),
        ("update conversation_messages set sequence = 7 where sequence = 2", ("sequences", "sequence")),
        ("update conversation_messages set cost = 0.1 where cost = 0.0002", ("message_costs", "cost")),
        ("update conversation_messages set token_count = 7 where cost = 0.0002", ("message_sizes", "token_count")),
        ("update conversation_spans set cache_read_tokens = 101 where name = 'plan'", ("parts", "cache tokens")),
        ("update conversation_spans set reasoning_tokens = 21 where name = 'plan'", ("parts", "reasoning_tokens")),
        ("update conversation_spans set audio_tokens = -1 where name = 'plan'", ("parts", "tokens")),
        (
            "update conversation_spans set start_version = null where name = 'lookup'",
            ("ends_without_start", "start_version"),
        ),
        (
            "update conversation_spans set parent_span_id = gen_random_uuid() where name = 'lookup'",
            ("orphans", "parent_span_id"),
        ),
        ("update conversation_spans set prompt_take = 9 where name = 'answer'", ("prompts", "prompt")),
        (
            "update conversation_spans set prompt_extends = gen_random_uuid() where name = 'answer'",
            ("prompts", "prompt"),
        ),
        ("update conversation_spans set prompt_extends = id where name = 'answer'", ("prompts", "prompt")),
        ("delete from conversation_messages where role = 'tool'", ("references", "prompt")),
        (
            "update conversation_spans set inputs = jsonb_build_object('a', jsonb_build_object('$messages', "
            "jsonb_build_array(gen_random_uuid()))) where name = 'lookup'",
            ("references", "inputs"),
        ),
    ],
)
def test_check_finds_what_is_wrong(
    connection: Connection, reader: Reader, admin: Connection, query: str, expected: tuple[str, str]
):
    agent_turn(connection)
    tamper(admin, query)
    assert expected in found(reader)


def test_check_tells_the_whole_chain_of_prompts_that_cannot_be_rebuilt(
    connection: Connection, reader: Reader, admin: Connection
):
    calls = [call("c", "call 0", parent="c", prompt_bodies=[ident("body", "m")], output_bodies=[ident("body", "o")])]
    for number in range(1, 4):
        before = ident("c", f"call {number - 1}")
        extending = {"prompt_extends": before, "prompt_take": 2, "prompt_bodies": []}
        calls.append(call("c", f"call {number}", parent="c", second=number, **extending))
    ingest(
        connection,
        span("c", "c"),
        *calls,
        message("c", "m", "user", 0),
        message("c", "o", "assistant", 1),
        runs=[run("c")],
    )
    assert found(reader) == []
    tamper(admin, "update conversation_spans set prompt_bodies = '{}' where name = 'call 0'")
    assert found(reader) == [("prompts", "prompt")] * 3


def test_check_leaves_runs_under_way_alone(connection: Connection, reader: Reader, admin: Connection):
    root = span("r", "r", status="active", ended_at=None, end_version=None, response_time_ms=None)
    ingest(connection, root, span("r", "child", parent="late"), runs=[run("r")])
    assert found(reader) == []
    tamper(admin, "update conversation_runs set updated_at = now() - interval '1 day'")
    tamper(admin, "update conversation_spans set created_at = now() - interval '1 day'")
    assert sorted(found(reader, patience_s=3600)) == [("active_too_long", "status"), ("orphans", "parent_span_id")]


def test_an_external_parent_is_no_orphan(connection: Connection, reader: Reader, admin: Connection):
    # The run's root is outside the mirror, and so is the parent of the topmost span that is stored.
    ingest(connection, span("outside", "top", parent="elsewhere"), runs=[run("outside")])
    # A root may itself have a parent in another system.
    ingest(connection, span("root", "root") | {"parent_span_id": ident("elsewhere")}, runs=[run("root")])
    tamper(admin, "update conversation_runs set updated_at = now() - interval '1 day'")
    assert found(reader, patience_s=60) == []


def test_totals_set_by_hand_are_no_exception(connection: Connection, reader: Reader):
    connection.execute("insert into conversation_runs (id, status) values (%s, 'completed')", [ident("hand")])
    connection.execute(
        "update conversation_runs set total_messages = 10, total_tokens_used = 1500, total_cost = 0.0025"
    )
    assert found(reader) == []


def test_a_missing_schema_names_the_remedy(fresh_database: str):
    with (
        psycopg.connect(fresh_database, autocommit=True) as connected,
        pytest.raises(SchemaError, match="chopsky-trace migrate"),
    ):
        Reader(connected).runs(RunFilter(), limit=1)


def test_a_role_without_rights_is_told_so(database_url: str, connection: Connection):
    with psycopg.connect(as_user(database_url, "authenticator"), autocommit=True) as connected:
        with pytest.raises(ConnectError, match="role may not"):
            Reader(connected).writers()
        with pytest.raises(ConnectError, match="role may not"):
            probe(connected)
    assert connection.execute("select count(*) from conversation_runs").fetchone() == (0,)


def test_the_probe_leaves_nothing(connection: Connection):
    probe(connection)
    for table in ("conversation_runs", "conversation_spans", "conversation_messages", "conversation_analytics"):
        assert connection.execute(f"select count(*) from {table}".encode()).fetchone() == (0,)


def test_payloads_deeper_than_python_goes_are_read_as_text(connection: Connection, reader: Reader):
    agent_turn(connection)
    deep = "[" * 5000 + "]" * 5000
    connection.execute("update conversation_spans set inputs = %s::jsonb where name = 'lookup'", [deep])
    inputs = reader.span(UUID(ident("turn", "lookup")))["inputs"]
    # A Python that can go so deep gives the list itself.
    assert inputs == deep or isinstance(inputs[0], list)


@pytest.mark.parametrize("name", sorted(statements.load("read.sql")))
def test_every_statement_of_the_file_is_used(name: str):
    sources = "".join(path.read_text("utf-8") for path in Path(chopsky_trace.__file__).parent.rglob("*.py"))
    assert f'"{name}"' in sources


def test_times_are_told_with_their_zone(connection: Connection, reader: Reader):
    agent_turn(connection)
    assert reader.runs(RunFilter(), limit=1)[0]["started_at"].isoformat() == at(0)


def test_a_message_by_hand_is_written_once_and_stays_where_it_was_put(connection: Connection) -> None:
    run_id = ident("hand")
    connection.execute(
        "insert into conversation_runs (id, session_id, tenant_id, user_id) values (%s, 'chat', 'acme', 'ann')",
        [run_id],
    )
    said = [f"{n}" for n in range(6)]
    with connection.transaction():
        # By row and by statement, all at the same now().
        for content in said[:3]:
            connection.execute(
                "insert into conversation_messages (conversation_run_id, role, content) values (%s, 'user', %s)",
                [run_id, content],
            )
        connection.execute(
            "insert into conversation_messages (conversation_run_id, role, content)"
            " select %s, 'user', unnest(%s::text[])",
            [run_id, said[3:]],
        )
        updates = connection.execute(
            "select n_tup_upd from pg_stat_xact_user_tables where relname = 'conversation_messages'"
        ).fetchone()
    assert updates == (0,)
    rows = connection.execute(
        "select content, sequence, session_id, tenant_id, user_id from conversation_messages order by sequence"
    ).fetchall()
    assert [row[0] for row in rows] == said
    assert [row[1] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {row[2:] for row in rows} == {("chat", "acme", "ann")}
    # One from before them all takes the first place.
    connection.execute(
        "insert into conversation_messages (conversation_run_id, role, content, created_at)"
        " values (%s, 'user', 'before', now() - interval '1 hour')",
        [run_id],
    )
    rows = connection.execute("select content from conversation_messages order by sequence").fetchall()
    assert [row[0] for row in rows] == ["before", *said]
