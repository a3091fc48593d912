"""A message that the application writes and a run tells of, too, is stored once: whichever comes first."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import orjson
import pytest
from read_rows import at, ident, ingest, message, run, span

from chopsky_trace.database.connect import Connection
from chopsky_trace.records import content_id

Event = tuple[str, Any]


def body(role: str, content: Any) -> str:
    return content_id(orjson.dumps([role, content, [], "", ""]))


def said(connection: Connection, session: str, role: str, content: str, second: float, **columns: Any) -> None:
    """As an application writes it: a plain INSERT."""
    values = {"session_id": session, "user_id": "ann", "role": role, "content": content, "created_at": at(second)}
    values |= columns
    connection.execute(
        f"insert into conversation_messages ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})".encode(),
        list(values.values()),
    )


def told(
    connection: Connection, session: str, name: str, second: float, /, *parts: tuple[str, str, float], **more: Any
):
    """As a writer does it: a run of two seconds and the messages that it owns."""
    rows: list[dict[str, Any]] = []
    for n, (role, content, after) in enumerate(parts):
        columns: dict[str, Any] = {"id": ident(name, n), "body_id": body(role, content), "content": content} | more
        rows.append(message(name, content, role, second + after, **columns))
    ended = {"ended_at": at(second + 2)}
    scope = {"session_id": session, "user_id": "ann", "project": "p"}
    ingest(
        connection,
        span(name, name, second=second, **ended),
        *rows,
        runs=[run(name, started_at=at(second), **scope)],
    )


def stored(connection: Connection, session: str) -> list[tuple[Any, ...]]:
    """Role, text, the run that has it, and the application's own row that gave way to it."""
    return connection.execute(
        "select m.role, m.content, coalesce(m.said ->> 'created_at', '') <> '' as is_said,"
        " m.conversation_run_id is not null as is_told, (m.said ->> 'created_at')::timestamptz, m.created_at"
        " from conversation_messages m where m.session_id = %s and not m.is_history"
        " order by m.created_at, m.content, m.role, 5",
        [session],
    ).fetchall()


