"""The API of a `serve` that runs: who reads what, page by page."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import psycopg
import pytest
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator
from read_rows import agent_turn, ident
from server.api_requests import (
    ADMIN,
    ANN,
    BEN,
    EVE,
    INGEST,
    ORIGIN,
    READ,
    SECRET,
    bearer,
    matches,
    problem,
    said,
    turn,
    user,
)  # fmt: skip
from server.test_serve import genai_request

from chopsky_trace.cli import main
from chopsky_trace.database.connect import Connection


def pages(client: httpx.Client, path: str, key: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """Page after page, by each one's cursor."""
    after: dict[str, str] = {}
    while True:
        answered = client.get(path, params=query | after).raise_for_status().json()
        yield answered[key]
        if answered["next"] is None:
            return
        after = {"after": answered["next"]}


def begin(connection: Connection, **values: Any) -> UUID:
    names = ", ".join(values)
    found = connection.execute(
        f"insert into conversation_sessions ({names}) values ({', '.join(['%s'] * len(values))}) returning id".encode(),
        list(values.values()),
    ).fetchone()
    assert found is not None
    return found[0]


def say(connection: Connection, session_id: str, content: str, **values: Any) -> None:
    columns = {"session_id": session_id, "role": "user", "content": content} | values
    marks = ", ".join(["%s"] * len(columns))
    insert = f"insert into conversation_messages ({', '.join(columns)}) values ({marks})"
    connection.execute(insert.encode(), list(columns.values()))


def test_the_document_is_valid(client: httpx.Client):
    told = client.get("/openapi.json").raise_for_status().json()
    OpenAPIV31SpecValidator(told).validate()
    assert set(told["paths"]) == {
        "/conversations", "/conversations/{id}", "/conversations/{id}/export", "/conversations/{id}/clear", "/runs",
        "/runs/{id}", "/stats", "/feedback", "/feedback/{id}", "/conversations/{id}/feedback",
    }  # fmt: skip
    given = told["paths"]["/feedback"]["post"]
    taken = given["requestBody"]["content"]["application/json"]["schema"]
    assert taken == {"$ref": "#/components/schemas/FeedbackGiven"}
    assert {"404", "413", "415"} <= given["responses"].keys()


@pytest.mark.parametrize(
    ("token", "reads", "clears", "sends"),
    [(READ, 200, 403, 401), (ADMIN, 200, 200, 200), (INGEST, 403, 403, 200), ("unknown-token-here", 401, 401, 401)],
)
def test_scopes(client: httpx.Client, connection: Connection, token: str, reads: int, clears: int, sends: int):
    turn(connection, "a", session_id="s", user_id=ANN)
    client.headers.update(bearer(token))
    paths = ("/conversations", "/conversations/s", "/conversations/s/export", "/runs", f"/runs/{ident('a')}", "/stats")
    assert [client.get(path).status_code for path in paths] == [reads] * len(paths)
    assert client.post("/conversations/s/clear").status_code == clears
    # Nothing in it, so that nothing lands among the next test's rows.
    sent = client.post("/v1/traces", content=b"", headers={"Content-Type": "application/x-protobuf"})
    assert sent.status_code == sends


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_nobody_reads_without_a_valid_token(client: httpx.Client):
    good = jwt.decode(user(ANN), SECRET, ["HS256"], audience="authenticated")
    without_sub = {name: value for name, value in good.items() if name != "sub"}
    bad = {
        "no token": None,
        "expired": user(ANN, exp=1_700_000_000),
        "another secret": jwt.encode(good, "another-secret-that-is-long-enough!", "HS256"),
        "another audience": user(ANN, aud="anybody"),
        "no signature": jwt.encode(good, None, "none"),
        "nobody's": jwt.encode(without_sub, SECRET, "HS256"),
        "another algorithm": jwt.encode(good, SECRET * 2, "HS512"),
        "cut off": user(ANN)[:-4],
        "no token at all": "a.b.c",
        "a header without a bottom": encoded('{"alg": ' + "[" * 20_000) + ".e30.x",
        "an empty name": user(""),
        "NUL": user("a\0b"),
        "NUL deeper": user(ANN, user_metadata={"a": [{"b\0": 1}]}),
        "half a character": user("\ud800"),
        "no number": user(ANN, user_metadata={"a": float("nan")}),
    }
    for why, token in bad.items():
        answered = client.get("/conversations", headers={} if token is None else bearer(token))
        status, detail = problem(answered)
        assert (status, answered.headers["www-authenticate"]) == (401, "Bearer"), why
        assert token is None or token not in detail
    fine = user(ANN, user_metadata={"a": "\\u0000, which is no NUL"})
    assert client.get("/conversations", headers=bearer(fine)).status_code == 200
    basic = client.get("/conversations", headers={"Authorization": f"Basic {READ}"})
    assert problem(basic)[0] == 401
    for role in ("anon", "service_role", None):
        token = jwt.encode(good | {"role": role}, SECRET, "HS256")
        assert problem(client.get("/conversations", headers=bearer(token)))[0] == 403


