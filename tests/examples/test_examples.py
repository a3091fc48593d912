"""Every example runs as its reader would run it, in a process of its own, and leaves in the tables what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import psycopg
import pytest
from psycopg.rows import dict_row

from chopsky_trace.database.embedded import running_url, stop
from chopsky_trace.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHARED = {"kitchen.py", "landed.py", "stand_in.py"}
USERS = 50
TELEMETRY = {
    # Script: whose spans the calls are, what is around them, and the name of a turn.
    "otel_openai.py": ("openai-", "opentelemetry.instrumentation.genai.openai", "other", "turn"),
    "otel_openinference.py": ("openinference-", "openinference.instrumentation.openai", "other", "turn"),
    "otel_pydantic_ai.py": ("pydantic-ai-", "pydantic-ai", "agent", "chef"),
}
NOT_OURS = ("OTEL_", "CHOPSKY_TRACE_", "LANGSMITH_", "LANGCHAIN_", "OPENAI_", "ANTHROPIC_", "SUPABASE_", "DATABASE_URL")


def environment(database_url: str | None, data_dir: Path, **more: str) -> dict[str, str]:
    """This process's environment with no key and no destination but the test's; None: none at all."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    return {
        **kept,
        **({"CHOPSKY_TRACE_DATABASE_URL": database_url} if database_url else {}),
        "CHOPSKY_TRACE_DATA_DIR": str(data_dir),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(EXAMPLES)]),
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "100",
        **more,
    }


def run(name: str, database_url: str | None, data_dir: Path) -> str:
    """What an example prints; it must succeed and have nothing to complain of."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env=environment(database_url, data_dir),
        cwd=data_dir,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def rows(database_url: str, query: str, *values: Any) -> list[dict[str, Any]]:
    """The rows of a query."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()


def runs(database_url: str) -> list[dict[str, Any]]:
    """Conversation runs in the order they began."""
    return rows(database_url, "select * from conversation_runs order by started_at")


def transcript(database_url: str, run_id: object) -> list[tuple[str, str]]:
    """(role, content) of what a run's user said and was answered."""
    found = rows(database_url, "select role, content from conversation_transcript(%s) order by sequence", run_id)
    return [(row["role"], row["content"]) for row in found]


def test_each_example_is_tested_here() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - SHARED
    assert scripts == {
        "langgraph_agent.py",
        "rag_chain.py",
        "fastapi_streaming.py",
        "message_history.py",
        "conversation_store.py",
        *TELEMETRY,
    }


@pytest.mark.slow
def test_the_agent_lands_whole(database_url: str, tmp_path: Path) -> None:
    printed = run("langgraph_agent.py", database_url, tmp_path)
    check_conversation(database_url, printed)
    check_spans(database_url)
    check_numbers(database_url)


def check_conversation(database_url: str, printed: str) -> None:
    """Three runs of one session, and what was said, in the tables as on the screen."""
    landed = runs(database_url)

    assert [row["status"] for row in landed] == ["completed"] * 3
    assert {row["user_id"] for row in landed} == {"ada"}
    assert len({row["session_id"] for row in landed}) == 1
    assert landed[0]["session_id"] in printed
    assert "scripted" in printed

    said = [line for row in landed for line in transcript(database_url, row["id"])]
    assert [role for role, _ in said] == ["user", "assistant"] * 3
    assert [content for role, content in said if role == "user"] == [
        "What can I cook tonight with chickpeas and spinach?",
        "Do I have everything for the stew?",
        "Then give me the steps, and what to buy.",
    ]
    assert said[3][1] == "Nearly. You still need spinach, tomatoes; the rest is in the pantry."
    assert said[5][1].splitlines()[-1] == "To buy: spinach, tomatoes. Enjoy!"
    for _, content in said:
        assert content.splitlines()[0] in printed
    assert [line for line in printed.splitlines() if len(line) > 100] == []


@pytest.mark.slow
def test_the_agent_needs_no_database() -> None:
    # Not pytest's own folder: where the tests run as root, the server's user could not enter that.
    data_dir = Path(tempfile.mkdtemp(prefix="chopsky-demo-"))
    data_dir.chmod(0o711)
    settings = Settings(data_dir=data_dir)
    try:
        printed = run("langgraph_agent.py", None, data_dir)
        url = running_url(settings)
        assert url is not None
        assert "Database: embedded\n" in printed
        assert url in printed
        assert [row["status"] for row in runs(url)] == ["completed"] * 3
    finally:
        stop(settings)
        shutil.rmtree(data_dir)


