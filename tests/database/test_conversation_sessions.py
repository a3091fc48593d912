"""conversation_sessions: rows follow runs, applications drive them, and nobody takes over another's."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from read_rows import at, ingest, message, run, span
from roles import signed_in

from chopsky_trace.database.connect import Connection


def turn(connection: Connection, name: str, second: float, **scope: Any) -> None:
    ingest(
        connection,
        span(name, name, second=second),
        message(name, f"{name} asks", "user", second),
        message(name, f"{name} hears", "assistant", second + 1),
        runs=[run(name, started_at=at(second), **scope)],
    )


def sessions(connection: Connection, columns: str = "session_id, user_id, tenant_id, project") -> list[tuple[Any, ...]]:
    return connection.execute(f"select {columns} from conversation_sessions order by 1, 2".encode()).fetchall()


def begin(connection: Connection, **values: Any) -> UUID:
    names = ", ".join(values)
    row = connection.execute(
        f"insert into conversation_sessions ({names}) values ({', '.join(['%s'] * len(values))}) returning id".encode(),
        list(values.values()),
    ).fetchone()
    assert row is not None
    return row[0]


def one(connection: Connection, query: str, *arguments: Any) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_every_session_with_a_run_has_a_row(connection: Connection):
    turn(connection, "a", 10, session_id="1", user_id="ann", project="p")
    turn(connection, "b", 0, session_id="1", user_id="ann", project="p")
    turn(connection, "c", 0, session_id="1", user_id="ben", project="p")
    turn(connection, "d", 0)
    assert sessions(connection) == [("1", "ann", None, "p"), ("1", "ben", None, "p")]
    assert one(
        connection,
        "select bool_and(id = session_key and not by_hand and state = 'initial') from conversation_sessions",
    )
    began, active = one(
        connection, "select created_at, last_activity_at from conversation_sessions where user_id = 'ann'"
    )
    assert str(began) == str(one(connection, "select min(started_at) from conversation_runs where user_id = 'ann'"))
    assert active == one(
        connection,
        "select coalesce(ended_at, started_at) from conversation_runs where user_id = 'ann'"
        " order by started_at desc limit 1",
    )


def test_a_user_known_late_leaves_no_session_of_nobody_behind(connection: Connection):
    turn(connection, "a", 0, session_id="1")
    turn(connection, "a", 0, session_id="1", user_id="ann")
    assert sessions(connection, "session_id, user_id") == [("1", "ann")]


def test_a_session_is_settled_without_reading_the_others(connection: Connection):
    """Also with the plan of a connection that has known the table small."""
    for number in range(60):
        begin(connection, session_id=f"other {number}", by_hand=True)
    turn(connection, "seen", 0, session_id="seen")
    read = "select idx_tup_fetch + seq_tup_read from pg_stat_xact_user_tables where relname = 'conversation_sessions'"
    with connection.transaction():
        before = one(connection, read)
        connection.execute("select chopsky_settle_sessions(array_agg(session_key)) from conversation_runs")
        assert one(connection, read) - before < 10


def test_a_session_goes_with_its_last_run_unless_somebody_made_it(connection: Connection):
    turn(connection, "a", 0, session_id="1", user_id="ann")
    begin(connection, session_id="2", user_id="ann")
    connection.execute("delete from conversation_runs")
    assert sessions(connection, "session_id, state") == [("2", "initial")]


def test_runs_join_the_session_that_the_application_made(connection: Connection):
    made = begin(connection, user_id="ann")
    turn(connection, "a", 0, session_id=str(made), user_id="ann", project="p")
    assert sessions(connection) == [(str(made), "ann", None, "p")]
    history = connection.execute("select role, content from get_conversation_history(%s)", [made]).fetchall()
    assert history == [("user", "a asks"), ("assistant", "a hears")]
    # Somebody who guesses the name has a session of their own.
    turn(connection, "b", 1, session_id=str(made), user_id="ben", project="p")
    assert len(sessions(connection)) == 2
    assert connection.execute("select content from get_conversation_history(%s, 9)", [made]).fetchall() == [
        ("a asks",),
        ("a hears",),
    ]


def test_moves_are_legal_or_refused_with_what_would_be(connection: Connection):
    made = begin(connection, user_id="ann")
    for state in ("gathering", "planning", "delegated", "reviewing"):
        connection.execute("update conversation_sessions set state = %s where id = %s", [state, made])
    with pytest.raises(psycopg.errors.CheckViolation, match="reviewing cannot become gathering") as refused:
        connection.execute("update conversation_sessions set state = 'gathering' where id = %s", [made])
    assert refused.value.diag.message_hint == "It may become planning, delegated, delivered, cancelled."
    connection.execute("select complete_conversation_session(%s)", [made])
    connection.execute("select complete_conversation_session(%s)", [made])
    state, completed = one(connection, "select state, completed_at from conversation_sessions where id = %s", made)
    assert state == "delivered"
    assert completed is not None
    with pytest.raises(psycopg.errors.CheckViolation, match="delivered cannot become cancelled") as refused:
        connection.execute("select cancel_conversation_session(%s)", [made])
    assert refused.value.diag.message_hint == "It has come to its end: begin another session."
    with pytest.raises(psycopg.errors.NoDataFound):
        connection.execute("select cancel_conversation_session(%s)", [uuid4()])


def test_a_state_that_is_none_is_told_with_the_nine_that_are(connection: Connection):
    begin(connection, session_id="1")
    for statement in (
        "update conversation_sessions set state = 'soup'",
        "insert into conversation_sessions (state) values ('soup')",
    ):
        with pytest.raises(psycopg.errors.CheckViolation, match="no state 'soup'") as refused:
            connection.execute(statement.encode())
        hint = str(refused.value.diag.message_hint)
        assert len(hint.split(", ")) == 9
        assert hint.startswith("It may be initial, gathering,")


def test_a_title_is_no_book(connection: Connection):
    begin(connection, title="é" * 500)
    with pytest.raises(psycopg.errors.CheckViolation, match="conversation_sessions_title_at_most_500"):
        begin(connection, title="é" * 501)


def test_means_are_shown_to_the_microsecond(connection: Connection):
    made = begin(connection, user_id="ann")
    for milliseconds in (1, 1, 2):
        connection.execute(
            "insert into conversation_messages (session_id, user_id, role, response_time_ms)"
            " values (%s, 'ann', 'assistant', %s)",
            [made, milliseconds],
        )
    for query in (
        "select average_response_time::text from conversation_session_totals where id = %s",
        "select average_response_time::text from get_session_message_stats(%s)",
    ):
        assert one(connection, query, made) == "1.333"


def test_a_user_clears_a_session_of_their_own_and_nobody_elses(connection: Connection):
    for user in ("ann", "ben"):
        turn(connection, user, 0, session_id="1", user_id=user, tenant_id="acme")
        connection.execute(
            "insert into conversation_messages (session_id, tenant_id, user_id, role, content)"
            " values ('1', 'acme', %s, 'user', 'Hi')",
            [user],
        )
    ids = dict(connection.execute("select user_id, id from conversation_sessions").fetchall())
    admin = {"tenant_id": "acme", "chopsky_role": "admin"}
    for user, claims in (("ann", {"tenant_id": "acme"}), ("root", admin)):
        with signed_in(connection, "authenticated", {"sub": user, "app_metadata": claims}):
            with pytest.raises(psycopg.errors.NoDataFound, match="of yours"), connection.transaction():
                connection.execute("select clear_conversation_session(%s)", [ids["ben"]])
            if user == "root":
                continue
            assert one(connection, "select clear_conversation_session(%s)", ids[user]) == 3
            # What comes after is not cleared by anything but the function.
            connection.execute("update conversation_sessions set title = 'Soup'")
            connection.execute("reset role")
            assert sessions(connection, "user_id, title") == [("ann", "Soup"), ("ben", None)]
            for table in ("conversation_runs", "conversation_messages"):
                found = connection.execute(f"select distinct user_id from {table}".encode()).fetchall()
                assert found == [("ben",)], table
    connection.execute("update conversation_sessions set legal_hold = true")
    with (
        signed_in(connection, "authenticated", {"sub": "ann", "app_metadata": {"tenant_id": "acme"}}),
        pytest.raises(psycopg.errors.RestrictViolation, match="legal hold"),
    ):
        connection.execute("select clear_conversation_session(%s)", [ids["ann"]])
    with signed_in(connection, "anon"), pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select clear_conversation_session(%s)", [ids["ann"]])


def test_the_tracer_moves_no_state_and_takes_back_no_title(connection: Connection):
    begin(connection, user_id="ann", session_id="1", project="p", title="Soup", state="gathering")
    turn(connection, "a", 0, session_id="1", user_id="ann", project="p")
    assert sessions(connection, "state, title") == [("gathering", "Soup")]


def test_messages_written_by_hand(connection: Connection):
    made = begin(connection, user_id="ann", tenant_id="acme")
    for role, content, cost in (("user", "Make a video", None), ("assistant", "Sure", "0.0008")):
        connection.execute(
            "insert into conversation_messages (session_id, tenant_id, user_id, role, content, cost, token_count,"
            " created_at) values (%s, 'acme', 'ann', %s, %s, %s, 5, clock_timestamp())",
            [made, role, content, cost],
        )
    turn(connection, "a", 0, session_id=str(made), user_id="ann", tenant_id="acme", project="p")
    assert sorted(connection.execute("select content from get_conversation_history(%s, 10)", [made]).fetchall()) == [
        ("Make a video",),
        ("Sure",),
        ("a asks",),
        ("a hears",),
    ]
    assert float(one(connection, "select get_session_cost(%s)", made)) == 0.0008
    stats = connection.execute("select role, message_count from get_session_message_stats(%s)", [made]).fetchall()
    assert stats == [("assistant", 2), ("user", 2)]
    assert one(connection, "select total_messages from conversation_session_totals where id = %s", made) == 4


def test_messages_by_hand_make_their_session_and_name_it_exactly(connection: Connection):
    insert = "insert into conversation_messages (session_id, user_id, role, content) values (%s, %s, 'user', 'Hi')"
    connection.execute(insert, ["t", "ann"])
    connection.execute(insert, ["t", "ben"])
    assert sessions(connection, "session_id, user_id, by_hand") == [("t", "ann", True), ("t", "ben", True)]
    with pytest.raises(psycopg.errors.CardinalityViolation, match="Several sessions are named 't'"):
        connection.execute(insert, ["t", None])


def test_a_session_given_to_a_user_takes_its_runs_along(connection: Connection):
    turn(connection, "a", 0, session_id="1")
    connection.execute("update conversation_sessions set user_id = 'ann'")
    assert one(connection, "select user_id from conversation_runs") == "ann"
    assert one(connection, "select bool_and(user_id = 'ann') from conversation_messages")
    turn(connection, "a", 0, session_id="1")
    turn(connection, "b", 9, session_id="1", user_id="ann")
    assert sessions(connection, "session_id, user_id") == [("1", "ann")]
    turn(connection, "c", 20, session_id="1")
    assert sessions(connection, "session_id, user_id") == [("1", "ann"), ("1", None)]


def test_who_removes_a_session_removes_what_belongs_to_it(connection: Connection):
    turn(connection, "a", 0, session_id="1", user_id="ann")
    turn(connection, "b", 0, session_id="1", user_id="ben")
    connection.execute("update conversation_sessions set legal_hold = true where user_id = 'ben'")
    with signed_in(connection, "authenticated", {"sub": "ann"}):
        connection.execute("delete from conversation_sessions where true")
        connection.execute("reset role")
        assert connection.execute("select user_id from conversation_runs").fetchall() == [("ben",)]
        assert connection.execute("select distinct user_id from conversation_messages").fetchall() == [("ben",)]
    with pytest.raises(psycopg.errors.RestrictViolation, match="legal hold"):
        connection.execute("delete from conversation_sessions")


def test_a_signed_in_user_begins_and_drives_a_session_of_their_own(connection: Connection):
    claims = {"sub": "ann", "app_metadata": {"tenant_id": "acme"}}
    with signed_in(connection, "authenticated", claims):
        made = begin(connection, title="Soup")
        assert one(
            connection, "select session_id, user_id, tenant_id from conversation_sessions where id = %s", made
        ) == (str(made), "ann", "acme")
        connection.execute("update conversation_sessions set state = 'gathering', is_archived = true")
        connection.execute("select cancel_conversation_session(%s)", [made])
        for column, value in (("user_id", "'ben'"), ("system_prompt", "'x'"), ("legal_hold", "true")):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"update conversation_sessions set {column} = {value}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            begin(connection, user_id="ben")
    turn(connection, "b", 0, session_id="1", user_id="ben", tenant_id="acme")
    ben = one(connection, "select id from conversation_sessions where user_id = 'ben'")
    with signed_in(connection, "authenticated", claims):
        assert sessions(connection, "session_id, user_id") == []
        assert connection.execute("select * from get_conversation_history(%s)", [ben]).fetchall() == []
        with pytest.raises(psycopg.errors.NoDataFound), connection.transaction():
            connection.execute("select complete_conversation_session(%s)", [ben])
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("select get_session_cost(%s)", [ben])
