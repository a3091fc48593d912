"""The command line, run as people and scripts run it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fix_postgres import as_user
from read_rows import agent_turn, call, ident, ingest, message, run, span

from chopsky_trace.cli import main
from chopsky_trace.commands import doctor
from chopsky_trace.commands.present import cost, dump, duration, money, plain, tokens
from chopsky_trace.database import migrate as migrations
from chopsky_trace.database.connect import Connection, Place
from chopsky_trace.settings import Settings

Invoke = Callable[..., Result]
COMMANDS = ("migrate", "rollback", "status", "runs", "show", "cost", "tail", "check", "reprice", "stop", "doctor")


@pytest.fixture
def invoke(database_url: str) -> Invoke:
    def run_command(*arguments: str, url: str | None = None, **variables: str) -> Result:
        environment = {"CHOPSKY_TRACE_DATABASE_URL": url or database_url, "COLUMNS": "80", "TZ": "UTC"} | variables
        return CliRunner().invoke(main, arguments, env=environment)

    return run_command


def answer(result: Result, code: int = 0) -> Any:
    """The JSON object that is all of stdout."""
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_a_url_and_examples(invoke: Invoke, name: str):
    text = invoke(name, "--help").stdout
    assert "--json" in text
    assert "--database-url" in text
    assert f"Examples:\n    chopsky-trace {name}" in text


def test_runs_in_text_fit_80_columns_and_hold_no_colour(invoke: Invoke, connection: Connection):
    agent_turn(connection, user_id="a-user-with-a-long-name", session_id="and-a-session-with-a-long-name")
    result = invoke("runs")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in result.stdout
    assert all(part in lines[2] for part in (ident("turn")[:13] + " ", "completed", "300", "$0.000323", "1.00 s", "…"))


@pytest.mark.parametrize("columns", [40, 60, 79, 80, 100, 119, 120, 200])
def test_a_run_listed_at_any_width_can_be_shown(invoke: Invoke, connection: Connection, columns: int):
    """Ids of one millisecond are long, and so are numbers that lack something: other things give way."""
    ids = [f"019ac0de-0000-7abc-8{number:03x}-000000000001" for number in range(3)]
    for run_id in ids:
        root = span("x", "x") | {"id": run_id, "conversation_run_id": run_id, "status": "interrupted"}
        lacking = {"cost": None, "total_tokens": None, "input_tokens": None, "output_tokens": None}
        numbers = {"cost": "1234.5", "total_tokens": 12_345_678, "response_time_ms": 3_599_000}
        calls = [
            call("x", f"{run_id} {number}", parent="x", **columns_of_it)
            | {"conversation_run_id": run_id, "parent_span_id": run_id}
            for number, columns_of_it in enumerate((numbers, lacking, lacking))
        ]
        scope = {"user_id": "a-user-with-a-long-name", "session_id": "and-a-session", "project": "kitchen"}
        ingest(connection, root, *calls, runs=[{"id": run_id, **scope}])
    lines = invoke("runs", COLUMNS=str(columns)).stdout.splitlines()
    assert max(map(len, lines)) <= columns
    shown = [line.split()[0] for line in lines[2:]]
    assert [answer(invoke("show", short, "--json"))["run"]["id"] for short in shown] == ids[::-1]


def test_runs_in_json(invoke: Invoke, connection: Connection):
    for name in ("a", "b", "c"):
        agent_turn(connection, name)
    data = answer(invoke("runs", "--limit", "2", "--json"))
    assert [row["name"] for row in data["runs"]] == ["c", "b"]
    row = data["runs"][0]
    assert (row["total_cost"], row["started_at"]) == ("0.0003230000", "2026-03-01T12:00:00Z")
    assert [row["name"] for row in answer(invoke("runs", "--after", data["next"], "--json"))["runs"]] == ["a"]


def test_filters_reach_the_database(invoke: Invoke, connection: Connection):
    agent_turn(connection, "a", user_id="ana", session_id="1")
    agent_turn(connection, "b")
    for option, value in (("--user", "ana"), ("--session", "1")):
        assert [row["name"] for row in answer(invoke("runs", option, value, "--json"))["runs"]] == ["a"]
    assert len(answer(invoke("runs", "--since", "2026-01-01", "--json"))["runs"]) == 2
    assert answer(invoke("runs", "--since", "1s", "--json"))["runs"] == []
    assert answer(invoke("runs", "--since", "2100-01-01T00:00:00+02:00", "--json"))["runs"] == []
    assert "No conversation runs." in invoke("runs", "--status", "failed").stdout


def test_show_a_run(invoke: Invoke, connection: Connection):
    run_id = agent_turn(connection, user_id="ana", session_id="s")
    text = invoke("show", run_id[:8], COLUMNS="160").stdout
    for part in (
        "completed", "user ana", "session s", "tokens 300 (260 in, 40 out)", "cost $0.000323", "errors 1", "retries 1",
        "What is in a ragù?", "Meat and [red]tomato[/red].",
        "100 in (40 cached), 20 out, $0.000123, 1.00 s, first token 210 ms",
        "ValueError: no such dish",
    ):  # fmt: skip
        assert part in text
    assert "You are a cook." not in text
    assert "You are a cook." in invoke("show", run_id, "--messages").stdout
    tree = invoke("show", run_id, "--tree").stdout
    assert "lookup again" in tree
    assert "ragù?" not in tree


def test_the_head_of_a_run_stays_indented_where_it_wraps(invoke: Invoke, connection: Connection):
    scope = {"user_id": "ana", "session_id": "s" * 30, "tenant_id": "t" * 30, "project": "p" * 30}
    run_id = agent_turn(connection, **scope)
    head = invoke("show", run_id, "--tree").stdout.split("\n\n")[0].splitlines()
    assert max(map(len, head)) <= 80
    assert head[0].startswith(f"Conversation run {run_id}")
    assert len(head) >= 6
    assert all(line.startswith("  ") and line[2] != " " for line in head[1:])


def test_the_tree_tells_what_to_show_next(invoke: Invoke, connection: Connection):
    run_id = agent_turn(connection)
    lines = invoke("show", run_id, "--tree", COLUMNS="160").stdout.splitlines()
    shown = {name: next(line for line in lines if f"llm {name} " in line) for name in ("plan", "answer")}
    for name, line in shown.items():
        (short,) = [word for word in line.split() if ident("turn", name).startswith(word)]
        assert answer(invoke("show", "--prompt", short, "--json"))["span_id"] == ident("turn", name)
    assert ident("turn", "lookup")[:13] in "".join(lines)


def test_show_in_json_keeps_its_keys(invoke: Invoke, connection: Connection):
    run_id = agent_turn(connection)
    whole = answer(invoke("show", run_id, "--json"))
    tree = answer(invoke("show", run_id, "--tree", "--json"))
    assert whole.keys() == tree.keys()
    assert (whole["kind"], len(whole["messages"]), len(whole["spans"])) == ("run", 2, 5)
    assert (tree["messages"], tree["spans"]) == (None, whole["spans"])


def test_long_runs_are_shown_in_pages(invoke: Invoke, connection: Connection):
    run_id = agent_turn(connection)
    first = answer(invoke("show", run_id, "--messages", "--limit", "3", "--json"))
    second = answer(invoke("show", run_id, "--messages", "--after", str(first["next_messages"]), "--json"))
    assert [row["sequence"] for row in first["messages"] + second["messages"]] == [1, 2, 3, 4, 5]
    assert second["next_messages"] is None
    first = answer(invoke("show", run_id, "--tree", "--limit", "3", "--json"))
    second = answer(invoke("show", run_id, "--tree", "--after", first["next_spans"], "--json"))
    assert len({row["id"] for row in first["spans"] + second["spans"]}) == 5
    assert invoke("show", run_id, "--after", "nonsense").exit_code == 2


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_a_session_is_shown_in_order_and_in_pages(invoke: Invoke, connection: Connection, limit: int):
    for number in (2, 0, 1):
        agent_turn(
            connection, f"turn {number}", second=60 * number, question=f"question {number}", session_id="thread one"
        )
    told: list[str] = []
    cursor: list[str] = []
    while True:
        page = answer(invoke("show", "thread one", "--limit", str(limit), *cursor, "--json"))
        told += [
            message["content"] for entry in page["runs"] for message in entry["messages"] if message["role"] == "user"
        ]
        if page["next"] is None:
            break
        cursor = ["--after", page["next"]]
    assert told == ["question 0", "question 1", "question 2"]
    text = invoke("show", "thread one").stdout
    assert text.index("question 0") < text.index("question 1") < text.index("question 2")


def test_show_a_span(invoke: Invoke, connection: Connection):
    agent_turn(connection)
    span_id = ident("turn", "lookup")
    connection.execute("""update conversation_spans set inputs = '{"dish": "soup"}' where id = %s""", [span_id])
    text = invoke("show", span_id[:10]).stdout
    assert '"dish": "soup"' in text
    assert "ValueError: no such dish" in text
    data = answer(invoke("show", span_id, "--json"))
    assert (data["kind"], data["span"]["inputs"], len(data["spans"])) == ("span", {"dish": "soup"}, 1)


def test_show_a_prompt(invoke: Invoke, connection: Connection):
    run_id = agent_turn(connection)
    span_id = ident("turn", "answer")
    for arguments in (("--prompt", span_id), (span_id, "--prompt"), (run_id, "--prompt", span_id)):
        prompt = answer(invoke("show", *arguments, "--json"))
        assert [row["role"] for row in prompt["messages"]] == ["system", "user", "assistant", "tool"]
        assert prompt["complete"] is True
    assert "-> lookup" in invoke("show", "--prompt", span_id).stdout
    agent_turn(connection, "other")
    assert invoke("show", ident("other"), "--prompt", span_id).exit_code == 1
    assert "no model call" in invoke("show", "--prompt", ident("turn", "lookup")).stderr


def test_a_prompt_that_lacks_a_message_is_a_problem(invoke: Invoke, connection: Connection):
    agent_turn(connection)
    connection.execute("delete from conversation_messages where role = 'tool'")
    prompt = answer(invoke("show", "--prompt", ident("turn", "answer"), "--json"), code=1)
    assert prompt["complete"] is False
    assert "no longer stored" in invoke("show", "--prompt", ident("turn", "answer")).stdout


def test_what_a_terminal_would_obey_is_shown_instead(invoke: Invoke, connection: Connection):
    text = "\x1b]0;owned\x07 \u202egnp.exe"
    ingest(
        connection,
        span("r", "r") | {"name": f"\x1b[31m{text}", "error": text},
        message("r", text, "user", 0),
        runs=[run("r", user_id=text)],
    )
    for arguments in (("runs",), ("show", ident("r")), ("tail", "--once")):
        shown = invoke(*arguments).stdout
        assert "owned" in shown
        assert not any(sign in shown for sign in ("\x1b", "\x07", "\u202e"))


def test_unknown_is_never_zero(invoke: Invoke, connection: Connection):
    nothing = {"cost": None, "input_tokens": None, "output_tokens": None, "total_tokens": None}
    ingest(connection, span("u", "u"), call("u", "call", parent="u", **nothing), runs=[run("u")])
    data = answer(invoke("cost", "--json"))
    assert (data["total"]["cost"], data["total"]["unpriced_calls"]) == (None, 1)
    for arguments in (("cost",), ("runs",), ("show", ident("u")), ("tail", "--once")):
        text = invoke(*arguments).stdout
        assert "unknown" in text
        assert "$0" not in text


@pytest.mark.parametrize("by", ["model", "user", "tenant", "session", "day", "project"])
def test_cost_in_text_and_json(invoke: Invoke, connection: Connection, by: str):
    agent_turn(connection, user_id="ana", tenant_id="acme", session_id="s", project="kitchen")
    keys = {
        "model": "gpt-4o-mini",
        "user": "ana",
        "tenant": "acme",
        "session": "s",
        "day": "2026-03-01",
        "project": "kitchen",
    }
    data = answer(invoke("cost", "--by", by, "--json"))
    assert [(row["key"], row["cost"]) for row in data["rows"]] == [(keys[by], "0.0003230000")]
    counts = ("input_tokens", "output_tokens", "total_tokens", "unpriced_calls", "unmeasured_calls", "reported_calls")
    # Counts are numbers, as `runs --json` has them, and money a text.
    assert {type(row[name]) for row in (*data["rows"], data["total"]) for name in counts} == {int}
    text = invoke("cost", "--by", by).stdout
    assert keys[by] in text
    assert "$0.000323" in text


def test_tail_once_is_a_json_object_a_line(invoke: Invoke, connection: Connection):
    agent_turn(connection, "a")
    agent_turn(connection, "b")
    result = invoke("tail", "--once", "--json")
    assert [(line["event"], line["run"]["name"]) for line in map(json.loads, result.stdout.splitlines())] == [
        ("ended", "a"),
        ("ended", "b"),
    ]
    assert len(invoke("tail", "--once", "--limit", "1").stdout.splitlines()) == 1


def test_tail_follows_until_it_is_interrupted(database_url: str, connection: Connection):
    command = [sys.executable, "-m", "chopsky_trace.cli", "tail", "--json", "--interval", "0.2"]
    environment = os.environ | {"CHOPSKY_TRACE_DATABASE_URL": database_url, "PYTHONPATH": os.pathsep.join(sys.path)}
    agent_turn(connection, "first")
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["run"]["name"] == "first"
        agent_turn(connection, "second")
        assert json.loads(process.stdout.readline())["run"]["name"] == "second"
        process.send_signal(2)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        ("tail", "click"),
        ("tail", "psycopg"),
        ("serve --port 0", "starlette"),
        ("serve --port 0", "uvicorn"),
        ("cost", "rich"),
    ],
)
def test_ctrl_c_while_it_begins_leaves_without_a_word(arguments: str, module: str):
    """Python says of each module when it is loaded; an exception there would be a traceback, or be lost."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Should it come so far, it waits for a database that does not answer.
        url = f"postgresql://chef@127.0.0.1:{silent.getsockname()[1]}/kitchen"
        environment = os.environ | {"CHOPSKY_TRACE_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-X", "importtime", "-m", "chopsky_trace", *arguments.split()]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert any(line.split("|")[-1].strip() == module for line in process.stderr)
            process.send_signal(2)
            said = [line for line in process.stderr if not line.startswith("import time:")]
            # 0: it had begun, and was ended as one ends it.
            assert process.wait(timeout=60) in (-2, 0)
        assert said == []