def test_users_see_what_is_theirs(client: httpx.Client, connection: Connection):
    turn(connection, "a", 0, session_id="shared-name", user_id=ANN, tenant_id="acme", project="p")
    turn(connection, "b", 1, session_id="shared-name", user_id=BEN, tenant_id="acme", project="p")
    turn(connection, "c", 2, session_id="elsewhere", user_id=ANN, tenant_id="other")
    turn(connection, "d", 3, session_id="nobodys")
    asked = {
        "ann": user(ANN, "acme"), "ben": user(BEN, "acme"), "admin": user("boss", "acme", "admin"),
        "eve": user(EVE, "acme"),
    }  # fmt: skip
    seen = {"ann": ["a"], "ben": ["b"], "admin": ["b", "a"], "eve": []}
    for who, token in asked.items():
        as_user = bearer(token)
        runs = matches("Runs", client.get("/runs", headers=as_user))["runs"]
        assert sorted(one["id"] for one in runs) == sorted(ident(name) for name in seen[who]), who
        found = matches("Conversations", client.get("/conversations", headers=as_user))["conversations"]
        owners = {"a": ANN, "b": BEN}
        assert [one["user_id"] for one in found] == [owners[name] for name in seen[who]]
        assert matches("Stats", client.get("/stats", headers=as_user))["total_conversations"] == len(seen[who])
        for name in "abcd":
            answered = client.get(f"/runs/{ident(name)}", headers=as_user)
            assert answered.status_code == (200 if name in seen[who] else 404)
    as_ann = bearer(asked["ann"])
    page = matches("ConversationPage", client.get("/conversations/shared-name", headers=as_ann))
    assert said(page) == ["a asks", "a hears"]
    assert said(matches("RunPage", client.get(f"/runs/{ident('a')}", headers=as_ann))) == ["a asks", "a hears"]
    internal = client.get("/conversations/shared-name", params={"internal": "true"}, headers=as_ann)
    assert said(matches("ConversationPage", internal)) == ["a asks", "a hears"]
    assert problem(client.get("/conversations/elsewhere", headers=as_ann))[0] == 404
    assert problem(client.get("/conversations/nobodys", headers=as_ann))[0] == 404
    assert problem(client.get("/conversations/shared-name", headers=bearer(asked["admin"])))[0] == 409
    one = client.get("/conversations/shared-name", params={"user": BEN}, headers=bearer(asked["admin"]))
    assert said(matches("ConversationPage", one)) == ["b asks", "b hears"]
    asking_for_bens = client.get("/conversations", params={"user": BEN}, headers=as_ann)
    assert asking_for_bens.json()["conversations"] == []


