"""The queries of the example in Next.js, asked with supabase-js, against the database in PostgREST's shape."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fix_postgres import as_user
from read_rows import ident
from server.api_requests import ANN, BEN, EVE, turn, user
from server.postgrest import postgrest
from server.process import ROOT
from server.test_node import UNREACHABLE, node

from chopsky_trace.database.connect import Connection

EXAMPLE = ROOT / "examples" / "nextjs"
CACHE = ROOT / ".cache" / "nextjs"
ASKER = ROOT / "tests" / "server" / "ask_queries.mjs"
SOURCES = ("database.types.ts", "queries.ts", "supabase.ts")
COMPILE = [
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
    "--target",
    "es2022",
    "--strict",
    "--skipLibCheck",
    "--lib",
    "es2023,dom",
]


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)


def installed() -> Path:
    """The example's queries, compiled, with the client they need; skipped where the registry is out of reach."""
    asked = json.loads((EXAMPLE / "package.json").read_bytes())
    needed = asked["dependencies"] | asked["devDependencies"]
    wanted = {
        "type": "module",
        "dependencies": {name: needed[name] for name in ("@supabase/supabase-js", "@types/node", "typescript")},
    }
    written = json.dumps(wanted).encode()
    folder = CACHE / hashlib.sha256(written).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_bytes(written)
            flags = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
            done = run("npm", "install", *flags, folder=folder)
            if done.returncode and any(code in done.stderr for code in UNREACHABLE):
                pytest.skip("npm's registry cannot be reached")
            assert done.returncode == 0, done.stderr
            (folder / "complete").touch()
        shutil.copy(ASKER, folder)
        # What it was compiled from, so that it is compiled once.
        sources = {name: (EXAMPLE / "lib" / name).read_bytes() for name in SOURCES}
        if any(not (folder / name).exists() or (folder / name).read_bytes() != told for name, told in sources.items()):
            for name, told in sources.items():
                (folder / name).write_bytes(told)
            done = run("node_modules/.bin/tsc", *COMPILE, "--outDir", "built", *SOURCES, folder=folder)
            if done.returncode:
                (folder / "queries.ts").unlink()
            assert done.returncode == 0, done.stdout
    return folder


class Asking:
    """The example's queries, one after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, token: str, name: str, *given: Any) -> Any:
        """What a query answers; RuntimeError with what it threw."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([token, name, *given]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


@contextmanager
def asking(url: str) -> Iterator[Asking]:
    program = node()
    folder = installed()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUPABASE_")}
    with (
        postgrest(as_user(url, "authenticator")) as address,
        subprocess.Popen(
            [program, "ask_queries.mjs"], cwd=folder, env={**kept, "SUPABASE_URL": address, "NODE_NO_WARNINGS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process,
    ):  # fmt: skip
        yield Asking(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_conversations(database_url: str, connection: Connection):
    for number in range(5):
        turn(connection, f"a{number}", number * 100, session_id=f"a{number}", user_id=ANN)
    turn(connection, "b", session_id="a0", user_id=BEN)
    # Two of one moment: a page may begin between them.
    connection.execute("update conversation_sessions set last_activity_at = '2026-03-01T12:00:00.123456Z'")
    ann, ben = user(ANN), user(BEN)
    with asking(database_url) as ask:
        seen: list[str] = []
        last = None
        while page := ask(ann, "listConversations", ANN, last, 2):
            seen += [one["session_id"] for one in page]
            last = page[-1]
        assert sorted(seen) == [f"a{number}" for number in range(5)]
        (mine,) = ask(ben, "listConversations", BEN)
        assert ask(ben, "listConversations", ANN) == [], "whose, not a way to theirs"
        assert ask(ben, "getConversation", mine["id"]) == mine
        assert ask(ann, "getConversation", mine["id"]) is None
        assert [one["content"] for one in ask(ben, "getMessages", mine["id"])] == ["b asks", "b hears"]
        assert [one["content"] for one in ask(ben, "getMessages", mine["id"], 1)] == ["b hears"]
        assert ask(ann, "getMessages", mine["id"]) == []
        # What Realtime filters by: the messages of the conversation, and none else.
        found = connection.execute(
            "select content from conversation_messages where session_key = %s and not is_internal order by sequence",
            [mine["session_key"]],
        ).fetchall()
        assert found == [("b asks",), ("b hears",)]
        for who in (ann, ben):
            ask(who, "renameConversation", mine["id"], f"by {'ann' if who == ann else 'ben'}")
        assert ask(ben, "getConversation", mine["id"])["title"] == "by ben"
        ask(ann, "removeConversation", mine["id"])
        with pytest.raises(RuntimeError, match="of yours"):
            ask(ann, "clearConversation", mine["id"])
        assert ask(ben, "clearConversation", mine["id"]) == 3, "the system prompt, too"
        assert ask(ben, "getMessages", mine["id"]) == []
        ask(ben, "archiveConversation", mine["id"])
        assert ask(ben, "listConversations", BEN) == []
        assert ask(ben, "getConversation", mine["id"])["title"] == "by ben"
        ask(ben, "removeConversation", mine["id"])
        assert ask(ben, "getConversation", mine["id"]) is None
    assert connection.execute("select count(*) from conversation_runs").fetchone() == (5,)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thumbs(database_url: str, connection: Connection):
    turn(connection, "a", session_id="s", user_id=ANN)
    message = ident("a", "message", "a hears")
    ann, eve = user(ANN), user(EVE)
    with asking(database_url) as ask:
        for thumbs, comment in (("down", None), ("up", "after all")):
            ask(ann, "rateMessage", message, thumbs, comment)
            given = {"message_id": message, "thumbs": thumbs, "comment": comment}
            assert ask(ann, "getFeedback", [message]) == [given]
        assert ask(eve, "getFeedback", [message]) == []
        with pytest.raises(RuntimeError, match="of yours"):
            ask(eve, "rateMessage", message, "down")
        ask(eve, "unrateMessage", message)
        assert connection.execute("select thumbs from conversation_feedback").fetchall() == [("up",)]
        ask(ann, "unrateMessage", message)
        assert ask(ann, "getFeedback", [message]) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_usage(database_url: str, connection: Connection):
    for name, owner in (("a", ANN), ("b", ANN), ("c", BEN)):
        turn(connection, name, session_id=name, user_id=owner)
    with asking(database_url) as ask:
        row = {"day": "2026-03-01", "provider": "openai", "model": "gpt-4o-mini", "calls": 2, "total_tokens": 240}
        assert ask(user(ANN), "getUsage", "2026-03-01") == [row]
        assert ask(user(ANN), "getUsage", "2026-03-02") == []
        assert ask(user(EVE), "getUsage", "2026-01-01") == []


def test_all_queries_are_in_one_file():
    for path in EXAMPLE.rglob("*.ts*"):
        if path.name != "queries.ts" and "node_modules" not in path.parts:
            assert not re.search(r"\.(from|rpc|channel)\(", path.read_text("utf-8")), path