def test_ctrl_c_ends_a_command_with_130():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://chef@127.0.0.1:{silent.getsockname()[1]}/kitchen"
        environment = os.environ | {"CHOPSKY_TRACE_DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-m", "chopsky_trace", "runs"], env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            asking, _ = silent.accept()
            with asking:
                process.send_signal(2)
                assert process.wait(timeout=60) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_check(invoke: Invoke, connection: Connection, admin: Connection):
    run_id = agent_turn(connection)
    data = answer(invoke("check", "--json"))
    assert data["checked"] == {"runs": 1, "spans": 5, "messages": 5, "prompts": 2}
    assert (data["total"], data["exceptions"]) == (0, [])
    admin.execute(
        "set session_replication_role = replica; update conversation_runs set total_cost = 1, total_messages = 9"
    )
    data = answer(invoke("check", "--json"), code=1)
    assert data["counts"]["totals"] == data["total"] == 2
    money_one = next(one for one in data["exceptions"] if one["field"] == "total_cost")
    assert (money_one["conversation_run_id"], money_one["stored"], money_one["derived"]) == (run_id, "1", "0.000323")
    result = invoke("check", "--limit", "1")
    assert result.exit_code == 1
    assert run_id in result.stdout
    assert "1 more are not listed" in result.stdout


