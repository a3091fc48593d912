"""Feedback in the tables: what it is about, who may give and read it, and a run's satisfaction, in any order."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from read_rows import agent_turn, call, ident, ingest, message, run, span

from chopsky_trace.database.connect import Connection

Row = dict[str, Any]


def told(about: str, n: int = 1, **fields: Any) -> Row:
    """A record's row; `n` says which came later."""
    made = {"about_id": about, "version": f"{n:020d}00000000", "created_at": f"2026-03-01T12:00:{n:02d}Z"}
    fields.setdefault("key", "user_satisfaction")
    return {"id": ident("feedback", about, fields.get("given_by"), fields["key"], fields.get("answer"))} | made | fields


def tell(connection: Connection, *rows: Row) -> None:
    connection.execute("select public.chopsky_ingest(%s::json)", [json.dumps({"runs": [], "feedback": rows})])


def feedback(connection: Connection) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from conversation_feedback order by target_id, user_id, key").fetchall()


def score(connection: Connection, run_id: str | UUID) -> Decimal | None:
    row = connection.execute("select user_satisfaction_score from conversation_runs where id = %s", [run_id]).fetchone()
    return None if row is None else row[0]


@contextmanager
def signed_in(connection: Connection, user: str | None, **app_metadata: str) -> Iterator[None]:
    """As the API does it; None: nobody. What is done stays done."""
    role = "anon" if user is None else "authenticated"
    claims = {"role": role, "sub": user, "app_metadata": app_metadata}
    with connection.transaction():
        connection.execute("select set_config('role', %s, true)", [role])
        connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        yield


ANSWER = ident("turn", "message", "turn answer")
QUESTION = ident("turn", "message", "turn ask")
INTERNAL = ident("turn", "message", "turn plan")


def test_a_thumb_is_one_insert(connection: Connection):
    run_id = agent_turn(connection, user_id="ann", tenant_id="one", session_id="s")
    with signed_in(connection, "ann", tenant_id="one"):
        connection.execute("insert into conversation_feedback (message_id, thumbs) values (%s, 'up')", [ANSWER])
    (row,) = feedback(connection)
    assert (row["user_id"], row["tenant_id"], row["session_id"]) == ("ann", "one", "s")
    assert (str(row["conversation_run_id"]), str(row["span_id"])) == (run_id, ident("turn", "answer"))
    assert (row["source"], row["is_pending"], row["is_internal"]) == ("app", False, False)
    assert score(connection, run_id) == 5


UPSERT = """
with pgrst_source as (
    insert into public.conversation_feedback as f ({columns})
    select {columns} from json_to_recordset(%s::json) as _ (
        message_id uuid, conversation_run_id uuid, user_id text, key text, thumbs text, score numeric, comment text
    )
    on conflict (target_id, user_id, key) do update set {updates}
    returning f.id, f.thumbs, f.comment, f.user_id
) select coalesce(json_agg(s), '[]') from pgrst_source s"""


def upsert(connection: Connection, **columns: Any) -> list[Row]:
    """As PostgREST does it: every column of the body is set."""
    names = ", ".join(columns)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns)
    statement = UPSERT.format(columns=names, updates=updates)
    row = connection.execute(statement.encode(), [json.dumps([columns])]).fetchone()
    assert row is not None
    return row[0]


def test_an_upsert_replaces_what_was_said_before(connection: Connection):
    run_id = agent_turn(connection, user_id="ann")
    with signed_in(connection, "ann"):
        (first,) = upsert(connection, message_id=ANSWER, thumbs="up", comment="Lovely")
        (second,) = upsert(connection, message_id=ANSWER, thumbs="down", comment="No", user_id="ann")
        upsert(connection, message_id=ANSWER, key="taste", score=0.2)
        upsert(connection, conversation_run_id=run_id, thumbs="up")
        upsert(connection, conversation_run_id=run_id, score=4)
    assert second == first | {"thumbs": "down", "comment": "No"}
    assert [(str(r["target_id"]), r["key"], r["thumbs"], r["score"]) for r in feedback(connection)] == sorted(
        [
            (ANSWER, "taste", None, Decimal("0.2")),
            (ANSWER, "user_satisfaction", "down", None),
            (run_id, "user_satisfaction", "up", 4),
        ]
    )
    assert score(connection, run_id) == Decimal("2.50"), "thumbs down is 1, and a score stands before thumbs"


