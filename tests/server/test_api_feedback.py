"""Feedback by the API of a `serve` that runs: given, read and taken back, by tokens and by signed-in users."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator
from read_rows import agent_turn, ident
from server.api_requests import ADMIN, ANN, BEN, EVE, INGEST, READ, bearer, matches, problem, turn, user

from chopsky_trace.database.connect import Connection
from chopsky_trace.server.feedback import GIVEN

HEARD = ident("a", "message", "a hears")
TOLD = ident("a", "message", "a is told")


def stored(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute(
        "select user_id, key, thumbs, score, comment from conversation_feedback order by user_id"
    )
    return [(*row[:3], None if row[3] is None else float(row[3]), row[4]) for row in found.fetchall()]


def give(client: httpx.Client, token: str, **said: Any) -> httpx.Response:
    return client.post("/feedback", json=said, headers=bearer(token))


def test_a_user_rates_what_they_were_answered(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN, tenant_id="acme")
    ann = user(ANN, "acme")
    first = matches("Feedback", give(client, ann, message_id=HEARD, thumbs="down", comment="no", score=None))
    assert (first["message_id"], first["conversation_run_id"]) == (HEARD, ident("a"))
    again = matches("Feedback", give(client, ann, message_id=HEARD.upper(), thumbs="up", user_id=ANN))
    assert (again["id"], again["thumbs"], again["comment"]) == (first["id"], "up", None)
    whole = matches("Feedback", give(client, ann, run_id=ident("a"), score=4))
    free = matches("Feedback", give(client, ann, message_id=HEARD, key="tone", score=-0.5, value={"a": [1]}))
    assert (free["score"], free["value"]) == ("-0.5", {"a": [1]})
    assert sorted(stored(connection), key=str) == [
        (ANN, "tone", None, -0.5, None),
        (ANN, "user_satisfaction", "up", None, None),
        (ANN, "user_satisfaction", None, 4.0, None),
    ]
    run = matches("RunPage", client.get(f"/runs/{ident('a')}", headers=bearer(ann)))
    assert {one["id"] for one in run["feedback"]} == {first["id"], whole["id"], free["id"]}
    assert run["run"]["user_satisfaction_score"] == "4.50"
    of_it = matches("FeedbackPage", client.get("/conversations/s/feedback", headers=bearer(ann)))
    assert [one["id"] for one in of_it["feedback"]] == [free["id"], whole["id"], first["id"]]
    assert connection.execute("select distinct source from conversation_feedback").fetchall() == [("app",)]


def test_who_may_not(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN, tenant_id="acme")
    turn(connection, "n", session_id="n")
    others = {"ben": user(BEN, "acme"), "elsewhere": user(ANN, "other"), "admin": user("boss", "acme", "admin")}
    given = matches("Feedback", give(client, user(ANN, "acme"), message_id=HEARD, thumbs="up"))
    for who, token in others.items():
        for about in ({"message_id": HEARD}, {"run_id": ident("a")}, {"message_id": f"lc_run--{ident('a', 'ask')}"}):
            assert problem(give(client, token, **about, thumbs="down"))[0] == 404, who
        assert problem(client.delete(f"/feedback/{given['id']}", headers=bearer(token)))[0] == 404
        seen = client.get("/conversations/s/feedback", headers=bearer(token))
        assert seen.status_code == (200 if who == "admin" else 404)
    nobodys = [{"run_id": ident("n")}, {"message_id": ident("n", "message", "n hears")}, {"run_id": str(uuid4())}]
    for about in (*nobodys, {"message_id": TOLD}, {"run_id": ident("a", "ask")}):
        assert problem(give(client, user(ANN, "acme"), **about, thumbs="up"))[0] == 404
    for more in ({"user_id": BEN}, {"source": "model"}):
        assert problem(give(client, user(ANN, "acme"), message_id=HEARD, thumbs="down", **more))[0] == 403
    assert problem(give(client, READ, message_id=HEARD, thumbs="down"))[0] == 403
    for token, status in ((READ, 403), (INGEST, 403), ("unknown-token-here", 401)):
        assert problem(client.delete(f"/feedback/{given['id']}", headers=bearer(token)))[0] == status
    assert problem(client.post("/feedback", json={"message_id": HEARD, "thumbs": "up"}))[0] == 401
    assert stored(connection) == [(ANN, "user_satisfaction", "up", None, None)]


def test_taking_it_back(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    for token in (user(ANN), ADMIN):
        id = give(client, user(ANN), message_id=HEARD, thumbs="up").json()["id"]
        assert matches("TakenBack", client.delete(f"/feedback/{id}", headers=bearer(token))) == {"id": id}
        assert problem(client.delete(f"/feedback/{id}", headers=bearer(token)))[0] == 404
    assert problem(client.delete("/feedback/nothing", headers=bearer(ADMIN)))[0] == 404
    assert stored(connection) == []
    assert connection.execute("select user_satisfaction_score from conversation_runs").fetchall() == [(None,)]


def test_a_server_gives_it_for_its_users_even_before_the_run(client: httpx.Client, connection: Connection):
    early = matches("Feedback", give(client, INGEST, run_id=ident("a"), user_id=BEN, score=2, source="survey"))
    assert (early["conversation_run_id"], early["source"]) == (None, "survey")
    turn(connection, "a", session_id="s", user_id=ANN, tenant_id="acme")
    answer = f"lc_run--{ident('a', 'ask')}-0"
    of_ann = matches("Feedback", give(client, ADMIN, message_id=answer, comment="fine", thumbs="up"))
    assert (of_ann["message_id"], of_ann["user_id"], of_ann["source"]) == (HEARD, ANN, "api")
    # The same user by herself, by the same id of LangChain's: one row.
    own = matches("Feedback", give(client, user(ANN, "acme"), message_id=answer, thumbs="down"))
    assert own["id"] == of_ann["id"]
    again = matches("Feedback", give(client, INGEST, run_id=ident("a"), user_id=BEN, score=3))
    assert (again["id"], again["conversation_run_id"]) == (early["id"], ident("a"))
    assert stored(connection) == [
        (ANN, "user_satisfaction", "down", None, None),
        (BEN, "user_satisfaction", None, 3.0, None),
    ]
    client.headers.update(bearer(READ))
    of_run = matches("RunPage", client.get(f"/runs/{ident('a')}"))["feedback"]
    of_it = matches("FeedbackPage", client.get("/conversations/s/feedback", params={"limit": 1}))
    assert [one["id"] for one in of_run] == [early["id"], of_ann["id"]]
    rest = client.get("/conversations/s/feedback", params={"after": of_it["next"]}).json()
    assert [one["id"] for one in of_it["feedback"] + rest["feedback"]] == [early["id"], of_ann["id"]]
    assert rest["next"] is None


def test_an_answer_before_its_call_is_found_later(client: httpx.Client, connection: Connection):
    early = give(client, INGEST, message_id=f"run-{ident('turn', 'answer')}-0", thumbs="up").json()
    assert early["message_id"] is None
    agent_turn(connection, user_id=ANN, session_id="s")
    (found,) = client.get("/conversations/s/feedback", headers=bearer(user(ANN))).json()["feedback"]
    assert found["id"] == early["id"]
    assert found["message_id"] is not None


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"thumbs": "up"},
        {"message_id": None, "thumbs": "up"},
        {"message_id": "not an id", "thumbs": "up"},
        {"message_id": 5, "thumbs": "up"},
        {"message_id": ["x"], "thumbs": "up"},
        {"message_id": HEARD},
        {"message_id": HEARD, "thumbs": "sideways"},
        {"message_id": HEARD, "thumbs": True},
        {"message_id": HEARD, "thumbs": {}},
        {"message_id": HEARD, "score": 0},
        {"message_id": HEARD, "score": 5.1},
        {"message_id": HEARD, "score": "4"},
        {"message_id": HEARD, "score": True},
        {"message_id": HEARD, "score": 1e300, "key": "k"},
        {"message_id": HEARD, "thumbs": "up", "key": ""},
        {"message_id": HEARD, "thumbs": "up", "key": "k" * 513},
        {"message_id": HEARD, "thumbs": "up", "cost": 0},
        {"message_id": HEARD, "comment": ["x"]},
    ],
)
def test_what_is_no_feedback(client: httpx.Client, connection: Connection, said: dict[str, Any]):
    turn(connection, "a", session_id="s", user_id=ANN)
    for token in (user(ANN), INGEST):
        assert problem(give(client, token, **said))[0] == 400
    assert stored(connection) == []


def test_bodies_that_are_none(client: httpx.Client, connection: Connection):
    client.headers.update(bearer(INGEST))
    as_json = {"Content-Type": "application/json"}
    for body in (b"", b"null", b"[]", b'{"message_id": ', b"\xff", b'{"score": NaN}', b"[" * 60_000):
        assert problem(client.post("/feedback", content=body, headers=as_json))[0] == 400, body[:20]
    assert problem(client.post("/feedback", content=b" " * 70_000, headers=as_json))[0] == 413
    whole = json.dumps({"message_id": HEARD, "thumbs": "up"}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json-seq", ""):
        assert problem(client.post("/feedback", content=whole, headers={"Content-Type": kind}))[0] == 415
    packed = as_json | {"Content-Encoding": "gzip"}
    assert problem(client.post("/feedback", content=whole, headers=packed))[0] == 415
    assert problem(client.get("/feedback"))[0] == 405
    assert stored(connection) == []


def test_what_postgres_cannot_hold_is_replaced(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    for token in (user(ANN), ADMIN):
        odd = b'{"message_id": "%s", "comment": "a\\u0000b", "value": {"c\\u0000": "\\u0000"}, "key": "k\\u0000"}'
        headers = bearer(token) | {"Content-Type": "application/json"}
        answered = client.post("/feedback", content=odd % HEARD.encode(), headers=headers)
        found = matches("Feedback", answered)
        assert (found["comment"], found["key"]) == ("a\ufffdb", "k\ufffd")
        assert problem(client.post("/feedback", content=b'{"comment": "\\ud800"}', headers=headers))[0] == 400


def test_what_is_taken_is_as_the_document_says():
    validator = Draft202012Validator(GIVEN)
    assert validator.is_valid({"message_id": HEARD, "thumbs": "up", "score": None})
    assert not validator.is_valid({"thumbs": "up"})
    assert not validator.is_valid({"message_id": HEARD, "thumbs": "sideways"})


def test_of_eve_there_is_nothing(client: httpx.Client, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    give(client, ADMIN, message_id=HEARD, thumbs="up", user_id=EVE)
    assert client.get("/conversations/s/feedback", headers=bearer(user(ANN))).json()["feedback"] == []
    assert problem(client.get("/conversations/s/feedback", headers=bearer(user(EVE))))[0] == 404
