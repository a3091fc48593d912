"""Writers, people and housekeeping at once, on the same sessions: nobody is thrown out, and every number is exact."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import orjson
import psycopg
import writer_records as records
from retained import findings

from chopsky_trace.database.connect import Connection
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

WRITERS, TURNS = 4, 16
GONE, NO_SESSION, NOBODYS, BUSY = "23503", "P0002", "42501", "55P03"
USERS, SESSIONS = ("ann", "ben", "cid"), ("s1", "s2", "s3")
USAGE = {"usage_metadata": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}}


def connect(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True, prepare_threshold=None)


def said(role: str, text: str) -> dict[str, Any]:
    core = [role, text, [], "", ""]
    return {"id": hashlib.sha256(orjson.dumps(core)).hexdigest()[:32], "core": core}


def turn(name: str, teller: int, scope: dict[str, str]) -> list[bytes]:
    """A run's records as one of several processes tells them: its own call in a run that they share."""
    asked, heard = said("user", f"{name} asks"), said("assistant", f"{name} {teller} hears")
    of_run = {"run": records.span_id(name), "scope": scope}
    model = {"kind": "llm", "provider": "openai", "model": "gpt-4o-mini", "parent": records.span_id(name)}
    mine = {"body": asked["id"], "place": "own", "n": 0, "position": 0, "internal": False}
    out = {"body": heard["id"], "place": "out", "n": 0, "position": 0, "internal": False}
    return [
        records.start(name, scope=scope),
        records.start(f"{name} call {teller}", bodies=[asked], messages=[mine], **of_run, **model),
        records.end(f"{name} call {teller}", bodies=[heard], messages=[out], usage=USAGE, **of_run, **model),
        records.end(name),
    ]


