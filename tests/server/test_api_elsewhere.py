"""The API without tokens on this machine, mounted in an application, with public keys, without a database."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastapi
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fix_postgres import as_user
from jwt.algorithms import ECAlgorithm
from openapi_spec_validator import OpenAPIV31SpecValidator
from read_rows import ident
from server.api_requests import ADMIN, ANN, BEN, READ, SECRET, bearer, problem, said, turn, user
from server.process import serving
from server.serving import NOWHERE
from server.test_serve import refused
from starlette.requests import Request
from starlette.types import ASGIApp

from chopsky_trace.database import requests
from chopsky_trace.database.connect import Connection
from chopsky_trace.server import Access, ReadApi, api_app, listening
from chopsky_trace.server.access import read_tokens
from chopsky_trace.settings import CaptureLevel, Settings


@contextmanager
def running(app: ASGIApp) -> Iterator[httpx.Client]:
    """An ASGI application under uvicorn, and a client of it."""
    ready = threading.Event()
    with listening.listen("127.0.0.1", 0) as socket:
        server = listening.make_server(app, ready.set, grace_s=5.0)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            assert ready.wait(30)
            with httpx.Client(base_url=listening.address(socket), trust_env=False, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)


@contextmanager
def mounted(api: ReadApi) -> Iterator[httpx.Client]:
    """The API in an application of the user's own, at /traces."""
    app = fastapi.FastAPI()
    app.mount("/traces", api)
    try:
        with running(app) as client:
            yield client
    finally:
        api.close()


def test_this_machine_alone_reads_without_a_token(database_url: str, connection: Connection, tmp_path: Path):
    turn(connection, "a", session_id="s", user_id=ANN)
    with (
        serving(tmp_path, database_url) as server,
        httpx.Client(base_url=server.address, trust_env=False, timeout=30) as client,
    ):
        assert server.told["open_reading"] is True
        own = [{}, {"Origin": "http://localhost:3000"}, {"Host": "localhost:4318"}, {"Host": "[::1]:4318"}]
        assert [client.get("/conversations", headers=headers).status_code for headers in own] == [200] * 4
        # A page that renamed itself to this machine, anybody's page, a proxy in front.
        others = [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
                  {"X-Forwarded-For": "8.8.8.8"}, {"Forwarded": "for=8.8.8.8"}, {"Host": ""}]  # fmt: skip
        assert [problem(client.get("/conversations", headers=headers))[0] for headers in others] == [403] * 6
        given = {"run_id": ident("a"), "thumbs": "up"}
        assert [problem(client.post("/feedback", json=given, headers=one))[0] for one in others] == [403] * 6
        id = client.post("/feedback", json=given).raise_for_status().json()["id"]
        assert problem(client.delete(f"/feedback/{id}"))[0] == 403
        assert problem(client.post("/conversations/s/clear"))[0] == 403
        assert problem(client.get("/conversations", headers=bearer("a-token-nobody-knows")))[0] == 401


def test_with_any_credential_reading_needs_one(database_url: str, tmp_path: Path):
    for number, named in enumerate(("SERVER_TOKEN", "SERVER_JWT_SECRET")):
        with serving(tmp_path / str(number), database_url, **{f"CHOPSKY_TRACE_{named}": SECRET}) as server:
            assert server.told["open_reading"] is False
            assert problem(httpx.get(f"{server.address}/conversations", trust_env=False))[0] == 401


def test_tokens_of_a_file(database_url: str, tmp_path: Path):
    file = tmp_path / "tokens"
    file.write_text(f"# who: what\nread {READ}\n\nread,ingest another-token-that-reads\nadmin {ADMIN}\n")
    with serving(tmp_path / "data", database_url, CHOPSKY_TRACE_SERVER_TOKENS_FILE=str(file)) as server:
        for token in (READ, ADMIN, "another-token-that-reads"):
            answered = httpx.get(f"{server.address}/stats", headers=bearer(token), trust_env=False)
            assert answered.status_code == 200
    assert read_tokens(["read,ingest a", "admin a", "#x"]) == {"a": {"read", "ingest", "admin"}}
    for line in ("write some-token-for-nothing", "a-secret-token-alone", "read two-words some-token-for-nothing"):
        file.write_text(f"{line}\n")
        told = refused(tmp_path, CHOPSKY_TRACE_SERVER_TOKENS_FILE=str(file))
        assert "Line 1" in told
        assert line.split()[-1] not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [("SERVER_READ_TOKEN", "sh0rt"), ("SERVER_JWT_SECRET", "sh0rt"), ("SERVER_JWKS_URL", "http://keys.example/sh0rt"),
     ("SERVER_TOKENS_FILE", "/nowhere/at/all")],
)  # fmt: skip
def test_what_cannot_be_used_is_said(tmp_path: Path, name: str, value: str):
    told = refused(tmp_path, **{f"CHOPSKY_TRACE_{name}": value})
    assert "sh0rt" not in told
    assert any(word in told for word in ("characters or more", name, "cannot be read"))