def test_a_user_reads_no_costs(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    found = [
        client.get(path, headers=bearer(token)).raise_for_status().text
        for token in (user(ANN), READ)
        for path in ("/conversations", "/conversations/s", "/runs", f"/runs/{ident('a')}", "/conversations/s/export")
    ]
    assert not any(word in text for text in found[:5] for word in ("cost", "0.000123", "is told", "tool_calls"))
    assert ["0.000123" in text for text in found[5:]] == [True, True, True, True, False]


def test_costs_come_and_go_with_the_grant(client: httpx.Client, connection: Connection, database_url: str):
    for name, owner in (("a", ANN), ("b", BEN)):
        turn(connection, name, session_id=name, user_id=owner, tenant_id="acme")
    say(connection, "a", "by hand", user_id=ANN, tenant_id="acme", token_count=3, cost="0.5")
    costs = {"total_cost", "total_tokens_used", "unpriced_calls", "unmeasured_calls"}

    def seen(token: str) -> list[Any]:
        client.headers.update(bearer(token))
        (run,) = matches("Runs", client.get("/runs", params={"user": ANN}))["runs"]
        page = matches("RunPage", client.get(f"/runs/{ident('a')}"))
        (listed,) = matches("Conversations", client.get("/conversations", params={"user": ANN}))["conversations"]
        whole = matches("ConversationPage", client.get("/conversations/a"))
        matches("Export", client.get("/conversations/a/export"))
        rows = (run, page["run"], listed, whole["conversation"])
        assert all(costs <= row.keys() or not costs & row.keys() for row in rows)
        found = [*page["messages"], *whole["messages"]]
        assert all(("token_count" in one) == ("model" in one) == ("cost" in one) for one in found)
        told = [[row.get("total_cost", -1) for row in rows], [one.get("cost", -1) for one in found]]
        return [[one and float(one) for one in part] for part in told]

    def switch(to: str) -> None:
        done = CliRunner().invoke(main, ["costs", to, "--database-url", database_url])
        assert done.exit_code == 0, done.output

    hidden = [[-1.0] * 4, [-1.0] * 5]
    shown = [[0.000123, 0.000123, 0.500123, 0.500123], [None, 0.000123, None, 0.000123, 0.5]]
    ann, boss = user(ANN, "acme"), user("boss", "acme", "admin")
    try:
        for to, expected in (("off", hidden), ("on", shown), ("off", hidden), ("on", shown)):
            switch(to)
            assert seen(ann) == seen(boss) == expected, to
            assert problem(client.get("/conversations/b", headers=bearer(ann)))[0] == 404
            assert matches("Runs", client.get("/runs", params={"user": BEN}, headers=bearer(ann)))["runs"] == []
        # A grant on some of a table's columns only: the rest of them is not asked for either, and nothing fails.
        connection.execute("revoke select (unpriced_calls) on conversation_runs from authenticated")
        assert seen(ann) == [hidden[0], shown[1]]
    finally:
        switch("off")


def test_how_long_conversations_are_kept(client: httpx.Client, connection: Connection):
    def told(token: str) -> Any:
        return matches("Stats", client.get("/stats", headers=bearer(token)))["ttl_hours"]

    askers = (READ, user(ANN), user(ANN, "acme"))
    assert [told(token) for token in askers] == [None] * 3
    connection.execute(
        "insert into retention_policies (what, tenant_id, keep_for) values"
        " ('sessions', null, '1 day'), ('sessions', 'acme', '90 minutes'), ('runs', null, '1 hour')"
    )
    assert [told(token) for token in askers] == [24, 24, 1.5]
    connection.execute("update retention_policies set keep_for = null where tenant_id = 'acme'")
    assert [told(token) for token in askers] == [24, 24, None]


def test_answers_are_as_the_document_says(reader: httpx.Client, connection: Connection):
    agent_turn(connection, session_id="s", user_id=ANN, project="p")
    begin(connection, session_id="mine", user_id=ANN, title="T", metadata=json.dumps({"a": [1]}), temperature="0.5")
    say(connection, "mine", "hello")
    matches("Conversations", reader.get("/conversations"))
    for name in ("s", "mine"):
        matches("ConversationPage", reader.get(f"/conversations/{name}", params={"internal": "true"}))
        matches("Export", reader.get(f"/conversations/{name}/export"))
    matches("Runs", reader.get("/runs"))
    for view in ("all", "messages", "tree"):
        matches("RunPage", reader.get(f"/runs/{ident('turn')}", params={"view": view}))
    assert matches("Stats", reader.get("/stats")) == {
        "total_conversations": 2, "total_messages": 3, "expired_conversations": 0, "ttl_hours": None,
    }  # fmt: skip
    cleared = reader.post("/conversations/mine/clear", headers=bearer(ADMIN))
    assert matches("Cleared", cleared) == {"conversation_id": "mine", "messages": 1}


def test_runs_are_as_the_command_line_has_them(reader: httpx.Client, connection: Connection, database_url: str):
    agent_turn(connection, session_id="s", user_id=ANN, project="p")
    turn(connection, "b", 60, session_id="s", user_id=ANN)

    def told(*arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(main, [*arguments, "--json", "--database-url", database_url])
        return json.loads(done.stdout)

    assert reader.get("/runs").json() == told("runs")
    assert reader.get(f"/runs/{ident('turn')}").json() == told("show", ident("turn"))
    assert reader.get(f"/runs/{ident('turn')}", params={"view": "tree"}).json() == told("show", ident("turn"), "--tree")
    first = reader.get(f"/runs/{ident('turn')}", params={"limit": 1}).json()
    later = {"after_message": first["next_messages"], "after_span": first["next_spans"], "limit": 1}
    second = reader.get(f"/runs/{ident('turn')}", params=later).json()
    assert [*first["messages"], *second["messages"]] == reader.get(f"/runs/{ident('turn')}").json()["messages"]
    assert first["spans"][0]["id"] == second["spans"][0]["parent_span_id"]


def test_filters(reader: httpx.Client, connection: Connection):
    turn(connection, "a", 0, session_id="1", user_id=ANN, tenant_id="acme", project="p")
    turn(connection, "b", 100, session_id="2", user_id=BEN, project="q")
    begin(connection, session_id="3", user_id=BEN, state="planning", is_archived=True)

    def names(**query: str) -> list[str]:
        return [one["session_id"] for one in reader.get("/conversations", params=query).json()["conversations"]]

    assert names() == ["3", "2", "1"]
    assert names(user=BEN) == ["3", "2"]
    assert names(tenant="acme") == names(project="p") == ["1"]
    assert names(state="planning") == names(archived="true") == ["3"]
    assert names(archived="false") == ["2", "1"]
    assert names(since="2026-03-01T12:01:00Z") == names(since="2026-03-01T13:01:00+01:00") == ["3", "2"]
    # As on the command line: how long ago.
    assert names(since="90000d") == ["3", "2", "1"]
    assert names(since="1s", user=ANN) == []
    for query in ({"session": "2"}, {"user": BEN}, {"project": "q"}, {"since": "2026-03-01T12:01:00Z"}):
        assert [one["id"] for one in reader.get("/runs", params=query).json()["runs"]] == [ident("b")]
    assert reader.get("/runs", params={"status": "failed"}).json()["runs"] == []


@pytest.mark.parametrize(("path", "key"), [("/conversations", "conversations"), ("/runs", "runs")])
@pytest.mark.parametrize("token", [READ, user(ANN)])
def test_pages_while_others_write(client: httpx.Client, database_url: str, path: str, key: str, token: str):
    client.headers.update(bearer(token))
    with psycopg.connect(database_url, autocommit=True) as connection:
        for number in range(23):
            turn(connection, f"before {number}", number // 3, session_id=f"s{number}", user_id=ANN)
        before = {one["id"] for page in pages(client, path, key, limit=200) for one in page}
        found: list[str] = []
        for count, page in enumerate(pages(client, path, key, limit=5)):
            found += [one["id"] for one in page]
            turn(connection, f"meanwhile {count}", 1_000 + count, session_id=f"m{count}", user_id=ANN)
    assert len(before) == 23
    assert len(found) == len(set(found))
    assert before == set(found)


def test_a_transcript_page_by_page(reader: httpx.Client, connection: Connection):
    for number in range(4):
        turn(connection, f"t{number}", number * 100, session_id="s", user_id=ANN)
    for number in range(7):
        # Between the runs, two of them at one moment.
        say(connection, "s", f"by hand {number}", created_at=f"2026-03-01T12:0{number // 2}:30Z")
    found = connection.execute(
        "select content from get_conversation_history(conversation_session_id('s'), 100)"
    ).fetchall()
    whole = [content for (content,) in found]
    assert len(whole) == 15
    latest = reader.get("/conversations/s").json()
    assert sorted(said(latest)) == sorted(whole[-10:])
    assert latest["conversation"]["total_messages"] == 15
    assert latest["conversation"]["total_runs"] == 4
    gathered: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = reader.get("/conversations/s", params={"limit": 2} | before).json()
        gathered = said(page) + gathered
        if page["previous"] is None:
            break
        before = {"before": page["previous"]}
    exported = said(matches("Export", reader.get("/conversations/s/export")))
    everything = said(reader.get("/conversations/s", params={"limit": 1000}).json())
    assert gathered == exported == everything
    assert sorted(gathered) == sorted(whole)
    asked = [content for content in gathered if "asks" in content or "hears" in content]
    assert asked == [f"t{number} {verb}" for number in range(4) for verb in ("asks", "hears")]


def test_a_long_export_comes_in_pieces(reader: httpx.Client, connection: Connection):
    id = begin(connection, session_id="long", user_id=ANN)
    connection.execute(
        "insert into conversation_messages (session_id, user_id, role, content, metadata, created_at)"
        " select 'long', %s, 'user', n::text, jsonb_build_object('n', n), timestamptz '2026-01-01' + n * interval '1 s'"
        " from generate_series(1, 1203) n",
        [ANN],
    )
    for token in (READ, user(ANN)):
        answered = reader.get(f"/conversations/{id}/export", headers=bearer(token))
        assert said(matches("Export", answered)) == [str(number) for number in range(1, 1204)]
    assert reader.get("/conversations/long/export").json()["messages"][2]["metadata"] == {"n": 3}
    assert "metadata" not in answered.json()["messages"][2]


def test_clearing(client: httpx.Client, connection: Connection):
    for name, owner in (("a", ANN), ("b", BEN)):
        turn(connection, name, session_id=name, user_id=owner, tenant_id="acme")
        say(connection, name, "by hand", user_id=owner, tenant_id="acme")
    as_ann, as_boss = bearer(user(ANN, "acme")), bearer(user("boss", "acme", "admin"))
    for headers in (as_ann, as_boss):
        # Who may read a tenant may not clear what is others'.
        assert problem(client.post("/conversations/b/clear", headers=headers))[0] == 404
    strangers = (user(BEN, "acme"), user(ANN, "other"), user(EVE))
    for token in strangers:
        for path in ("/conversations/a/export", "/conversations/a/feedback"):
            assert problem(client.get(path, headers=bearer(token)))[0] == 404
        assert problem(client.post("/conversations/a/clear", headers=bearer(token)))[0] == 404
    assert said(client.get("/conversations/a/export", headers=as_boss).json()) == ["a asks", "a hears", "by hand"]
    cleared = client.post("/conversations/a/clear", headers=as_ann)
    assert matches("Cleared", cleared) == {"conversation_id": "a", "messages": 4}
    assert said(matches("ConversationPage", client.get("/conversations/a", headers=as_ann))) == []
    assert said(client.get("/conversations/b", headers=bearer(READ)).json()) == ["b asks", "b hears", "by hand"]
    assert connection.execute("select count(*) from conversation_runs").fetchone() == (1,)
    connection.execute("update conversation_sessions set legal_hold = true")
    assert problem(client.post("/conversations/b/clear", headers=bearer(ADMIN)))[0] == 409
    assert len(client.get("/conversations/b", headers=bearer(READ)).json()["messages"]) == 3


def test_ids_that_are_none(reader: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="with/slash and ü?", user_id=ANN)
    turn(connection, "b", session_id="same", user_id=ANN)
    turn(connection, "c", session_id="same", user_id=BEN)
    found = reader.get("/conversations/with%2Fslash%20and%20%C3%BC%3F").json()["conversation"]
    for id in (found["id"], found["id"].upper(), found["session_key"]):
        assert reader.get(f"/conversations/{id}").json()["conversation"] == found
    for path in ("/conversations/x/feedback", "/conversations/nothing", f"/conversations/{uuid4()}",
                 "/conversations/%00", "/conversations/%FF",
                 f"/conversations/{'x' * 5000}", f"/conversations/{uuid4()}/export", "/runs/nothing",
                 f"/runs/{uuid4()}", "/runs/a'--", "/nothing", "/"):  # fmt: skip
        assert problem(reader.get(path))[0] == 404, path
    status, detail = problem(reader.get("/conversations/same"))
    assert (status, detail.count("-")) == (409, 8)
    assert said(reader.get("/conversations/same", params={"user": BEN}).json()) == ["c asks", "c hears"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=99999999999999999999", "limit=-1", "limit=%D9%A3", "limit=", "limit=5&limit=6",
     "limits=5", "state=happy", "archived=1", "since=yesterday", "since=999999w",
     "since=2026-01-01T00:00:00", "after=x", "after=%00",
     "after=WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiJd", "after=bnVsbA", f"user={'x' * 1001}", "user=%00"],
)  # fmt: skip
def test_parameters_that_are_none(reader: httpx.Client, query: str):
    status, _ = problem(reader.get(f"/conversations?{query}"))
    assert status == 400


def test_methods_and_other_origins(reader: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    for path in ("/conversations", "/conversations/s", "/conversations/s/export", "/runs", "/stats", "/openapi.json"):
        head = reader.head(path)
        assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/json")
    assert problem(reader.post("/conversations"))[0] == 405
    assert problem(reader.get("/conversations/s/clear"))[0] == 404
    assert problem(reader.options("/conversations"))[0] == 405
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for origin, allowed in ((ORIGIN, ORIGIN), ("https://evil.example", None)):
        preflight = reader.options("/conversations", headers=asked | {"Origin": origin})
        assert preflight.headers.get("access-control-allow-origin") == allowed
        answered = reader.get("/conversations", headers={"Origin": origin})
        assert answered.headers.get("access-control-allow-origin") == allowed
    refused = reader.get("/conversations", headers={"Origin": ORIGIN} | bearer("unknown-token-here"))
    assert refused.headers.get("access-control-allow-origin") == ORIGIN


def test_a_database_that_waits_holds_up_no_sender(reader: httpx.Client, connection: Connection):
    answered: list[int] = []

    def ask() -> None:
        answered.append(reader.get("/conversations").status_code)

    askers = [threading.Thread(target=ask) for _ in range(12)]
    with connection.transaction():
        connection.execute("lock table conversation_sessions in access exclusive mode")
        for asker in askers:
            asker.start()
        for _ in range(5):
            headers = {"Content-Type": "application/x-protobuf"} | bearer(ADMIN)
            sent = reader.post("/v1/traces", content=genai_request(uuid4().bytes), headers=headers)
            assert sent.status_code == 200
        assert reader.get("/health").status_code == 200
        for asker in askers:
            asker.join(60)
    assert answered == [503] * 12
    deadline = time.monotonic() + 60
    while connection.execute("select count(*) from conversation_runs").fetchone() != (5,):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert reader.get("/conversations").status_code == 200