class Crowd:
    """Everybody who is at the tables, each on a thread and a connection of their own."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings
        self.failed: Counter[tuple[str, str]] = Counter()
        """Who was thrown out, and by which SQLSTATE."""
        self.stop = threading.Event()

    def write(self, number: int) -> dict[str, int]:
        """A process that tells of runs of all sessions, half of them told by another process, too."""
        mine = replace(self.settings, data_dir=self.settings.data_dir / str(number))
        writer = Writer(Target(self.url, "test"), mine)
        chance = random.Random(number)
        try:
            for at in range(TURNS):
                teller = number if at % 2 else number // 2
                name, user, session = f"run {teller} {at}", USERS[at % 3], SESSIONS[at // 3 % 3]
                scope = {"user_id": user, "session_id": session}
                for line in turn(name, number, scope):
                    assert writer.put(line)
                about = {"v": 1, "t": "feedback", "id": hashlib.md5(name.encode()).hexdigest(), "user": user}
                rating = {"seen": 1, "about": records.span_id(name), "key": "user_satisfaction", "score": at % 5 + 1}
                assert writer.put(orjson.dumps(about | rating))
                if chance.random() < 0.2:
                    assert writer.flush(60)
            assert writer.flush(120)
            return writer.stats()["losses"]
        finally:
            writer.close(5)

    def go_on(self, who: str, do: Callable[[Connection, random.Random], object], most: int) -> None:
        """Does something until the writers are done, at most so often; counts by what it was thrown out."""
        chance = random.Random(who)
        with closing(connect(self.url)) as connection:
            for _ in range(most):
                if self.stop.is_set():
                    return
                try:
                    do(connection, chance)
                except psycopg.Error as error:
                    self.failed[who, error.sqlstate or str(error)] += 1


def as_user(statement: str, **named: object) -> Callable[[Connection, random.Random], object]:
    """A request of a signed-in user, as PostgREST makes it."""

    def ask(connection: Connection, chance: random.Random) -> None:
        user = chance.choice(USERS)
        with connection.transaction():
            claims = json.dumps({"sub": user, "role": "authenticated"})
            connection.execute(
                "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)", [claims]
            )
            values = {"user": user, "session": chance.choice(SESSIONS), "score": chance.randint(1, 5), **named}
            connection.execute(statement.encode(), values)

    return ask


def as_service(statement: str) -> Callable[[Connection, random.Random], object]:
    def ask(connection: Connection, chance: random.Random) -> None:
        connection.execute(
            statement.encode(), {"user": chance.choice(USERS), "session": chance.choice(SESSIONS), "n": chance.random()}
        )

    return ask


SOME_RUN = "(select id from conversation_runs where user_id = %(user)s order by random() limit 1)"
PEOPLE = {
    "removes a conversation": as_user("delete from conversation_sessions where session_id = %(session)s"),
    "empties a conversation": as_user(
        "select clear_conversation_session(id) from conversation_sessions where session_id = %(session)s"
    ),
    "archives all": as_user("update conversation_sessions set is_archived = not is_archived"),
    "drives": as_user(
        "update conversation_sessions set state = 'gathering' where state = 'initial' and session_id = %(session)s"
    ),
    "rates": as_user(
        "select rate_message(m.id, null, %(score)s) from conversation_messages m where m.role = 'assistant'"
        " order by random() limit 1"
    ),
    "rates a run": as_user(
        "insert into conversation_feedback (conversation_run_id, score) select id, %(score)s from conversation_runs"
        " order by random() limit 1 on conflict (target_id, user_id, key) do update set score = excluded.score"
    ),
    "rates again": as_user(
        "update conversation_feedback set score = %(score)s where id in"
        " (select id from conversation_feedback order by random() limit 1)"
    ),
    "takes back": as_user(
        "delete from conversation_feedback where id in (select id from conversation_feedback order by random() limit 1)"
    ),
}
SERVICE = {
    "edits runs": as_service(f"update conversation_runs set environment = %(n)s::text where id in {SOME_RUN}"),
    "removes a run": as_service(f"delete from conversation_runs where id in {SOME_RUN}"),
    "edits a message": as_service(
        "update conversation_messages set token_count = 5 where id in"
        " (select id from conversation_messages order by random() limit 1)"
    ),
    "removes a message": as_service(
        "delete from conversation_messages where id in (select id from conversation_messages order by random() limit 1)"
    ),
    "says in a run": as_service(
        "insert into conversation_messages (conversation_run_id, role, content)"
        f" select id, 'user', 'Hi' from conversation_runs where id in {SOME_RUN}"
    ),
    "says in a session": as_service(
        "insert into conversation_messages (session_id, user_id, role, content)"
        " values (%(session)s, %(user)s, 'user', %(n)s::text)"
    ),
    "makes a run": as_service(
        "insert into conversation_runs (session_id, user_id, status) values (%(session)s, %(user)s, 'completed')"
    ),
    "clears": as_service(
        "select clear_conversation_session(id) from conversation_sessions where session_id = %(session)s limit 1"
    ),
    "prunes": as_service("select chopsky_prune(3, 6, false, interval '10 milliseconds')"),
    "expires": as_service(
        "with x as (select cleanup_expired_conversations()) update conversation_sessions set expires_at = now()"
        " where session_id = %(session)s and user_id = %(user)s"
    ),
    "reaps": as_service("select chopsky_reap('0 s')"),
    "settles": as_service(f"select recompute_runs(array[{SOME_RUN}])"),
    "erases": as_service("select erase_user('cid')"),
}


def test_nobody_is_thrown_out_and_totals_are_exact(
    database_url: str, connection: Connection, tracer_settings: Settings
) -> None:
    def deadlocks() -> int:
        row = connection.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
        assert row is not None
        return int(row[0])

    # What every database has from its migrations.
    connection.execute("insert into chopsky_keys (name) values ('tombstones')")
    crowd, before = Crowd(database_url, tracer_settings), deadlocks()
    rounds = dict.fromkeys(PEOPLE, 40) | dict.fromkeys(SERVICE, 10) | {"erases": 2}
    others = PEOPLE | SERVICE
    with ThreadPoolExecutor(WRITERS + len(others)) as pool:
        writing = [pool.submit(crowd.write, number) for number in range(WRITERS)]
        beside = [pool.submit(crowd.go_on, who, do, rounds[who]) for who, do in others.items()]
        try:
            losses = [done.result() for done in writing]
        finally:
            crowd.stop.set()
        for done in beside:
            done.result()
    assert losses == [{}] * WRITERS
    assert deadlocks() == before
    # Told at most that it has gone, is nobody's by now, or to try again: never that one of two was thrown out.
    assert {state for _, state in crowd.failed} <= {GONE, NO_SESSION, NOBODYS, BUSY}
    # Who only reads, archives or moves a session of their own stands in nobody's way.
    assert not {who for who, state in crowd.failed if state == NOBODYS and "rates" not in who}
    assert findings(connection) == []