def test_rate_message_and_its_summary(connection: Connection):
    run_id = agent_turn(connection, user_id="ann", tenant_id="one")
    with signed_in(connection, "ann", tenant_id="one"):
        first = connection.execute("select rate_message(%s, 'down', comment => 'Too salty')", [ANSWER]).fetchone()
        again = connection.execute(
            "select rate_message(message_id => %s, thumbs => 'up', score => 4)", [ANSWER]
        ).fetchone()
        assert first == again
    tell(
        connection,
        told(ANSWER, given_by="ben", score=1, comment="Hm"),
        told(ANSWER, given_by="judge", key="length", score=77),
    )
    summary = (
        "select message_id, feedback_count, thumbs_up, thumbs_down, average_score, comments"
        " from message_feedback_summary"
    )
    assert connection.execute(summary).fetchall() == [(UUID(ANSWER), 3, 1, 0, Decimal("2.50"), 1)]
    with signed_in(connection, "ann", tenant_id="one"):
        assert connection.execute(summary).fetchall() == [(UUID(ANSWER), 1, 1, 0, Decimal("4.00"), 0)]
    with signed_in(connection, "root", tenant_id="one", chopsky_role="support"):
        assert connection.execute(summary).fetchall() == [(UUID(ANSWER), 3, 1, 0, Decimal("2.50"), 1)]
    assert score(connection, run_id) == Decimal("2.50")


PEOPLE: dict[str | None, dict[str, str]] = {
    "ann": {"tenant_id": "one"},
    "ben": {"tenant_id": "one"},
    "cleo": {"tenant_id": "two"},
    "dora": {},
    "root": {"tenant_id": "one", "chopsky_role": "admin"},
    None: {},
}
OWNERS = {"ann": "one", "ben": "one", "cleo": "two", "dora": None, None: None}
READS = {"ann": {"ann"}, "ben": {"ben"}, "cleo": {"cleo"}, "dora": {"dora"}, "root": {"ann", "ben"}}


@pytest.fixture
def turns(connection: Connection) -> dict[str | None, str]:
    """Each owner's turn, with feedback on its answer, on an internal message and on a span."""
    made: dict[str | None, str] = {}
    for owner, tenant in OWNERS.items():
        name = f"of {owner}"
        made[owner] = agent_turn(connection, name, user_id=owner, tenant_id=tenant)
        tell(
            connection,
            told(ident(name, "message", f"{name} answer"), score=3),
            told(ident(name, "message", f"{name} plan"), score=3),
            told(ident(name, "plan"), key="tone", score=3),
        )
    return made


@pytest.mark.parametrize("who", PEOPLE)
def test_who_may_do_what_with_whose_feedback(connection: Connection, turns: dict[str | None, str], who: str | None):
    where = "where conversation_run_id = %s"
    verbs = {
        "select": f"select id from conversation_feedback {where}",
        "update": f"update conversation_feedback set score = 2 {where}",
        "delete": f"delete from conversation_feedback {where}",
    }
    for owner, run_id in turns.items():
        own = who is not None and who == owner
        for verb, statement in verbs.items():
            with signed_in(connection, who, **PEOPLE[who]):
                if who is None:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                        connection.execute(statement, [run_id])
                    continue
                expected = 1 if own or (verb == "select" and owner in READS[who]) else 0
                # Of the three on each run one is about what its user sees.
                assert connection.execute(statement, [run_id]).rowcount == expected, (verb, owner)
        assert score(connection, run_id) == 3, "the one on an internal message remains"
        answer = ident(f"of {owner}", "message", f"of {owner} answer")
        for target in ({"message_id": answer}, {"conversation_run_id": run_id}):
            given = {**target, "key": f"k of {who}", "thumbs": "up"}
            if own:
                with signed_in(connection, who, **PEOPLE[who]):
                    upsert(connection, **given)
                    upsert(connection, **given)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(connection, who, **PEOPLE[who]):
                    upsert(connection, **given)


