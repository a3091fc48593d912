"""The past priced again: what prices did not change stays, what they did is right everywhere, and on record."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import writer_records as records
from click.testing import CliRunner, Result
from fix_postgres import Server
from psycopg import sql
from psycopg.rows import dict_row

from chopsky_trace.cli import main
from chopsky_trace.database import reprice as store
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.prices import read_overrides
from chopsky_trace.database.reprice import Wanted
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.delivery import Delivery

NOON = 1_795_000_000_000_000_000
"""In November 2026, in nanoseconds."""
AT = datetime.fromtimestamp(NOON // 10**9, UTC)
EVER = ("--from", "2026-01-01", "--to", "2027-01-01")
RUNS = ("updated_at",)
Invoke = Callable[..., Result]

MODELS = [
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-5"),
    ("azure", "gpt-4.1"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google_genai", "gemini-2.5-pro"),
    ("mistralai", "mistral-large-2512"),
    ("openai", "no-such-model"),
    ("nobody", "llama-3"),
    (None, None),
]


def langchain(whole: int, output: int, into: dict[str, int] | None = None, out: dict[str, int] | None = None) -> Any:
    stated: dict[str, Any] = {"input_tokens": whole, "output_tokens": output, "total_tokens": whole + output}
    if into:
        stated["input_token_details"] = into
    if out:
        stated["output_token_details"] = out
    return {"usage_metadata": stated}


USAGES: list[Any] = [
    langchain(1_000, 90),
    langchain(250_000, 800, {"cache_read": 240_000}),
    langchain(3_000, 100, {"cache_creation": 0, "ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 700}),
    langchain(3_000, 500, {"flex_cache_read": 100, "flex": 2_900}, {"flex_reasoning": 400}),
    langchain(3_000, 500) | {"service_tier": "batch"},
    langchain(3_000, 500) | {"service_tier": "priority", "response_metadata": {"service_tier": "priority"}},
    langchain(400, 50, {"audio": 300}, {"audio": 20}),
    # Parts over their whole.
    langchain(10, 50, {"cache_read": 300}),
    {"token_usage": {"prompt_tokens": 20, "completion_tokens": 5, "cost": 0.0123, "is_byok": False}},
    {
        "response_metadata": {
            "usage": {"input_tokens": 9, "output_tokens": 7, "server_tool_use": {"web_search_requests": 3}}
        }
    },
    {"token_usage": {"billed_units": {"input_tokens": 90, "output_tokens": 7}, "input_tokens": 95, "output_tokens": 7}},
    {"usage_metadata": {"output_tokens": 12}},
    {},
    None,
]


def call_lines(
    run: str,
    name: str,
    *,
    nth: int = 0,
    kind: str = "llm",
    provider: str | None = "openai",
    model: str | None = "gpt-4o-mini",
    usage: Any = USAGES[0],
    outputs: int = 1,
    **end: Any,
) -> list[bytes]:
    """A model call's start and end, so many milliseconds after NOON as it has its place."""
    began = NOON + nth * 1_000_000
    common: dict[str, Any] = {"run": records.span_id(run), "kind": kind} | ({"provider": provider} if provider else {})
    start = common | {"parent": records.span_id(run), "seen": began, "at": began // 1000}
    if asked := end.get("model_requested", model):
        start["model"] = asked
    bodies = [
        {"id": UUID(records.span_id(f"{name} {n}")).hex, "core": ["assistant", f"{name} {n}", [], None, None]}
        for n in range(outputs)
    ]
    told = common | {"seen": began + 5_000_000, "began": began, "started": began // 1000, "at": began // 1000 + 5_000}
    told |= {"model": model, "model_requested": model, "usage": usage, "duration_ms": 5.0}
    if bodies and kind == "llm":
        refs = [
            {"body": body["id"], "place": "out", "n": n, "position": n, "internal": False}
            for n, body in enumerate(bodies)
        ]
        told |= {"bodies": bodies, "messages": refs, "output_bodies": [body["id"] for body in bodies]}
    return [records.start(name, **start), records.end(name, **(told | end))]


def run_lines(name: str, *calls: list[bytes], **scope: str) -> list[bytes]:
    """A run around its calls."""
    root = records.start(name, seen=NOON, at=NOON // 1000, scope=scope)
    return [
        root,
        *(line for lines in calls for line in lines),
        records.end(name, seen=NOON + 10**9, at=NOON // 1000 + 10**6),
    ]


def odd_runs(seed: int, count: int = 60) -> list[list[bytes]]:
    """Runs of calls of every sort, their records in any order."""
    source = random.Random(seed)
    made: list[list[bytes]] = []
    for number in range(count):
        calls: list[list[bytes]] = []
        for nth in range(source.randint(1, 5)):
            provider, model = source.choice(MODELS)
            more: dict[str, Any] = {"cached": True} if source.random() < 0.15 else {}
            if source.random() < 0.15:
                more |= {"status": "failed"}
            more |= {"usage": source.choice(USAGES), "kind": source.choice(["llm", "llm", "llm", "embedding", "image"])}
            more |= {"outputs": source.choice([0, 1, 1, 1, 2]), "nth": source.randrange(10**6)}
            run = f"odd {seed} {number}"
            calls.append(call_lines(run, f"{run} {nth}", provider=provider, model=model, **more))
        lines = run_lines(f"odd {seed} {number}", *calls)
        source.shuffle(lines)
        made.append(lines)
    return made


def put(connection: Connection, *lines: bytes) -> None:
    """Stores these records as the worker does, by the team's own prices as they are now."""
    overrides = Overrides.from_rows(read_overrides(connection))
    write_batch(connection, Builder(overrides=lambda: overrides).build(lines).payload)


def own_price(connection: Connection, **columns: Any) -> None:
    """A row of model_prices."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = sql.SQL(", ").join(map(sql.Literal, columns.values()))
    connection.execute(sql.SQL("insert into model_prices ({}) values ({})").format(names, values))


@pytest.fixture
def odd(connection: Connection, database_url: str) -> Connection:
    """Runs of every sort, half of them stored as JSON, half by COPY; a few ends whose starts were lost."""
    for lines in odd_runs(1):
        put(connection, *lines)
    delivery = Delivery(Target(database_url, "test"), Settings())
    for lines in odd_runs(2):
        delivery.send(Builder().build(lines, packed=True))
        delivery.collect()
    delivery.disconnect()
    lost = [call_lines("lost", f"lost {n}", provider=p, model=m)[1] for n, (p, m) in enumerate(MODELS)]
    put(connection, *lost)
    first, second = connection.execute(
        "select array_agg(id order by id) from (select id from conversation_spans where cost > 0 order by id limit 2) c"
    ).fetchone()[0]  # pyright: ignore[reportOptionalSubscript]
    connection.execute(
        "update conversation_spans set duplicate_of = %s, cost = null, input_tokens = null, output_tokens = null,"
        " total_tokens = null where id = %s",
        [first, second],
    )
    connection.execute("update conversation_messages set cost = 0 where span_id = %s", [second])
    return connection


@pytest.fixture
def invoke(database_url: str) -> Invoke:
    def run_command(*arguments: str, url: str | None = None) -> Result:
        environment = {"CHOPSKY_TRACE_DATABASE_URL": url or database_url, "COLUMNS": "100", "TZ": "UTC"}
        return CliRunner().invoke(main, ["reprice", *arguments], env=environment)

    return run_command


def answer(result: Result, code: int = 0) -> Any:
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def everything(connection: Connection, *, without: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> Any:
    """All rows of all our tables, without these columns, but for these tables."""
    names = connection.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
    found: dict[str, Any] = {}
    for (name,) in names:
        if name not in but:
            with connection.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(sql.SQL("select * from {} t order by t::text").format(sql.Identifier(name)))
                found[name] = sorted(
                    repr({key: value for key, value in row.items() if key not in without}) for row in rows
                )
    return found


def audit(connection: Connection) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from conversation_repricings order by started_at").fetchall()


def agrees(url: str) -> None:
    """`chopsky-trace check` finds nothing wrong with numbers."""
    environment = {"CHOPSKY_TRACE_DATABASE_URL": url}
    counts = json.loads(CliRunner().invoke(main, ["check", "--json"], env=environment).stdout)["counts"]
    assert {name: counts[name] for name in ("totals", "message_costs", "analytics")} == dict.fromkeys(
        ("totals", "message_costs", "analytics"), 0
    )


def forget_prices(connection: Connection, where: str = "true", factor: str = "2") -> None:
    """As if other prices had held when these calls were stored: in spans, messages and totals alike."""
    connection.execute(
        f'with c as (update conversation_spans set cost = cost * {factor}, price_rates = \'{{"source": "of old"}}\''
        f" where cost_source = 'computed' and cost > 0 and {where} returning id, cost)"
        " update conversation_messages m set cost = c.cost from c where m.span_id = c.id and m.cost > 0".encode()
    )


def test_prices_that_stayed_change_nothing(odd: Connection, invoke: Invoke):
    before = everything(odd, but=("conversation_repricings",))
    said = answer(invoke(*EVER, "--yes", "--json"))
    assert everything(odd, but=("conversation_repricings",)) == before
    calls, duplicates = odd.execute(
        "select count(*) filter (where duplicate_of is null), count(*) filter (where duplicate_of is not null)"
        " from conversation_spans where kind in ('llm', 'embedding', 'image')"
    ).fetchone() or (0, 0)
    assert (said["seen"], said["changed"], said["skipped"], said["difference"]) == (calls, 0, 0, "0.0000000000")
    assert duplicates == 1
    assert {model["model"] for model in said["by_model"]} == {model for _, model in MODELS}
    sources = odd.execute("select count(distinct cost_source) from conversation_spans").fetchone()
    assert sources == (2,)


def test_other_prices_are_put_right_in_spans_messages_and_totals(odd: Connection, invoke: Invoke, database_url: str):
    before = everything(odd, without=RUNS, but=("conversation_repricings",))
    forget_prices(odd)
    agrees(database_url)
    (changed, old), (new,) = (
        odd.execute(
            "select count(*), sum(cost) from conversation_spans where price_rates ->> 'source' = 'of old'"
        ).fetchone()
        or (0, 0),
        odd.execute("select sum(cost) / 2 from conversation_spans where cost > 0").fetchone() or (0,),
    )
    assert changed > 50
    said = answer(invoke(*EVER, "--yes", "--json"))
    assert everything(odd, without=RUNS, but=("conversation_repricings",)) == before
    agrees(database_url)
    assert said["changed"] == changed
    assert (Decimal(said["old_cost"]), Decimal(said["new_cost"])) == (old, new)
    assert Decimal(said["difference"]) == new - old
    assert sum(Decimal(model["difference"] or 0) for model in said["by_model"]) == new - old
    again = answer(invoke(*EVER, "--yes", "--json"))
    assert (again["changed"], again["old_cost"], again["new_cost"]) == (0, said["new_cost"], said["new_cost"])


def test_the_teams_own_prices_hold_at_the_calls_time_and_for_the_tenant(
    connection: Connection, invoke: Invoke, database_url: str
):
    for run, scope in (("r", {"tenant_id": "acme"}), ("s", {"tenant_id": "other"}), ("t", {})):
        told = {"tenant": scope["tenant_id"]} if scope else {}
        put(connection, *run_lines(run, *[call_lines(run, f"{run}{n}", nth=n, **told) for n in range(3)], **scope))
    later = AT + timedelta(milliseconds=1)
    own_price(connection, model="gpt-4o-mini", input_mtok=1, output_mtok=1, valid_from=later)
    own_price(connection, model_pattern="gpt-4o.*", tenant_id="acme", input_mtok=2, output_mtok=2)
    look = invoke(*EVER, "--dry-run", "--json")
    said = answer(invoke(*EVER, "--yes", "--json"))
    assert said["changed"] == 7
    assert said["prices"]["overrides"] == 2
    assert said["prices"] == json.loads(look.stdout)["prices"]
    public, general, acme = Decimal("0.000204"), Decimal("0.00109"), Decimal("0.00218")
    costs = connection.execute("select name, cost from conversation_spans where kind = 'llm' order by name").fetchall()
    expected = {"r": (acme, acme, acme), "s": (public, general, general), "t": (public, general, general)}
    assert costs == [(f"{run}{n}", expected[run][n]) for run in "rst" for n in range(3)]
    agrees(database_url)
    stored = everything(connection, but=("conversation_repricings",))
    assert answer(invoke(*EVER, "--yes", "--json"))["changed"] == 0
    assert everything(connection, but=("conversation_repricings",)) == stored
    connection.execute("delete from model_prices")
    assert answer(invoke(*EVER, "--yes", "--json"))["changed"] == 7
    assert connection.execute("select distinct cost from conversation_spans where kind = 'llm'").fetchall() == [
        (public,)
    ]


def test_the_teams_own_prices_that_stayed_change_nothing(connection: Connection, invoke: Invoke):
    own_price(connection, model="gpt-5", input_mtok=7, output_mtok="0.000001", batch_factor="0.5")
    own_price(connection, model_pattern=".*sonnet.*", input_mtok=3, output_mtok=15, request_usd="0.001")
    own_price(
        connection,
        model="llama-3",
        provider="nobody",
        input_mtok=1,
        output_mtok=1,
        valid_until=AT + timedelta(seconds=500),
    )
    for lines in odd_runs(3):
        put(connection, *lines)
    assert answer(invoke(*EVER, "--yes", "--json"))["changed"] == 0
    used = connection.execute("select distinct price_rates ->> 'source' from conversation_spans").fetchall()
    assert sum("model_prices" in (origin or "") for (origin,) in used) == 3


def test_a_dry_run_says_the_same_and_writes_nothing(odd: Connection, invoke: Invoke):
    forget_prices(odd)
    before = everything(odd)
    said = answer(invoke(*EVER, "--dry-run", "--json"))
    assert everything(odd) == before
    assert (said["dry_run"], said["repricing"]) == (True, None)
    done = answer(invoke(*EVER, "--yes", "--json"))
    assert {**done, "dry_run": True, "repricing": None} == said
    assert said["changed"] > 50


def test_what_became_known_is_priced_and_what_is_no_longer_known_is_unknown(
    connection: Connection, invoke: Invoke, database_url: str
):
    put(
        connection,
        *run_lines("r", call_lines("r", "known", nth=1), call_lines("r", "unknown", nth=2, model="house-model")),
    )
    connection.execute(
        "update conversation_spans set cost = null, cost_source = 'unknown', price_rates = '{}' where model like 'gpt%'"
    )
    connection.execute("update conversation_spans set cost = 0.5, cost_source = 'computed' where model = 'house-model'")
    said = answer(invoke(*EVER, "--yes", "--json"))
    known, unknown = said["by_model"][1], said["by_model"][0]
    assert (known["model"], known["unpriced_before"], known["unpriced_after"]) == ("gpt-4o-mini", 1, 0)
    assert (unknown["model"], unknown["unpriced_before"], unknown["unpriced_after"]) == ("house-model", 0, 1)
    assert (unknown["old_cost"], unknown["new_cost"], unknown["difference"]) == ("0.5000000000", None, "-0.5000000000")
    run = connection.execute("select total_cost, unpriced_calls from conversation_runs").fetchone()
    messages = connection.execute("select cost from conversation_messages order by created_at, position").fetchall()
    assert run == (Decimal("0.000204"), 1)
    assert messages == [(Decimal("0.000204"),), (None,)]
    agrees(database_url)


def test_the_first_message_carries_the_cost_and_a_run_of_several_pages_is_whole(
    connection: Connection, invoke: Invoke, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    calls = [call_lines("r", f"c{n}", nth=n, outputs=n % 3) for n in range(20)]
    put(connection, *run_lines("r", *calls), *run_lines("s", call_lines("s", "alone")))
    forget_prices(connection)
    ids = [
        span
        for (span,) in connection.execute(
            "select id from conversation_spans where kind = 'llm' order by conversation_run_id, id"
        )
    ]
    wanted = Wanted(since=AT - timedelta(days=1), until=AT + timedelta(days=1))
    found = list(store.pages(connection, wanted, size=7))
    assert [len(page) for page in found] == [7, 7, 7]
    assert [span for page in found for span in page] == ids
    assert store.count(connection, wanted) == 21
    assert answer(invoke(*EVER, "--yes", "--json"))["changed"] == 21
    costs = connection.execute(
        "select array_agg(m.cost order by m.position) from conversation_messages m group by span_id"
    ).fetchall()
    assert {tuple(row[0]) for row in costs} == {(Decimal("0.000204"),), (Decimal("0.000204"), Decimal(0))}
    agrees(database_url)


def test_the_time_the_model_the_provider_and_the_tenant_narrow_it(connection: Connection, invoke: Invoke):
    first = run_lines(
        "r", call_lines("r", "a"), call_lines("r", "b", nth=1, provider="azure"),
        call_lines("r", "c", nth=2, model="gpt-5"),
        call_lines("r", "d", nth=3, model="gpt-5-2026", model_requested="gpt-5"),
        tenant_id="acme",
    )  # fmt: skip
    put(connection, *first, *run_lines("s", call_lines("s", "e", nth=4)), call_lines("l", "lost", nth=5)[1])

    def seen(*arguments: str) -> int:
        return answer(invoke(*arguments, "--dry-run", "--json"))["seen"]

    def at(nth: int) -> str:
        return (AT + timedelta(milliseconds=nth)).isoformat()

    assert seen(*EVER) == 6
    assert seen("--from", at(0), "--to", at(1)) == 1
    assert seen("--from", at(1), "--to", at(6)) == 5
    assert seen("--from", at(5), "--to", at(6)) == 1
    assert seen("--from", at(6), "--to", at(9)) == 0
    assert seen(*EVER, "--model", "gpt-5") == 2
    assert seen(*EVER, "--provider", "azure") == 1
    assert seen(*EVER, "--tenant", "acme") == 4
    assert seen(*EVER, "--tenant", "acme", "--model", "gpt-4o-mini", "--provider", "openai") == 1


def test_what_is_not_ours_to_price_stays(connection: Connection, invoke: Invoke):
    put(connection, *run_lines("r", *[call_lines("r", name, nth=n) for n, name in enumerate("abcd")]))
    put(connection, call_lines("r", "open", nth=9)[0])
    for name, change in {
        "a": "cost = 7, cost_source = 'reported'",
        "b": "cost = 8, cost_source = null",
        "c": "cost = null, duplicate_of = id",
        "d": "cost = null, cost_source = null",
    }.items():
        connection.execute(f"update conversation_spans set {change} where id = '{records.span_id(name)}'".encode())
    said = answer(invoke(*EVER, "--yes", "--json"))
    assert (said["seen"], said["changed"]) == (1, 1)
    costs = connection.execute("select name, cost from conversation_spans where kind = 'llm' order by name").fetchall()
    assert costs == [("a", 7), ("b", 8), ("c", None), ("d", Decimal("0.000204")), ("open", None)]


def test_it_is_on_record(connection: Connection, invoke: Invoke):
    put(connection, *run_lines("r", call_lines("r", "a"), call_lines("r", "b", nth=1, model="gpt-5"), tenant_id="acme"))
    forget_prices(connection)
    said = answer(invoke(*EVER, "--model", "gpt-5", "--provider", "openai", "--tenant", "acme", "--yes", "--json"))
    (row,) = audit(connection)
    assert (str(row["id"]), row["status"]) == (said["repricing"], "completed")
    assert row["started_at"] <= row["ended_at"] <= row["updated_at"]
    assert (row["model"], row["provider"], row["tenant_id"]) == ("gpt-5", "openai", "acme")
    assert (row["calls_from"], row["calls_to"]) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert row["prices"] == said["prices"]
    assert (row["calls_seen"], row["calls_changed"], row["calls_skipped"]) == (1, 1, 0)
    assert (row["old_cost"], row["new_cost"]) == (Decimal("0.0043"), Decimal("0.00215"))
    assert row["by_model"] == said["by_model"]
    assert isinstance(row["by_model"][0]["new_cost"], str), "money never passes through a float"
    assert (row["done_by"], row["application"]) == ("postgres", "chopsky-trace cli")


def test_the_text_shows_old_against_new_by_model(connection: Connection, invoke: Invoke):
    put(
        connection,
        *run_lines("r", call_lines("r", "a"), call_lines("r", "b", nth=1, provider="nobody", model="x[red]\x1b")),
    )
    assert "No calls to price again." in invoke("--from", "2025-01-01", "--to", "2025-02-01", "--yes").stdout
    forget_prices(connection, factor="0.5")
    result = invoke(*EVER, "--yes")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["openai/gpt-4o-mini", "1", "1", "$0.000102", "$0.000204", "+$0.000102", "-"] in rows
    assert ["nobody/x[red]\\x1b", "1", "0", "unknown", "unknown", "-", "1", ">", "1"] in rows
    assert ["all", "2", "1", "$0.000102", "+1?", "$0.000204", "+1?", "+$0.000102", "1", ">", "1"] in rows
    assert f"1 of 2 calls have a new price. conversation_repricings {audit(connection)[-1]['id']}" in result.stdout
    assert "A dry run: nothing was written." in invoke(*EVER, "--dry-run").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*EVER,), "--yes"),
        ((*EVER, "--json"), "--yes"),
        (("--from", "2026-02-01", "--to", "2026-02-01", "--yes"), "before"),
        (("--yes",), "--from"),
        (("--from", "soon", "--yes"), "ISO date"),
    ],
)
def test_nothing_happens_where_it_is_not_clear_what_is_meant(
    connection: Connection, invoke: Invoke, arguments: tuple[str, ...], told: str
):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert audit(connection) == []


def test_a_call_that_changed_since_it_was_read_keeps_what_it_got(connection: Connection):
    """Another record, another cost, another owner: each counts as changed."""
    put(connection, *run_lines("r", *[call_lines("r", name, nth=n) for n, name in enumerate("abcde")]))
    names = {UUID(records.span_id(name)): name for name in "abcde"}
    calls = store.read_calls(connection, list(names))
    put(connection, call_lines("r", "a", seen=NOON + 6_000_000, usage=langchain(2_000, 90))[1])
    put(
        connection,
        call_lines("r", "b", nth=1, model="gpt-5")[0]
        .replace(b'"name":"b"', b'"name":"later"')
        .replace(str(NOON + 1_000_000).encode(), str(NOON + 1_000_009).encode()),
    )
    connection.execute(
        "update conversation_spans set cost = 3, cost_source = 'reported' where id = %s", [records.span_id("c")]
    )
    connection.execute(
        "update conversation_spans set duplicate_of = id, cost = null where id = %s", [records.span_id("d")]
    )
    before = everything(connection, without=RUNS)
    kept = ("id", "conversation_run_id", "start_version", "end_version")
    costs = [
        {name: call[name] for name in kept}
        | {"old_cost": call["cost"], "old_cost_source": call["cost_source"]}
        | {"cost": Decimal(9), "cost_source": "computed", "price_rates": {}}
        for call in sorted(calls, key=lambda call: names[call["id"]])
    ]
    seen: list[set[UUID]] = []
    written = store.write_costs(connection, costs[:4], seen.append)
    assert (written, seen) == (set(), [set()])
    assert everything(connection, without=RUNS) == before
    assert {names[call["id"]] for call in store.read_calls(connection, list(names))} == {"a", "b", "e"}
    assert {names[span] for span in store.write_costs(connection, costs, seen.append) or ()} == {"e"}


def test_writers_beside_it_lose_nothing_and_neither_does_it(connection: Connection, invoke: Invoke, database_url: str):
    """Later records of the same calls, new ones, and a reprice of all, at once; then all prices are right."""
    put(
        connection,
        *(
            line
            for n in range(40)
            for line in run_lines(f"r{n}", *[call_lines(f"r{n}", f"r{n} {m}", nth=m) for m in range(10)])
        ),
    )
    forget_prices(connection)
    stop = threading.Event()
    failures: list[Exception] = []

    def write(seed: int) -> None:
        source = random.Random(seed)
        with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as own:
            for n in range(2_000):
                if stop.is_set():
                    return
                run, call = source.randrange(50), source.randrange(12)
                later = call_lines(
                    f"r{run}", f"r{run} {call}", nth=call, seen=NOON + 6_000_000 + n, usage=langchain(1_000 + n, seed)
                )
                try:
                    put(own, *later)
                except psycopg.errors.DeadlockDetected as error:
                    failures.append(error)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    try:
        said = answer(invoke(*EVER, "--yes", "--json"))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert said["seen"] >= 400
    assert said["skipped"] == 0
    assert failures == []
    assert connection.execute(
        "select count(*) from conversation_spans where price_rates ->> 'source' = 'of old'"
    ).fetchone() == (0,)
    assert answer(invoke(*EVER, "--yes", "--json"))["changed"] == 0
    agrees(database_url)


@contextmanager
def holding(url: str, run: str) -> Iterator[None]:
    """Somebody else holds a run's row."""
    with psycopg.connect(url) as other:
        other.execute("select 1 from conversation_runs where id = %s for update", [run])
        yield


def test_rows_that_others_hold_are_skipped_told_and_done_later(
    connection: Connection, invoke: Invoke, database_url: str
):
    put(connection, *run_lines("r", call_lines("r", "a")), *run_lines("s", call_lines("s", "b", model="house-model")))
    forget_prices(connection)
    with holding(database_url, records.span_id("r")):
        result = invoke(*EVER, "--yes")
    assert result.exit_code == 1
    assert "1 calls were changed meanwhile and keep their cost: run it again" in result.stdout
    (row,) = audit(connection)
    assert (row["status"], row["calls_seen"], row["calls_changed"], row["calls_skipped"]) == ("completed", 2, 0, 1)
    assert row["old_cost"] == row["new_cost"] == Decimal("0.000408")
    assert answer(invoke(*EVER, "--yes", "--json"))["new_cost"] == "0.0002040000"


@pytest.mark.parametrize("how", ["ctrl-c", "connection lost"])
def test_broken_off_it_is_seen_and_the_same_again_does_the_rest(
    connection: Connection, admin: Connection, invoke: Invoke, database_url: str, how: str
):
    names = sorted((f"r{n}" for n in range(30)), key=records.span_id)
    each = store.PAGE_CALLS // 25
    for name in names:
        put(connection, *run_lines(name, *[call_lines(name, f"{name} {n}", nth=n, outputs=0) for n in range(each)]))
    right = everything(connection, without=RUNS, but=("conversation_repricings",))
    forget_prices(connection)
    command = [sys.executable, "-m", "chopsky_trace.cli", "reprice", *EVER, "--yes"]
    environment = os.environ | {"CHOPSKY_TRACE_DATABASE_URL": database_url}
    with holding(database_url, records.span_id(names[-1])):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not (rows := audit(connection)) or not rows[0]["calls_seen"]:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        if how == "ctrl-c":
            process.send_signal(signal.SIGINT)
        else:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'chopsky-trace cli' and datname = current_database()"
            )
        _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if how == "ctrl-c" else 1)
    assert "Broken off" in said
    (row,) = audit(connection)
    assert (row["status"], row["calls_seen"], row["calls_changed"]) == (
        "interrupted",
        store.PAGE_CALLS,
        store.PAGE_CALLS,
    )
    assert row["ended_at"] is not None
    agrees(database_url)
    rest = answer(invoke(*EVER, "--yes", "--json"))
    assert rest["changed"] == 30 * each - store.PAGE_CALLS
    assert everything(connection, without=RUNS, but=("conversation_repricings",)) == right


def test_the_service_may_and_nobody_else(
    connection: Connection, invoke: Invoke, database_url: str, postgres_server: Server
):
    put(connection, *run_lines("r", call_lines("r", "a")))
    forget_prices(connection)
    for role in ("anon", "authenticated"):
        denied = invoke(*EVER, "--yes", url=f"{database_url}&options=-crole%3D{role}")
        assert denied.exit_code == 1
        assert "may not" in denied.stderr
        for statement in (
            "select * from conversation_repricings",
            "insert into conversation_repricings (calls_from, calls_to) values (now(), now())",
            "select chopsky_write_costs('[]')",
        ):
            with connection.transaction(force_rollback=True):
                connection.execute(f"set local role {role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    assert answer(invoke(*EVER, "--yes", "--json", url=f"{database_url}&options=-crole%3Dservice_role"))["changed"] == 1
    with connection.transaction(force_rollback=True):
        connection.execute("set local role service_role")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from conversation_repricings")


def test_a_schema_without_it_names_the_remedy(invoke: Invoke, fresh_database: str):
    result = invoke(*EVER, "--yes", url=fresh_database)
    assert result.exit_code == 1
    assert "chopsky-trace migrate" in result.stderr