def check_spans(database_url: str) -> None:
    """Calls, tools, the retriever, and the attempt that failed beside the one that did not."""
    spans = rows(database_url, "select * from conversation_spans order by started_at, id")
    parents = {span["id"]: span for span in spans}

    assert Counter(span["kind"] for span in spans if span["kind"] in ("llm", "tool", "retriever")) == {
        "llm": 5,
        "tool": 3,
        "retriever": 1,
    }
    tools = [span for span in spans if span["kind"] == "tool"]
    assert [(span["name"], span["status"]) for span in tools] == [
        ("find_recipes", "completed"),
        ("check_pantry", "failed"),
        ("check_pantry", "completed"),
    ]
    assert "door sensor" in tools[1]["error"]
    assert tools[1]["parent_span_id"] == tools[2]["parent_span_id"]
    retriever = next(span for span in spans if span["kind"] == "retriever")
    assert parents[retriever["parent_span_id"]]["name"] == "find_recipes"
    analytics = rows(
        database_url,
        "select a.error_count, a.retry_count from conversation_analytics a join conversation_runs r"
        " on r.id = a.conversation_run_id order by r.started_at",
    )
    assert [(row["error_count"], row["retry_count"]) for row in analytics] == [(0, 0), (1, 1), (0, 0)]


def check_numbers(database_url: str) -> None:
    """Tokens and cost stand on the calls, and the runs' totals are their sums."""
    landed = runs(database_url)
    for row in landed:
        calls = rows(
            database_url,
            "select * from conversation_spans where conversation_run_id = %s and kind = 'llm' order by started_at",
            row["id"],
        )
        assert row["total_tokens_used"] == sum(call["total_tokens"] for call in calls) > 0
        assert row["total_cost"] == sum(call["cost"] for call in calls) > 0
        assert (row["unpriced_calls"], row["unmeasured_calls"]) == (0, 0)
        assert {call["model"] for call in calls} == {"gpt-4o-mini"}
    streamed = rows(
        database_url,
        "select conversation_run_id, time_to_first_token_ms, response_time_ms from conversation_spans"
        " where time_to_first_token_ms is not null",
    )
    assert landed[2]["id"] in {row["conversation_run_id"] for row in streamed}
    assert all(row["time_to_first_token_ms"] <= row["response_time_ms"] for row in streamed)
    # The system prompt went out with each of five calls.
    assert rows(database_url, "select count(*) from conversation_messages where role = 'system'")[0]["count"] == 1