@pytest.mark.parametrize("columns", [
    {"message_id": INTERNAL}, {"message_id": str(uuid4())}, {"conversation_run_id": str(uuid4())},
    {"message_id": ANSWER, "user_id": "ben"},
])  # fmt: skip
def test_what_is_hidden_unknown_or_in_anothers_name_is_refused(connection: Connection, columns: Row):
    agent_turn(connection, user_id="ann")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(connection, "ann"):
        upsert(connection, thumbs="up", **columns)
    assert feedback(connection) == []


def test_a_user_cannot_write_what_is_derived(connection: Connection):
    run_id = agent_turn(connection, user_id="ann")
    for column in ("tenant_id", "source", "is_internal", "given_by", "about_id", "metadata", "version", "span_id"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(connection, "ann"):
            connection.execute(
                f"insert into conversation_feedback (message_id, {column}) values (%s, null)".encode(), [ANSWER]
            )
    with signed_in(connection, "ann"):
        connection.execute("insert into conversation_feedback (message_id, thumbs) values (%s, 'up')", [ANSWER])
    for change in ("message_id = %s", "conversation_run_id = %s, message_id = null"):
        with pytest.raises(psycopg.errors.CheckViolation), signed_in(connection, "ann"):
            connection.execute(f"update conversation_feedback set {change}".encode(), [QUESTION])
    with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(connection, "ann"):
        connection.execute("update conversation_feedback set user_id = 'ben'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), signed_in(connection, "ann"):
        connection.execute("update conversation_runs set user_satisfaction_score = 5")
    assert score(connection, run_id) == 5


def test_satisfaction_is_from_one_to_five_and_other_keys_are_free(connection: Connection):
    run_id = agent_turn(connection, user_id="ann")
    with pytest.raises(psycopg.errors.CheckViolation), signed_in(connection, "ann"):
        upsert(connection, message_id=ANSWER, score=0)
    tell(
        connection, told(run_id, score=0), told(run_id, key="user_score", score=0), told(run_id, key="big", score=1e300)
    )
    kept = {row["key"]: (row["score"], row["value"]) for row in feedback(connection)}
    assert kept == {"user_satisfaction": (None, 0), "user_score": (0, None), "big": (None, 10**300)}
    assert score(connection, run_id) is None


def events() -> dict[str, Any]:
    """A run in two batches, and feedback on it by every id that it can be named by."""
    plan, answered = ident("r", "plan"), ident("r", "message", "answer")

    def rows(*given: Row) -> Any:
        return lambda c: ingest(c, *given, runs=[run("r", user_id="ann", tenant_id="one")])

    return {
        "run": rows(span("r", "r"), message("r", "ask", "user", 0)),
        "call": rows(
            call("r", "plan", parent="r", output_bodies=[ident("body", "answer")]),
            message("r", "answer", "assistant", 1, span_id=plan),
        ),
        "by run": lambda c: tell(c, told(ident("r"), 5, given_by="ann", score=2)),
        "by answer": lambda c: tell(c, told(plan, 6, answer=0, score=5, comment="by answer")),
        "by message": lambda c: tell(c, told(answered, 7, given_by="ann", thumbs="down", comment="by message")),
        "by span": lambda c: tell(c, told(plan, 8, given_by="judge", key="tone", score=0.5)),
    }


def test_feedback_and_its_run_in_any_order_give_the_same(connection: Connection):
    made = events()
    expected: list[Row] | None = None
    orders = [order for n, order in enumerate(itertools.permutations(made)) if n % 37 == 0]
    for order in orders:
        with connection.transaction(force_rollback=True):
            for name in (*order, *order[::3]):
                made[name](connection)
            rows = [
                {k: v for k, v in row.items() if k not in ("id", "about_id", "answer", "given_by")}
                for row in feedback(connection)
            ]
            assert score(connection, ident("r")) == Decimal("1.50"), order
        expected = expected or rows
        assert rows == expected, order
    assert expected is not None
    assert [(row["key"], row["user_id"], row["comment"], row["is_pending"]) for row in expected] == sorted(
        [
            ("user_satisfaction", "ann", "by message", False),
            ("user_satisfaction", "ann", None, False),
            ("tone", "judge", None, False),
        ],
        key=lambda r: next(str(e["target_id"]) for e in expected if (e["key"], e["comment"]) == (r[0], r[2])),
    )


def waits(admin: Connection) -> bool:
    row = admin.execute("select count(*) from pg_locks where not granted").fetchone()
    return row is not None and row[0] > 0


@pytest.mark.parametrize("feedback_first", [True, False])
def test_feedback_and_its_run_at_the_same_time(
    connection: Connection, admin: Connection, database_url: str, feedback_first: bool
):
    def bring(c: Connection) -> None:
        agent_turn(c, user_id="ann")

    def say(c: Connection) -> None:
        tell(c, told(ident("turn", "answer"), answer=0, score=4))

    first, second = (say, bring) if feedback_first else (bring, say)
    with psycopg.connect(database_url) as other:
        first(other)
        # Neither sees the other's rows now; the second has to wait until it does.
        thread = threading.Thread(target=second, args=[connection])
        thread.start()
        while not waits(admin):
            assert thread.is_alive(), "the second did not wait for the first"
        other.commit()
        thread.join()
    assert score(connection, ident("turn")) == 4
    (row,) = feedback(connection)
    assert (str(row["message_id"]), row["user_id"], row["is_pending"]) == (ANSWER, "ann", False)


def test_many_rate_one_run_at_the_same_time(connection: Connection, database_url: str):
    runs = [agent_turn(connection, f"t{n}", user_id="ann") for n in range(3)]
    start = threading.Barrier(4)
    failed: list[BaseException] = []

    def rate(who: int) -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as own:
                start.wait()
                for turn in range(12):
                    names = runs if (who + turn) % 2 else runs[::-1]
                    rows = [told(run_id, turn, given_by=f"u{who}", score=1 + who) for run_id in names]
                    if who % 2:
                        tell(own, *rows)
                    else:
                        own.execute(
                            "insert into conversation_feedback (conversation_run_id, user_id, score)"
                            " select about_id, given_by, score"
                            " from json_to_recordset(%s::json) as _ (about_id uuid, given_by text, score numeric)"
                            " on conflict (target_id, user_id, key) do update set score = excluded.score",
                            [json.dumps(rows)],
                        )
                    agent_turn(own, f"t{turn % 3}", user_id="ann")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=rate, args=[who]) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [score(connection, run_id) for run_id in runs] == [Decimal("2.50")] * 3
    assert len(feedback(connection)) == 12


def test_a_score_set_by_hand_stays_until_somebody_rates_the_run(connection: Connection):
    run_id = agent_turn(connection)
    connection.execute("update conversation_runs set user_satisfaction_score = 2.5")
    agent_turn(connection)
    tell(connection, told(run_id, key="other", score=1))
    assert score(connection, run_id) == Decimal("2.50")
    tell(connection, told(run_id, score=4))
    assert score(connection, run_id) == 4
    connection.execute("delete from conversation_feedback where key = 'user_satisfaction'")
    assert score(connection, run_id) is None


def test_it_goes_with_its_run_and_moves_with_it(connection: Connection):
    run_id = agent_turn(connection, user_id="guest 7", session_id="s")
    tell(connection, told(ident("turn", "answer"), answer=0, thumbs="up"), told(run_id, given_by="judge", key="tone"))
    connection.execute("update conversation_runs set user_id = 'ann', session_id = 'mine'")
    assert {(row["user_id"], row["session_id"]) for row in feedback(connection)} == {("ann", "mine"), ("judge", "mine")}
    other = agent_turn(connection, "other")
    tell(connection, told(other, score=3))
    connection.execute("delete from conversation_runs where id = %s", [run_id])
    assert [str(row["conversation_run_id"]) for row in feedback(connection)] == [other]


def test_a_run_that_joins_another_brings_its_feedback(connection: Connection):
    inner = ident("outer", "inner")
    ingest(connection, span("outer", "inner") | {"conversation_run_id": inner}, runs=[{"id": inner}])
    tell(connection, told(inner, score=4))
    assert score(connection, inner) == 4
    ingest(
        connection,
        span("outer", "outer"),
        span("outer", "inner", parent="outer", start_version="2"),
        runs=[run("outer")],
    )
    assert score(connection, inner) is None
    assert score(connection, ident("outer")) == 4
    (row,) = feedback(connection)
    assert (str(row["conversation_run_id"]), str(row["span_id"])) == (ident("outer"), inner)


def test_of_a_call_that_two_told_of_the_answer_that_stays_is_rated(connection: Connection):
    """The same answer by LangChain's callbacks and by the provider's instrumentation, rated by its first message."""
    theirs: Row = {"response_id": "chatcmpl-1", "output_bodies": [ident("body", "Soup.")], "second": 1}
    ingest(
        connection,
        span("b", "b"),
        call("b", "call", parent="b", source="otel", is_provider=True, instrumentor="openai", **theirs),
        message("b", "Soup.", "assistant", 2, span_id=ident("b", "call")),
        runs=[run("b", user_id="ann")],
    )
    tell(
        connection,
        told(ident("b", "message", "Soup."), score=5),
        told(ident("b", "call"), answer=0, key="taste", score=1),
    )
    ingest(
        connection,
        span("a", "a"),
        call("a", "call", parent="a", **theirs),
        message("a", "Soup.", "assistant", 2, span_id=ident("a", "call")),
        runs=[run("a", user_id="ann")],
    )
    shown = connection.execute(
        "select id from conversation_messages where role = 'assistant' and not is_internal"
    ).fetchall()
    assert shown == [(UUID(ident("a", "message", "Soup.")),)], "the other one went"
    assert {str(row["message_id"]) for row in feedback(connection)} == {ident("a", "message", "Soup.")}
    assert (score(connection, ident("a")), score(connection, ident("b"))) == (5, None)


def test_rows_by_hand_find_each_other_too(connection: Connection):
    run_id = str(uuid4())
    connection.execute(
        "insert into conversation_feedback (conversation_run_id, user_id, score) values (%s, 'ann', 3)", [run_id]
    )
    connection.execute("insert into conversation_runs (id, user_id, tenant_id) values (%s, 'ann', 'one')", [run_id])
    assert score(connection, run_id) == 3
    row = connection.execute(
        "insert into conversation_messages (conversation_run_id, role, content) values (%s, 'assistant', 'Hi')"
        " returning id",
        [run_id],
    ).fetchone()
    assert row is not None
    connection.execute("insert into conversation_feedback (message_id, thumbs) values (%s, 'up')", row)
    assert {(r["user_id"], r["tenant_id"], r["is_pending"]) for r in feedback(connection)} == {("ann", "one", False)}
    assert score(connection, run_id) == 4
    connection.execute("update conversation_feedback set thumbs = 'down' where message_id = %s", row)
    assert score(connection, run_id) == 2
    with pytest.raises(psycopg.errors.NotNullViolation):
        connection.execute("insert into conversation_feedback (thumbs) values ('up')")