def test_mounted_it_asks_the_application(database_url: str, connection: Connection):
    for name, owner in (("a", ANN), ("b", BEN)):
        turn(connection, name, session_id=name, user_id=owner)

    async def authorize(request: Request) -> Access | None:
        who = request.headers.get("x-who")
        known = {"staff": Access.read(), "root": Access.admin(), "ann": Access.user({"sub": ANN})}
        return known.get(who or "")

    with mounted(api_app(authorize, database_url=database_url)) as client:
        assert problem(client.get("/traces/conversations"))[0] == 401
        for who, seen in (("staff", ["a", "b"]), ("root", ["a", "b"]), ("ann", ["a"])):
            found = client.get("/traces/conversations", headers={"x-who": who}).json()["conversations"]
            assert sorted(one["session_id"] for one in found) == seen
        assert said(client.get(f"/traces/runs/{ident('a')}", headers={"x-who": "ann"}).json()) == ["a asks", "a hears"]
        assert problem(client.post("/traces/conversations/a/clear", headers={"x-who": "staff"}))[0] == 403
        assert client.post("/traces/conversations/a/clear", headers={"x-who": "ann"}).status_code == 200
        told = client.get("/traces/openapi.json").json()
        OpenAPIV31SpecValidator(told).validate()
        assert told["servers"] == [{"url": "/traces"}]
    with pytest.raises(ValueError, match="nobody"):
        Access.user({"role": "authenticated"})


@pytest.mark.parametrize(
    ("capture", "comment", "value"),
    [("full", "ask ann@example.com", {"who": "ann@example.com"}), ("masked", "ask [email]", {"who": "[email]"}),
     ("metadata", None, None)],
)  # fmt: skip
def test_of_a_comment_is_stored_what_the_capture_level_lets_through(
    database_url: str, connection: Connection, capture: CaptureLevel, comment: str | None, value: Any
):
    turn(connection, "a", session_id="s", user_id=ANN)
    settings = Settings(capture=capture)
    api = api_app(lambda request: Access.user({"sub": ANN}), database_url=database_url, settings=settings)
    given = {"comment": "ask ann@example.com", "value": {"who": "ann@example.com"}, "thumbs": "up"}
    with mounted(api) as client:
        for about in ({"run_id": ident("a")}, {"message_id": ident("a", "message", "a hears")}):
            told = client.post("/traces/feedback", json=about | given).raise_for_status().json()
            assert (told["thumbs"], told["comment"], told["value"]) == ("up", comment, value)
        assert len(client.get("/traces/conversations/s/feedback").json()["feedback"]) == 2
        assert client.delete(f"/traces/feedback/{told['id']}").json() == {"id": told["id"]}


def test_mounted_without_anybody_to_ask_it_refuses(database_url: str):
    with mounted(api_app(database_url=database_url)) as client:
        assert problem(client.get("/traces/conversations"))[0] == 401
    with mounted(api_app(database_url=database_url, settings=Settings(server_read_token=READ))) as client:
        assert client.get("/traces/stats", headers=bearer(READ)).status_code == 200


def test_an_application_that_stumbles_is_no_traceback(database_url: str, caplog: pytest.LogCaptureFixture):
    def authorize(request: Request) -> Access | None:
        raise RuntimeError("the words of a secret")

    with mounted(api_app(authorize, database_url=database_url)) as client:
        status, detail = problem(client.get("/traces/stats"))
    assert status == 500
    assert "secret" not in detail + caplog.text
    assert "RuntimeError" in caplog.text