def test_migrate_and_rollback(invoke: Invoke, fresh_database: str):
    known = migrations.known_number()
    assert len(answer(invoke("migrate", "--verify", "--json", url=fresh_database), code=1)["pending"]) == known + 1
    assert "chopsky-trace migrate" in invoke("runs", url=fresh_database).stderr
    assert len(answer(invoke("migrate", "--json", url=fresh_database))["applied"]) == known + 1
    assert answer(invoke("migrate", "--json", url=fresh_database)) == {
        "schema": known,
        "applied": [],
        "pending": [],
        "verified": False,
        "supabase_ledger": {"state": "absent", "versions": []},
    }
    assert answer(invoke("migrate", "--verify", "--json", url=fresh_database))["pending"] == []
    refused = invoke("rollback", url=fresh_database)
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    beyond = invoke("rollback", "--to", "99", "--yes", url=fresh_database)
    assert (beyond.exit_code, f"the schema is at step {known}" in beyond.stderr) == (2, True)
    assert len(answer(invoke("rollback", "--yes", "--json", url=fresh_database))["rolled_back"]) == 1
    gone = answer(invoke("rollback", "--to", "-1", "--yes", "--json", url=fresh_database))
    assert (gone["schema"], len(gone["rolled_back"])) == (None, known)
    assert "there is no schema" in invoke("rollback", "--to", "0", "--yes", url=fresh_database).stderr


