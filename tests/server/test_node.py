"""The example in Node: the AI SDK's spans, posted by Node's own exporter, as JSON."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from server.process import ROOT, serving

EXAMPLE = ROOT / "examples" / "node_ai_sdk"
CACHE = ROOT / ".cache" / "node_ai_sdk"
UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "EAI_AGAIN", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")
OLDEST_NODE = (20, 6)
NOT_OURS = ("CHOPSKY_TRACE_", "OPENAI_", "OTEL_", "DATABASE_URL", "SUPABASE_")


def node() -> str:
    """Node's program; the test is skipped where it is absent or too old."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        pytest.skip("there is no node or no npm on this machine")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    if tuple(int(part) for part in re.findall(r"\d+", said)[:2]) < OLDEST_NODE:
        pytest.skip(f"node is {said.strip()}, and too old")
    return program


def installed() -> Path:
    """A copy of the example with what it needs, kept for the next run; skipped where the registry is out of reach."""
    package = (EXAMPLE / "package.json").read_bytes()
    folder = CACHE / hashlib.sha256(package).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copy(EXAMPLE / "index.mjs", folder)
        if not (folder / "complete").exists():
            shutil.copy(EXAMPLE / "package.json", folder)
            done = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=500,
                check=False,
            )
            if done.returncode and any(code in done.stderr for code in UNREACHABLE):
                pytest.skip("npm's registry cannot be reached")
            assert done.returncode == 0, done.stderr
            (folder / "complete").touch()
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ai_sdk_lands(database_url: str, tmp_path: Path) -> None:
    program = node()
    folder = installed()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    with serving(tmp_path, database_url) as server:
        done = subprocess.run(
            [program, "index.mjs"],
            cwd=folder,
            env={**kept, "OTEL_EXPORTER_OTLP_ENDPOINT": server.address, "OTEL_LOG_LEVEL": "warn"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        received = httpx.get(f"{server.address}/health", trust_env=False).json()["received"]
        server.end()
    check_printed(done.stdout)
    check_received(received)
    check_tables(database_url)


def check_printed(printed: str) -> None:
    assert "Nearly. You still need spinach." in printed
    assert "About 25 minutes." in printed


def check_received(received: dict[str, int]) -> None:
    """A root, two steps and a tool; a root and a step: all taken, in whatever batches."""
    assert received["traces"] == 6
    assert {name for name in received if name.startswith("answered_")} == set()
    assert received["traces_refused"] == 0


def check_tables(database_url: str) -> None:
    """Two runs of one session; three calls and a tool, with their numbers once; what was said, and not said twice."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        runs = connection.execute("select * from conversation_runs order by started_at").fetchall()
        calls = connection.execute("select * from conversation_calls where kind = 'llm' order by started_at").fetchall()
        tools = connection.execute("select name from conversation_spans where kind = 'tool'").fetchall()
        said = connection.execute(
            "select m.role, m.content from conversation_runs r"
            " cross join lateral conversation_transcript(r.id) m order by r.started_at, m.sequence"
        ).fetchall()
    assert [(run["status"], run["user_id"]) for run in runs] == [("completed", "ada")] * 2
    assert len({run["session_id"] for run in runs}) == 1
    assert runs[0]["session_id"].startswith("kitchen-")
    assert [(call["provider"], call["input_tokens"], call["output_tokens"]) for call in calls] == [
        ("openai", 90, 20),
        ("openai", 130, 8),
        ("openai", 150, 6),
    ]
    assert [run["total_tokens_used"] for run in runs] == [248, 156]
    assert [tool["name"] for tool in tools] == ["check_pantry"]
    assert [(line["role"], line["content"]) for line in said] == [
        ("user", "Do I have everything for a chickpea stew?"),
        ("assistant", "Nearly. You still need spinach."),
        ("user", "Thanks! And how long does it take?"),
        ("assistant", "About 25 minutes."),
    ]


def test_the_example_declares_what_it_imports() -> None:
    imported = set(re.findall(r'^import .* from "([^"]+)"', (EXAMPLE / "index.mjs").read_text("utf-8"), re.MULTILINE))
    packages = {name if name.startswith("@") else name.partition("/")[0] for name in imported if ":" not in name}
    declared = json.loads((EXAMPLE / "package.json").read_bytes())["dependencies"]
    assert packages == set(declared)
    assert all(re.fullmatch(r"\^\d+\.\d+\.\d+", asked) for asked in declared.values())