class Keys:
    """Public keys over HTTP, as Supabase's Auth has them."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.fetched = 0
        self.is_down = False

    def add(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str, sub: str, **header: str) -> str:
        claims = {"sub": sub, "role": "authenticated", "aud": "authenticated", "exp": time.time() + 600}
        return jwt.encode(claims, self.keys[kid], "ES256", {"kid": kid, **header})

    def document(self) -> bytes:
        made: list[dict[str, Any]] = []
        for kid, key in self.keys.items():
            public: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
            made.append(public | {"kid": kid, "alg": "ES256", "use": "sig"})
        return json.dumps({"keys": made}).encode()


@contextmanager
def keys_served(keys: Keys) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.fetched += 1
            self.send_response(500 if keys.is_down else 200)
            self.end_headers()
            self.wfile.write(b"" if keys.is_down else keys.document())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks.json"
        finally:
            server.shutdown()
            thread.join()


def test_users_by_public_keys(database_url: str, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    keys, strangers = Keys(), Keys()
    keys.add("first")
    strangers.add("first")
    strangers.add("unheard of")
    with keys_served(keys) as url:
        settings = Settings(server_jwks_url=url)
        with mounted(api_app(database_url=database_url, settings=settings)) as client:
            for sub, count in ((ANN, 1), (BEN, 0)):
                found = client.get("/traces/runs", headers=bearer(keys.token("first", sub)))
                assert len(found.json()["runs"]) == count
            fetched = keys.fetched
            for kid in ("first", "unheard of", "unheard of"):
                assert problem(client.get("/traces/runs", headers=bearer(strangers.token(kid, ANN))))[0] == 401
            # A secret of its own is none here.
            forged = user(ANN)
            assert problem(client.get("/traces/runs", headers=bearer(forged)))[0] == 401
            # Unknown keys are looked for once, and then not for a while.
            assert keys.fetched <= fetched + 1
        keys.is_down = True
        with mounted(api_app(database_url=database_url, settings=settings)) as client:
            before = keys.fetched
            for _ in range(3):
                answered = client.get("/traces/runs", headers=bearer(keys.token("first", ANN)))
                assert problem(answered)[0] == 503
                assert "retry-after" in answered.headers
            assert keys.fetched == before + 1


def test_without_a_database_it_says_so(caplog: pytest.LogCaptureFixture):
    url = NOWHERE.replace("nobody@", "nobody:a-password@")
    with mounted(api_app(lambda request: Access.read(), database_url=url)) as client:
        answered = client.get("/traces/conversations")
    status, detail = problem(answered)
    assert (status, answered.headers["retry-after"]) == (503, "5")
    assert "a-password" not in detail + caplog.text
    assert "127.0.0.1" not in detail
    assert "Nothing listens" in caplog.text


def test_without_tables_it_says_so(fresh_database: str, caplog: pytest.LogCaptureFixture):
    with mounted(api_app(lambda request: Access.read(), database_url=fresh_database)) as client:
        assert problem(client.get("/traces/conversations"))[0] == 503
    assert "chopsky-trace migrate" in caplog.text


def test_a_role_that_may_not_act_for_users_is_told_so(
    database_url: str, connection: Connection, admin: Connection, caplog: pytest.LogCaptureFixture
):
    turn(connection, "a", session_id="s", user_id=ANN)
    api = {"authorize": lambda request: Access.user({"sub": ANN})}
    admin.execute("drop role if exists chopsky_nobody; create role chopsky_nobody login")
    try:
        with mounted(api_app(**api, database_url=as_user(database_url, "chopsky_nobody"))) as client:
            assert problem(client.get("/traces/runs"))[0] == 503
    finally:
        admin.execute("drop role chopsky_nobody")
    assert "grant authenticated to" in caplog.text
    # Its own role needs no more than to be a member.
    with mounted(api_app(**api, database_url=as_user(database_url, "authenticator"))) as client:
        assert len(client.get("/traces/runs").json()["runs"]) == 1


def test_connections_are_found_again_after_the_server_cut_them(
    database_url: str, connection: Connection, admin: Connection
):
    with mounted(api_app(lambda request: Access.read(), database_url=database_url)) as client:
        assert client.get("/traces/stats").status_code == 200
        cut = (
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'chopsky-trace api'"
            " and datname = current_database()"
        )
        assert admin.execute(cut).fetchall() == [(True,)]
        assert client.get("/traces/stats").status_code == 200


def test_a_connection_that_fell_silent_is_given_up(
    database_url: str, admin: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(requests, "OVERDUE_S", 0.0)
    settings = Settings(connect_timeout_s=2, server_read_timeout_s=0.2, server_read_connections=1)
    api = api_app(lambda request: Access.read(), database_url=database_url, settings=settings)
    with mounted(api) as client:
        assert client.get("/traces/stats").status_code == 200
        found = admin.execute(
            "select pid from pg_stat_activity where application_name = 'chopsky-trace api'"
            " and datname = current_database()"
        ).fetchone()
        assert found is not None
        os.kill(found[0], signal.SIGSTOP)
        try:
            assert problem(client.get("/traces/stats"))[0] == 503
            # The one connection is in use for good, unless somebody hangs up.
            answered = (client.get("/traces/stats").status_code for _ in range(1_000))
            assert 200 in answered
        finally:
            os.kill(found[0], signal.SIGCONT)