def all_orders(connection: Connection, events: list[Event]) -> list[list[tuple[Any, ...]]]:
    """What is stored after these events in many orders, each in a session of its own."""
    found: list[list[tuple[Any, ...]]] = []
    every = list(permutations(events))
    for n, order in enumerate(every[:: max(1, len(every) // 24)]):
        session = f"s{n}"
        for kind, arguments in order:
            if kind == "said":
                said(connection, session, *arguments)
            else:
                name, second, *parts = arguments
                told(connection, session, f"{session} {name}", second, *parts)
        found.append(stored(connection, session))
    return found


def test_each_message_is_stored_once_in_any_order(connection: Connection):
    found = all_orders(
        connection,
        [
            ("said", ("user", "Is there soup?", -0.5)),
            ("told", ("a", 0, ("user", "Is there soup?", 0.0), ("assistant", "Yes.", 1.5))),
            ("said", ("assistant", "Yes.", 2.1)),
            ("said", ("assistant", "Anything else?", 3)),
        ],
    )
    rows = [row[:4] for row in found[0]]
    assert rows == [
        ("user", "Is there soup?", True, True),
        ("assistant", "Yes.", True, True),
        ("assistant", "Anything else?", False, False),
    ]
    assert all(one == found[0] for one in found)


def test_a_genuine_repeat_stays_two_in_any_order(connection: Connection):
    """Each "yes" finds its own run, by time; one that no run tells of, and one that nobody wrote, stay."""
    found = all_orders(
        connection,
        [
            ("said", ("user", "yes", 0)),
            ("said", ("user", "yes", 9.9)),
            ("told", ("a", 10, ("user", "yes", 0.0))),
            ("told", ("b", 20, ("user", "yes", 0.0))),
            ("said", ("user", "yes", 22.1)),
        ],
    )
    assert [row[2:4] for row in found[0]] == [(False, False), (True, True), (True, True)]
    assert [str(row[4])[17:21] for row in found[0][1:]] == ["09.9", "22.1"]
    assert all(one == found[0] for one in found)


def test_what_was_said_long_after_is_another_message(connection: Connection):
    found = all_orders(connection, [("said", ("user", "yes", 1_000)), ("told", ("a", 0, ("user", "yes", 0.0)))])
    assert [[row[2:4] for row in one] for one in found] == [[(False, True), (False, False)]] * 2


@pytest.mark.parametrize("first", ["said", "told"])
def test_a_text_and_the_same_text_in_parts_are_one(connection: Connection, first: str):
    """Providers answer in blocks; an application writes what it shows."""
    blocks = [{"type": "text", "text": "Soup."}]

    def tell() -> None:
        told(
            connection, "s", "a", 0, ("assistant", "Soup.", 1.0),
            body_id=body("assistant", blocks), parts=blocks,
        )  # fmt: skip

    def say() -> None:
        said(connection, "s", "assistant", "Soup.", 2.1)

    for step in (tell, say) if first == "told" else (say, tell):
        step()
    assert [row[:4] for row in stored(connection, "s")] == [("assistant", "Soup.", True, True)]


@pytest.mark.parametrize("first", ["said", "told"])
def test_what_a_prompt_repeats_of_it_is_no_message_more(connection: Connection, first: str):
    greeting = message(
        "a", "Welcome!", "assistant", 0, id=ident("history"), body_id=body("assistant", "Welcome!"), is_history=True
    )  # fmt: skip

    def tell() -> None:
        rows = [greeting, message("a", "Hi", "user", 0.5, body_id=body("user", "Hi"))]
        ingest(
            connection,
            span("a", "a"),
            *rows,
            runs=[run("a", session_id="s", user_id="ann", project="p")],
        )

    def say() -> None:
        said(connection, "s", "assistant", "Welcome!", -60)

    for step in (tell, say) if first == "told" else (say, tell):
        step()
    rows = connection.execute("select content, sequence from conversation_messages order by created_at").fetchall()
    assert rows == [("Welcome!", None), ("Hi", 1)]
    total = connection.execute("select total_messages from conversation_runs").fetchone()
    assert total == (1,)


def test_the_applications_row_comes_back_as_it_was(connection: Connection):
    """When another tells of the call and the run's row goes, or the run turns out to be another session's."""
    said(connection, "s", "user", "Hi", 0, metadata='{"from": "web", "none": null}', name="Ann", cost="0.5")
    before = connection.execute("select to_jsonb(m) - 'session_key' from conversation_messages m").fetchone()
    assert before is not None
    body_id = content_id(orjson.dumps(["user", "Hi", [], "", "Ann"]))
    told(connection, "s", "a", 0, ("user", "Hi", 0.1), body_id=body_id, name="Ann")
    assert [row[2:4] for row in stored(connection, "s")] == [(True, True)]
    seen = connection.execute("select session_id, user_id from conversation_sessions").fetchall()
    assert seen == [("s", "ann")]
    connection.execute("update conversation_runs set user_id = 'ben'")
    rows = connection.execute(
        "select to_jsonb(m) - 'session_key' from conversation_messages m where m.user_id = 'ann'"
    ).fetchall()
    assert rows == [before]
    assert [row[2:4] for row in stored(connection, "s")] == [(False, False), (False, True)]
    # Home again, they meet again.
    connection.execute("update conversation_runs set user_id = 'ann'")
    assert [row[2:4] for row in stored(connection, "s")] == [(True, True)]


@pytest.mark.parametrize("internal_first", [True, False])
def test_what_the_application_shows_gives_way_to_what_is_shown(connection: Connection, internal_first: bool):
    """A step of an agent says it before the agent itself does: until then it is not the user's."""
    parts = ("assistant", "A thought", 1.0)
    shown = "select is_internal, said is not null from conversation_messages order by 1, 2"
    if internal_first:
        told(connection, "s", "a", 0, parts, is_internal=True)
    said(connection, "s", "assistant", "A thought", 1.5)
    if internal_first:
        assert connection.execute(shown).fetchall() == [(False, False), (True, False)]
    told(connection, "s", "a", 0, parts)
    assert connection.execute(shown).fetchall() == [(False, True)]


def test_a_run_goes_with_what_was_said_of_it_and_a_session_takes_it_along(connection: Connection):
    said(connection, "s", "user", "Hi", 0)
    told(connection, "s", "a", 0, ("user", "Hi", 0.1))
    connection.execute("update conversation_sessions set session_id = 'renamed'")
    assert [row[2:4] for row in stored(connection, "renamed")] == [(True, True)]
    connection.execute("delete from conversation_runs")
    assert stored(connection, "renamed") == []
    assert connection.execute("select count(*) from conversation_messages").fetchone() == (0,)


def test_equal_words_of_others_are_others(connection: Connection):
    said(connection, "s", "user", "Hi", 0, user_id="ben")
    said(connection, "s", "assistant", "Hi", 0)
    told(connection, "s", "a", 0, ("user", "Hi", 0.1))
    assert [row[2:4] for row in stored(connection, "s")] == [(False, False), (False, False), (False, True)]


def test_the_body_id_of_a_text_is_the_sources(connection: Connection):
    for content in ("", "Hi", 'a "quoted" \\ back', "tab\tnewline\nnull-ish\x01\x1f\x7f", "ü日本🎉  / </script>"):
        for role, name in (("user", "Ann"), ("user", None), ("assistant", "Bot"), ("tool", None)):
            row = connection.execute(
                "select chopsky_text_body_id(%s, %s, %s, %s)", [role, content, "c1" if role == "tool" else None, name]
            ).fetchone()
            core = [role, content, [], "c1" if role == "tool" else "", "" if role == "assistant" else name or ""]
            assert row is not None
            assert row[0].hex == content_id(orjson.dumps(core))


def test_a_batch_by_copy_looks_for_what_was_said(connection: Connection):
    """Of a run that is alone in its session nobody is asked; an application's messages are company."""
    opened = "select is_alone from chopsky_open_runs(json_build_array(json_build_object('id', %s::text,"
    opened += " 'session_id', 's', 'user_id', 'ann')))"
    with connection.transaction(force_rollback=True):
        assert connection.execute(opened.encode(), [ident("a")]).fetchone() == (True,)
    said(connection, "s", "user", "Hi", 0)
    with connection.transaction(force_rollback=True):
        assert connection.execute(opened.encode(), [ident("a")]).fetchone() == (False,)


def test_two_writers_at_once_leave_one_message(connection: Connection, database_url: str):
    """The application writes while a batch that tells of the same message is under way, and the other way round."""
    import threading

    import psycopg

    for n in range(2):
        session = f"s{n}"
        done = threading.Event()
        with psycopg.connect(database_url, autocommit=True) as other:

            def write(into: Connection = other, name: str = session, end: threading.Event = done, n: int = n) -> None:
                if n == 0:
                    said(into, name, "user", "Hi", 0)
                else:
                    told(into, name, f"{name} a", 0, ("user", "Hi", 0.1))
                end.set()

            with connection.transaction():
                if n == 0:
                    told(connection, session, f"{session} a", 0, ("user", "Hi", 0.1))
                else:
                    said(connection, session, "user", "Hi", 0)
                writer = threading.Thread(target=write)
                writer.start()
                # It waits for a lock, seen by the server; nothing of it is there yet.
                waiting = "select count(*) from pg_locks where not granted and locktype = 'advisory'"
                while connection.execute(waiting.encode()).fetchone() == (0,):
                    assert not done.is_set()
            writer.join()
        assert [row[2:4] for row in stored(connection, session)] == [(True, True)]