@pytest.mark.slow
def test_a_rag_chain_shows_question_and_answer(database_url: str, tmp_path: Path) -> None:
    run("rag_chain.py", database_url, tmp_path)
    assert [transcript(database_url, row["id"]) for row in runs(database_url)] == [
        [
            ("user", "What do I need for hummus?"),
            ("assistant", "For hummus you need chickpeas, tahini, lemon, garlic."),
        ],
        [
            ("user", "How long does tomato soup take?"),
            ("assistant", "Tomato soup takes about 25 minutes."),
        ],
    ]
    stuffed = rows(
        database_url, "select content from conversation_messages where is_internal and role = 'user' order by content"
    )
    assert len(stuffed) == 2
    assert all(row["content"].startswith("Recipes:\n") for row in stuffed)
    prompts = rows(
        database_url,
        "select p.role, p.content from conversation_spans s cross join lateral conversation_prompt(s.id) p"
        " where s.kind = 'llm' order by s.started_at, p.position",
    )
    assert [row["role"] for row in prompts] == ["system", "user"] * 2
    assert prompts[1]["content"].endswith("Question: What do I need for hummus?")
    assert len(rows(database_url, "select 1 from conversation_spans where kind = 'retriever'")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", TELEMETRY)
def test_two_turns_told_by_opentelemetry(name: str, database_url: str, tmp_path: Path) -> None:
    printed = run(name, database_url, tmp_path)
    session, instrumentor, around, turn = TELEMETRY[name]
    landed = runs(database_url)
    assert [(row["status"], row["user_id"], row["name"]) for row in landed] == [("completed", "ada", turn)] * 2
    assert {(row["project"], row["environment"]) for row in landed} == {("chef-chopsky", "demo")}
    (session_id,) = {row["session_id"] for row in landed}
    assert session_id.startswith(session)
    assert session_id in printed
    assert [transcript(database_url, row["id"]) for row in landed] == [
        [
            ("user", "What do I need for hummus?"),
            ("assistant", "You need chickpeas, tahini, lemon and garlic; blend for 10 minutes."),
        ],
        [
            ("user", "And for tomato soup?"),
            ("assistant", "You need tomatoes, an onion and stock; simmer for 25 minutes."),
        ],
    ]
    calls = rows(database_url, "select * from conversation_spans where kind = 'llm' order by started_at")
    assert {call["instrumentor"] for call in calls} == {instrumentor}
    assert [call["finish_reason"] for call in calls] == ["tool_calls", "stop"] * 2
    assert all(call["cost"] > 0 for call in calls)
    assert sum(row["total_tokens_used"] for row in landed) == sum(call["total_tokens"] for call in calls)
    assert [row["unmeasured_calls"] for row in landed] == [0, 0]
    others = rows(database_url, "select kind, count(*) from conversation_spans where kind <> 'llm' group by kind")
    assert {row["kind"]: row["count"] for row in others} == {around: 2} | (
        {"tool": 2} if name == "otel_pydantic_ai.py" else {}
    )
    # The whole conversation went out with each call; each message of it is there once.
    told = rows(database_url, "select role, count(*) from conversation_messages group by role")
    assert {row["role"]: row["count"] for row in told} == {"system": 1, "user": 2, "assistant": 4, "tool": 2}
    last = rows(database_url, "select role from conversation_prompt(%s) order by position", calls[-1]["id"])
    assert [row["role"] for row in last] == [
        "system",
        *["user", "assistant", "tool", "assistant"],
        *["user", "assistant", "tool"],
    ]


@pytest.mark.slow
def test_a_message_history_is_stored_once(database_url: str, tmp_path: Path) -> None:
    run("message_history.py", database_url, tmp_path)
    landed = runs(database_url)
    assert len(landed) == 5
    assert {row["session_id"] for row in landed} == {landed[0]["session_id"]}
    assert landed[0]["session_id"].startswith("history-")
    said = [line for row in landed for line in transcript(database_url, row["id"])]
    assert [content for role, content in said if role == "user"] == [
        "I have eggs and spinach.",
        "And some butter, too.",
        "So what shall I cook?",
        "Thanks!",
        "Thanks!",
    ]
    assert [content for role, content in said if role == "assistant"] == [
        "Noted.",
        "Noted.",
        "Make the spinach omelette.",
        "You are welcome.",
        "You are welcome.",
    ]
    # Ten turns and one system prompt, however often they were sent.
    assert rows(database_url, "select count(*) from conversation_messages")[0]["count"] == 11
    last = rows(
        database_url,
        "select p.role, p.content"
        " from (select id from conversation_spans where kind = 'llm' order by started_at desc limit 1) s"
        " cross join lateral conversation_prompt(s.id) p order by p.position",
    )
    assert [row["role"] for row in last] == ["system", *["user", "assistant"] * 4, "user"]


@pytest.mark.slow
def test_what_the_store_and_the_tracer_tell_is_stored_once(database_url: str, tmp_path: Path) -> None:
    printed = run("conversation_store.py", database_url, tmp_path)
    said = [
        ("assistant", "Chef Chopsky here. What is in your pantry?"),
        ("user", "Eggs and spinach."),
        ("assistant", "Make a spinach omelette."),
        ("user", "No butter."),
        ("assistant", "Fry it in olive oil."),
        ("user", "Thanks!"),
        ("assistant", "You are welcome."),
    ]
    found = rows(database_url, "select role, content, said is not null as both from conversation_messages")
    assert Counter((row["role"], row["content"]) for row in found) == Counter(said)
    # All but the greeting, which no run said.
    assert [row["content"] for row in found if not row["both"]] == [said[0][1]]
    session = rows(database_url, "select * from conversation_sessions")
    assert [(row["user_id"], row["title"], row["state"]) for row in session] == [("ada", "Dinner", "delivered")]
    assert {row["session_id"] for row in runs(database_url)} == {session[0]["session_id"]}
    assert "Latest of ada's: Dinner, delivered, until " in printed
    exported = json.loads(printed[printed.index("{\n") : printed.index("\n}\n") + 2])
    assert [(one["role"], one["content"]) for one in exported["messages"]] == said
    assert exported["messages"][2]["metadata"] == {"shown_in": "web"}


@pytest.mark.slow
def test_the_fastapi_script_shows_that_nobody_crossed(database_url: str, tmp_path: Path) -> None:
    printed = run("fastapi_streaming.py", database_url, tmp_path)
    assert f"{USERS} users asked at once over HTTP; 0 got an answer that was not theirs." in printed
    assert f"{USERS} runs stored, 0 under the wrong user." in printed
    assert len({row["user_id"] for row in runs(database_url)}) == USERS


SECRET = secrets.token_hex(32)


def token(
    user_id: str, tenant_id: str, *, secret: str = SECRET, algorithm: str = "HS256", lifetime_s: int = 300
) -> str:
    """A token like Supabase Auth's; user_metadata claims another tenant, as any user can make it do."""
    claims = {
        "sub": user_id,
        "aud": "authenticated",
        "exp": int(time.time()) + lifetime_s,
        "app_metadata": {"tenant_id": tenant_id},
        "user_metadata": {"tenant_id": "stolen"},
    }
    return jwt.encode(claims, "" if algorithm == "none" else secret, algorithm=algorithm)


@contextmanager
def served(database_url: str, data_dir: Path) -> Iterator[str]:
    """The application under uvicorn on a free loopback port, ended with SIGTERM; it must stop by itself then."""
    log = data_dir / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "fastapi_streaming:app", "--host", "127.0.0.1", "--port", "0"],
            env=environment(database_url, data_dir, SUPABASE_JWT_SECRET=SECRET),
            cwd=data_dir,
            stderr=file,
            stdout=subprocess.DEVNULL,
        )
    try:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8"))):
            assert server.poll() is None, log.read_text("utf-8")
            time.sleep(0.05)
        yield found[0]
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        assert "Traceback" not in log.read_text("utf-8")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