def test_status(invoke: Invoke, connection: Connection, fresh_database: str):
    writer = (
        "insert into writer_status (writer_id, host, process_id, version, schema_number, started_at, losses) values "
    )
    connection.execute(
        f"""{writer} (gen_random_uuid(), 'web-1', 42, '0.1.0', 8, now(), '{{"journal full": 3}}')""".encode()
    )
    data = answer(invoke("status", "--json"))
    assert data["origin"] == "CHOPSKY_TRACE_DATABASE_URL"
    assert data["schema"]["state"] == "current"
    assert data["writers"][0]["losses"] == {"journal full": 3}
    text = invoke("status").stdout
    assert "web-1:42" in text
    assert "3 journal full" in text
    missing = answer(invoke("status", "--json", url=fresh_database), code=1)
    assert (missing["schema"]["state"], missing["schema"]["current"]) == ("missing", None)


def test_status_of_a_role_that_may_not_see_the_ledger(invoke: Invoke, admin: Connection, database_url: str):
    """Row level security shows an empty ledger: that is not a database without tables."""
    admin.execute("create role stranger login; grant select on public.chopsky_migrations to stranger")
    try:
        url = as_user(database_url, "stranger")
        assert answer(invoke("status", "--json", url=url), code=1)["schema"]["state"] == "unseen"
        text = invoke("status", url=url, COLUMNS="200").stdout
    finally:
        admin.execute("drop owned by stranger; drop role stranger")
    assert "cannot see" in text
    assert "no tables yet" not in text


def test_stop_without_an_embedded_server_says_so(invoke: Invoke, database_url: str):
    assert "No embedded PostgreSQL runs" in invoke("stop").stdout
    assert answer(invoke("stop", "--json"))["stopped"] is False
    assert invoke("stop", "--database-url", database_url).exit_code == 2


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize(
    "arguments",
    [(name,) for name in COMMANDS if name not in ("show", "rollback", "reprice", "stop")]
    + [("show", "12345678"), ("rollback", "--yes"), ("reprice", "--from", "24h", "--yes")],
)
def test_no_command_shows_a_password_or_a_traceback(invoke: Invoke, arguments: tuple[str, ...]):
    url = f"postgresql://chef:hunter22@127.0.0.1:{closed_port()}/kitchen"
    for more in ((), ("--json",)):
        result = invoke(*arguments, *more, url=url)
        assert result.exit_code == 1
        assert "hunter22" not in result.output
        assert "Traceback" not in result.output
        told = result.stderr or result.stdout
        assert "refused" in told
        assert len(result.stderr.splitlines()) <= 1


def test_debug_raises_the_error_itself(invoke: Invoke):
    url = f"postgresql://chef:hunter22@127.0.0.1:{closed_port()}/kitchen"
    result = invoke("runs", url=url, CHOPSKY_TRACE_DEBUG="1")
    assert type(result.exception).__name__ == "ConnectError"
    assert "hunter22" not in str(result.exception)