async def ask(client: httpx.AsyncClient, bearer: str, spice: str) -> str:
    """The whole streamed answer."""
    body = {"text": f"My secret spice is {spice}. What now?", "session_id": "1"}
    response = await client.post("/chat", json=body, headers={"Authorization": f"Bearer {bearer}"})
    assert response.status_code == 200, response.text
    return response.text


@pytest.mark.slow
def test_fifty_users_at_once_never_cross(database_url: str, tmp_path: Path) -> None:
    people = {str(uuid4()): (f"kitchen-{number % 5}", f"spice-{secrets.token_hex(6)}") for number in range(USERS)}

    async def everyone(address: str) -> list[str]:
        limits = httpx.Limits(max_connections=USERS)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as client:
            asked = (ask(client, token(user, tenant), spice) for user, (tenant, spice) in people.items())
            return await asyncio.gather(*asked)

    with served(database_url, tmp_path) as address:
        answers = asyncio.run(everyone(address))
    assert [spice in answer for (_, spice), answer in zip(people.values(), answers, strict=True)] == [True] * USERS

    # The server has ended: everything it accepted must be in the tables.
    landed = runs(database_url)
    assert {(row["user_id"], row["tenant_id"], row["session_id"], row["status"]) for row in landed} == {
        (user, tenant, "1", "completed") for user, (tenant, _) in people.items()
    }
    assert len(landed) == USERS
    for row in landed:
        spice = people[row["user_id"]][1]
        assert transcript(database_url, row["id"]) == [
            ("user", f"My secret spice is {spice}. What now?"),
            ("assistant", f"Then I would season everything with {spice} today."),
        ]
    strangers = rows(
        database_url,
        "select count(*) from conversation_messages m join conversation_runs r on r.id = m.conversation_run_id"
        " where (m.user_id, m.tenant_id) is distinct from (r.user_id, r.tenant_id)",
    )
    assert strangers[0]["count"] == 0


@pytest.mark.slow
def test_a_signed_in_user_reads_their_own_rows_only(database_url: str, tmp_path: Path) -> None:
    people = [("ada", "kitchen-1", "saffron"), ("bob", "kitchen-1", "cumin"), ("ada", "kitchen-2", "pepper")]

    async def everyone(address: str) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as client:
            await asyncio.gather(*(ask(client, token(user, tenant), spice) for user, tenant, spice in people))

    with served(database_url, tmp_path) as address:
        asyncio.run(everyone(address))
    assert len(runs(database_url)) == len(people)
    claims = {"sub": "ada", "role": "authenticated", "app_metadata": {"tenant_id": "kitchen-1"}}
    with psycopg.connect(database_url) as connection:
        connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        connection.execute("set local role authenticated")
        seen = connection.execute(
            "select role, content from conversation_messages order by created_at, role desc"
        ).fetchall()
    assert [role for role, _ in seen] == ["user", "assistant"]
    assert all("saffron" in content for _, content in seen)


@pytest.mark.slow
def test_a_token_that_does_not_verify_is_refused_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    bad = [
        token("mallory", "kitchen-1", secret=secrets.token_hex(32)),
        token("mallory", "kitchen-1", lifetime_s=-60),
        token("mallory", "kitchen-1", algorithm="none"),
        "not.a.token",
    ]
    body = {"text": "Hello", "session_id": "1"}
    with (
        served(database_url, tmp_path) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        answers = [client.post("/chat", json=body, headers={"Authorization": f"Bearer {each}"}) for each in bad]
        answers.append(client.post("/chat", json=body))
    assert [answer.status_code for answer in answers] == [401] * 5
    assert runs(database_url) == []