def test_without_a_database_the_variable_is_named():
    result = CliRunner().invoke(main, ["runs"], env={"CI": "1"})
    assert result.exit_code == 1
    assert "CHOPSKY_TRACE_DATABASE_URL" in result.stderr


def test_the_option_goes_before_the_variable(invoke: Invoke, database_url: str):
    data = answer(invoke("status", "--database-url", database_url, "--json", url="postgresql://127.0.0.1:1/none"))
    assert data["origin"] == "argument"


@pytest.mark.parametrize(
    "arguments",
    [("runs", "--limit", "0"), ("runs", "--since", "soon"), ("show",), ("cost", "--by", "moon"), ("nothing",)],
)
def test_wrong_usage_is_2(invoke: Invoke, arguments: tuple[str, ...]):
    assert invoke(*arguments).exit_code == 2


def test_an_unknown_id_names_the_remedy(invoke: Invoke):
    result = invoke("show", ident("nothing"), "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "chopsky-trace runs" in result.stderr


def test_doctor_is_content(invoke: Invoke, connection: Connection):
    data = answer(invoke("doctor", "--json"))
    assert data["ok"] is True
    steps = ["url", "address", "connection", "tls", "pooler", "role", "clock", "schema", "grants", "probe", "journal"]
    assert [step["step"] for step in data["steps"]] == steps
    assert connection.execute("select count(*) from conversation_runs").fetchone() == (0,)


def states(result: Result) -> dict[str, str]:
    return {step["step"]: step["state"] for step in answer(result, code=1)["steps"]}


def test_doctor_finds_a_missing_schema(invoke: Invoke, fresh_database: str):
    found = states(invoke("doctor", "--json", url=fresh_database))
    assert (found["connection"], found["schema"], found["grants"], found["probe"], found["journal"]) == (
        "ok", "failed", "skipped", "skipped", "ok",
    )  # fmt: skip
    assert "chopsky-trace migrate" in invoke("doctor", url=fresh_database).stdout


def test_doctor_finds_a_role_without_rights(invoke: Invoke, database_url: str):
    found = states(invoke("doctor", "--json", url=as_user(database_url, "authenticator")))
    assert (found["connection"], found["schema"], found["grants"], found["probe"]) == (
        "ok",
        "failed",
        "failed",
        "failed",
    )


def test_doctor_finds_tables_that_anybody_may_read(invoke: Invoke, connection: Connection):
    connection.execute("grant select on conversation_messages to anon")
    try:
        result = invoke("doctor", "--json")
    finally:
        connection.execute("revoke select on conversation_messages from anon")
    step = next(step for step in answer(result, code=1)["steps"] if step["step"] == "grants")
    assert step["remedy"] == "revoke all on conversation_messages from anon"


def test_doctor_goes_on_without_a_connection(invoke: Invoke):
    found = states(invoke("doctor", "--json", url=f"postgresql://chef@127.0.0.1:{closed_port()}/kitchen"))
    assert (found["url"], found["connection"], found["probe"], found["journal"]) == ("ok", "failed", "skipped", "ok")


def test_doctor_finds_a_wrong_url(invoke: Invoke):
    found = states(invoke("doctor", "--json", url="https://abc.supabase.co"))
    assert (found["url"], found["address"]) == ("failed", "skipped")


def test_doctor_finds_a_name_that_does_not_exist(invoke: Invoke):
    result = invoke(
        "doctor",
        "--json",
        url="postgresql://postgres@db.abcdefghij.invalid/postgres",
        CHOPSKY_TRACE_CONNECT_TIMEOUT_S="2",
    )
    assert states(result)["address"] == "failed"


def test_doctor_explains_the_direct_host_of_supabase():
    found = doctor.only_ipv6("db.abcdefghij.supabase.co", "abcdefghij")
    assert found.state == "failed"
    assert "IPv6" in found.remedy
    assert "postgres.abcdefghij" in found.remedy
    assert "pooler" in doctor.unresolved("db.abcdefghij.supabase.co", "abcdefghij").remedy
    assert "Supabase" not in doctor.only_ipv6("db.example.com", None).remedy


@pytest.mark.parametrize(
    ("host", "port", "form"),
    [
        ("db.abcdefghij.supabase.co", 5432, "direct connection, project abcdefghij; IPv6 only"),
        ("db.abcdefghij.supabase.co", 6543, "dedicated pooler in transaction mode"),
        ("aws-0-eu-west-1.pooler.supabase.com", 5432, "session pooler"),
        ("aws-0-eu-west-1.pooler.supabase.com", 6543, "transaction pooler"),
    ],
)
def test_doctor_knows_the_ways_to_supabase(host: str, port: int, form: str):
    assert form in doctor.supabase_form(Place(host, None, port), "abcdefghij")


def test_doctor_misses_the_project_in_the_poolers_user():
    url = "postgresql://postgres@aws-0-eu-west-1.pooler.supabase.com:6543/postgres"
    address = next(step for step in doctor.examine(Settings(), url) if step.step == "address")
    assert address.state == "failed"
    assert "postgres.<project>" in address.remedy


def test_doctor_looks_at_every_host_of_a_url():
    url = "postgresql://chef@127.0.0.1:1,nowhere.invalid:2/kitchen"
    address = next(step for step in doctor.examine(Settings(), url) if step.step == "address")
    assert (address.state, address.detail) == ("failed", "The name nowhere.invalid cannot be resolved")


def test_doctor_finds_a_journal_folder_that_cannot_be_used(invoke: Invoke, tmp_path: Any):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    found = states(invoke("doctor", "--json", CHOPSKY_TRACE_DATA_DIR=str(blocked)))
    assert found["journal"] == "failed"


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0.000123", "$0.000123"), ("0", "$0"), ("0.5", "$0.50"), ("1.23456", "$1.2346"), ("1234.5", "$1,234.50"),
     ("0.0000000001", "$0.0000000001"), ("0.00012345678", "$0.0001235"), (None, "unknown")],
)  # fmt: skip
def test_money(amount: str | None, shown: str):
    assert money(None if amount is None else Decimal(amount)) == shown


def test_sums_name_what_is_not_in_them():
    assert cost(Decimal("0.1"), 2) == "$0.10 + 2 unknown"
    assert (cost(None, 2), cost(None, 0), tokens(None, 1), tokens(1234)) == ("unknown", "-", "unknown", "1,234")


def test_durations():
    assert [duration(value) for value in (None, 0, 0.4, 320, 1240, 59_999, 185_000)] == [
        "-", "0 ms", "0.4 ms", "320 ms", "1.24 s", "1 min 0 s", "3 min 5 s",
    ]  # fmt: skip


def test_json_keeps_money_exact_and_refuses_what_it_does_not_know():
    assert json.loads(dump({"cost": Decimal("1E-10")})) == {"cost": "0.0000000001"}
    with pytest.raises(TypeError):
        dump({"what": object()})
    assert plain("a\r\nb\tc\x9b") == "a\nb\tc\\x9b"
