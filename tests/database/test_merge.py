"""One model call seen twice is one call: whoever tells of it, in whichever order, its tokens count once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row
from seen_twice import FRAMEWORK, LANGCHAIN, NATIVE, OTHER_FRAMEWORK, PROVIDER, World, hexid, usage

from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader, RunFilter
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.delivery import Delivery, trouble

UNCOMPARED = {
    "conversation_runs": ("created_at", "updated_at"),
    "conversation_spans": ("created_at",),
    "conversation_analytics": ("id", "created_at", "updated_at"),
    "conversation_messages": (),
}
WAITING = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
Tables = dict[str, list[dict[str, Any]]]
Rows = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:
        yield connection


def tables(connection: Rows) -> Tables:
    found: Tables = {}
    for table, hidden in UNCOMPARED.items():
        key = "conversation_run_id" if table == "conversation_analytics" else "id"
        kept = connection.execute(f"select * from {table} order by {key}".encode()).fetchall()
        found[table] = [{name: value for name, value in row.items() if name not in hidden} for row in kept]
    return found


def store(connection: Rows, lines: list[bytes], chance: random.Random | None = None, copy: Delivery | None = None):
    """Writes the lines in one batch, or in any order, batching and duplication; returns all rows."""
    for table in ("messages", "spans", "runs"):
        connection.execute(f"delete from conversation_{table}".encode())
    waiting = [lines]
    if chance is not None:
        told = lines + [line for line in lines if chance.random() < 0.4]
        chance.shuffle(told)
        waiting = []
        while told:
            size = chance.randint(1, len(told))
            waiting.append(told[:size])
            told = told[size:]
    for batch in waiting:
        if copy is None:
            write_batch(connection, Builder().build(batch).payload)
        else:
            copy.send(Builder().build(batch, packed=True))
            copy.collect()
    return tables(connection)


def findings(database_url: str) -> list[checks.Finding]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return [found for batch in checks.check(Reader(connection), patience_s=3600) for found in batch.findings]


def by_name(found: Tables) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in found["conversation_spans"]}


def owned(found: Tables) -> list[str]:
    """The calls that count, by name."""
    return sorted(
        span["name"]
        for span in found["conversation_spans"]
        if span["kind"] == "llm" and span["duplicate_of"] is None and span["status"] != "failed"
    )


def total(found: Tables) -> int:
    return sum(run["total_tokens_used"] or 0 for run in found["conversation_runs"])


def visible(found: Tables) -> list[str]:
    """What assistants said, as it is shown."""
    runs = {run["id"]: run for run in found["conversation_runs"]}
    return sorted(
        message["content"]
        for message in found["conversation_messages"]
        if message["role"] == "assistant"
        and not message["is_internal"]
        and not runs[message["conversation_run_id"]]["merged"]
    )


# -- worlds


def two_traces(world: World, name: str, at: float, tokens: dict[str, Any], **how: Any) -> None:
    """A framework's call in its trace, the provider's as the root of another."""
    run, root = world.trace(name, how.get("who", FRAMEWORK))
    world.call(
        f"{name} f",
        run,
        root,
        how.get("who", FRAMEWORK),
        at,
        at + 900,
        tokens=how.get("framework_tokens", tokens),
        response=how.get("framework_id"),
        said=how.get("said", name),
        asked=f"{name}?",
    )
    world.call(
        f"{name} p",
        hexid("other trace", name),
        None,
        how.get("inner", PROVIDER),
        at + 50,
        at + 800,
        tokens=how.get("provider_tokens", tokens),
        response=how.get("provider_id"),
        said=how.get("also_said"),
    )


def within(world: World, name: str, at: float, tokens: dict[str, Any], **how: Any) -> None:
    """The provider's call below the framework's, perhaps with something between, perhaps after a failed try."""
    run, root = world.trace(name, FRAMEWORK)
    outer = world.call(
        f"{name} f",
        run,
        root,
        FRAMEWORK,
        at,
        at + 900,
        tokens=how.get("framework_tokens", tokens),
        response=how.get("framework_id"),
        said=how.get("said", name),
        asked=f"{name}?",
    )
    parent = outer
    if how.get("between"):
        kind = how["between"]
        parent = world.span(
            f"{name} between", hexid("between", name), run, outer, kind, {"source": "otel"}, at + 10, at + 850
        )
    for attempt in range(how.get("tries", 0)):
        world.call(
            f"{name} try {attempt}",
            run,
            parent,
            PROVIDER,
            at + 20 + attempt,
            at + 40 + attempt,
            tokens=None,
            status="failed",
            error="RateLimitError",
        )
    world.call(
        f"{name} p",
        run,
        parent,
        PROVIDER,
        at + 100,
        at + 800,
        tokens=how.get("provider_tokens", tokens),
        response=how.get("provider_id"),
        said=how.get("also_said"),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World()
    for number in range(draw(st.integers(1, 3))):
        name, at = f"call {number}", 1_000.0 + 400 * number
        given, out = 100 + 10 * number, 5 + number
        tokens, count = usage(given, out), given + out
        finer = usage(given, out, input_token_details={"cache_read": 64})
        shape = draw(st.sampled_from(SHAPES))
        world.corrects = draw(st.sampled_from([False, False, True]))
        shape(draw, world, name, at, tokens, finer, count)
    return world


def _alone(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    who = draw(st.sampled_from([LANGCHAIN, FRAMEWORK, PROVIDER]))
    run, root = world.trace(name, who)
    world.call(
        f"{name} x",
        run,
        root,
        who,
        at,
        at + 900,
        tokens=tokens,
        response=draw(st.sampled_from([None, name])),
        said=name,
    )
    world.counts(count)


def _twice(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    has_ids = draw(st.sampled_from([(True, True), (True, False), (False, True), (False, False)]))
    how: dict[str, Any] = {
        "framework_id": name if has_ids[0] else None,
        "provider_id": name if has_ids[1] else None,
        "provider_tokens": draw(st.sampled_from([tokens, finer])),
        "said": draw(st.sampled_from([None, name])),
        "also_said": draw(st.sampled_from([None, name, f"{name}, formatted"])),
    }
    if all(has_ids):
        how |= draw(st.sampled_from([{}, {"framework_tokens": None}, {"provider_tokens": None}]))
    two_traces(world, name, at, tokens, who=draw(st.sampled_from([LANGCHAIN, FRAMEWORK])), **how)
    world.counts(count)


def _thrice(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    two_traces(
        world,
        name,
        at,
        tokens,
        who=FRAMEWORK,
        framework_id=draw(st.sampled_from([None, name])),
        provider_id=name,
        also_said=draw(st.sampled_from([None, name])),
    )
    run, root = world.trace(f"{name} callbacks", LANGCHAIN)
    world.call(f"{name} c", run, root, LANGCHAIN, at - 5, at + 905, tokens=tokens, response=name, said=name)
    world.counts(count)


def _within(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    within(
        world,
        name,
        at,
        tokens,
        between=draw(st.sampled_from([None, "other", "chain"])),
        tries=draw(st.integers(0, 2)),
        framework_id=draw(st.sampled_from([None, name])),
        provider_id=draw(st.sampled_from([None, name])),
        said=draw(st.sampled_from([None, name])),
        also_said=draw(st.sampled_from([None, name, f"{name}, formatted"])),
        **draw(
            st.sampled_from([{}, {"framework_tokens": None}, {"provider_tokens": None}, {"provider_tokens": finer}])
        ),
    )
    if draw(st.booleans()):
        world.call(
            f"{name} native", hexid("native", name), None, NATIVE, at + 150, at + 700, tokens=tokens, response=name
        )
        if not any(
            record.get("response_id") == name
            for record in world.records
            if record["id"]
            in (
                hexid("call", f"{name} f"),
                hexid("call", f"{name} p"),
            )
        ) and all(
            record.get("usage") != tokens for record in world.records if record["id"] == hexid("call", f"{name} f")
        ):
            # Nothing ties it to the two.
            world.counts(count)
    world.counts(count)


def _sum(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    steps = draw(st.integers(1, 3))
    run, root = world.trace(name, OTHER_FRAMEWORK)
    outer = world.call(
        f"{name} sum",
        run,
        root,
        OTHER_FRAMEWORK,
        at,
        at + 900,
        tokens=usage(999, 99) if steps > 1 else tokens,
        said=draw(st.sampled_from([None, name])),
    )
    for step in range(steps):
        own = usage(1_000 + 10 * step + int(at), 7)
        if steps == 1:
            own = tokens
        world.call(
            f"{name} step {step}",
            run,
            outer,
            draw(st.sampled_from([OTHER_FRAMEWORK, PROVIDER])),
            at + 10 + 100 * step,
            at + 100 + 100 * step,
            tokens=own,
            response=draw(st.sampled_from([None, f"{name} {step}"])),
            said=draw(st.sampled_from([None, name])),
        )
        world.counts(own["usage_metadata"]["total_tokens"])


def _again(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    """A cache's answer has the first call's id; a replay, too."""
    run, root = world.trace(f"{name} again", LANGCHAIN)
    two_traces(world, name, at, tokens, framework_id=name, provider_id=name)
    later = draw(st.sampled_from([20.0, 5_000.0]))
    world.call(
        f"{name} cached",
        run,
        root,
        LANGCHAIN,
        at + later,
        at + later + 3,
        tokens=tokens,
        response=name,
        said=name,
        cached=True,
    )
    world.call(
        f"{name} replayed",
        hexid("replay", name),
        None,
        PROVIDER,
        at + 60_000,
        at + 60_003,
        tokens=tokens,
        response=name,
    )
    world.counts(3 * count, 3)


def _equal(draw: st.DrawFn, world: World, name: str, at: float, tokens: Any, finer: Any, count: int) -> None:
    """As many equal calls at one time on both sides."""
    calls = draw(st.integers(2, 3))
    run, root = world.trace(name, FRAMEWORK)
    for each in range(calls):
        begin = at + draw(st.integers(0, 40))
        world.call(
            f"{name} f{each}", run, root, FRAMEWORK, begin, begin + 700 + draw(st.integers(0, 40)), tokens=tokens
        )
        begin += draw(st.integers(0, 40))
        world.call(
            f"{name} p{each}",
            hexid(name, each),
            None,
            PROVIDER,
            begin,
            begin + 600,
            tokens=tokens,
            response=f"{name} {each}",
        )
    world.counts(calls * count, calls)


SHAPES = (_alone, _twice, _twice, _thrice, _within, _within, _sum, _again, _equal)


def _settings(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(400)
def test_each_call_counts_once_in_whatever_order_it_was_told(rows: Rows, database_url: str):
    delivery = Delivery(Target(database_url, "test"), Settings())
    merged = 0

    @_settings(35)
    @given(world=worlds(), seed=st.integers(0, 2**32))
    def same(world: World, seed: int) -> None:
        nonlocal merged
        expected = store(rows, world.lines)
        assert total(expected) == world.tokens
        assert len(owned(expected)) == world.calls
        assert len(visible(expected)) <= world.calls
        assert findings(database_url) == []
        merged += any(span["duplicate_of"] for span in expected["conversation_spans"])
        chance = random.Random(seed)
        assert store(rows, world.lines, chance) == expected
        delivery._wary = 0
        assert store(rows, world.lines, chance, delivery) == expected
        assert findings(database_url) == []

    try:
        same()
    finally:
        delivery.disconnect()
    assert merged


# -- one case each


def test_the_framework_owns_what_the_provider_told_better(rows: Rows):
    world = World()
    finer = usage(100, 5, input_token_details={"cache_read": 64})
    two_traces(
        world,
        "soup",
        0,
        usage(100, 5),
        framework_id="r1",
        provider_id="r1",
        provider_tokens=finer,
        said="Soup.",
        also_said="Soup.",
    )
    world.records[3].pop("model")
    found = store(rows, world.lines)
    framework, provider = by_name(found)["soup f"], by_name(found)["soup p"]
    assert (framework["duplicate_of"], provider["duplicate_of"]) == (None, framework["id"])
    assert (framework["total_tokens"], framework["cache_read_tokens"], framework["model"]) == (105, 64, "gpt-4o-mini")
    assert [provider[name] for name in ("total_tokens", "cost", "usage_source", "price_rates")] == [None] * 4
    assert framework["cost"] == Decimal(str(provider["told"]["cost"]))
    first, second = found["conversation_runs"]
    listed, merged = (first, second) if second["merged"] else (second, first)
    assert (listed["merged"], listed["total_tokens_used"], listed["total_cost"]) == (False, 105, framework["cost"])
    assert (merged["merged"], merged["total_tokens_used"], merged["total_cost"]) == (True, None, None)
    (answer,) = [row for row in found["conversation_messages"] if row["role"] == "assistant"]
    assert (answer["span_id"], answer["cost"], answer["token_count"]) == (framework["id"], framework["cost"], 5)


def test_only_the_listed_runs_are_read(connection: psycopg.Connection[Any], rows: Rows):
    world = World()
    two_traces(world, "soup", 0, usage(100, 5), framework_id="r1", provider_id="r1", said=None, also_said="Soup.")
    for record in world.records:
        if record["t"] == "start":
            record["scope"] = {"session_id": "dinner"}
    found = store(rows, world.lines)
    merged = {run["id"]: run["merged"] for run in found["conversation_runs"]}
    assert [merged[run["id"]] for run in Reader(connection).runs(RunFilter(), limit=9)] == [False]
    told = connection.execute("select content from conversation_session_transcript('dinner')").fetchall()
    assert told == [("soup?",)]


def test_what_was_said_differently_stays_for_prompts_that_refer_to_it(rows: Rows, database_url: str):
    world = World()
    within(world, "soup", 0, usage(100, 5), framework_id="r1", provider_id="r1", said="Soup.", also_said="**Soup.**")
    found = store(rows, world.lines)
    said = {row["content"]: row for row in found["conversation_messages"] if row["role"] == "assistant"}
    assert (said["Soup."]["is_internal"], said["**Soup.**"]["is_internal"]) == (False, True)
    assert (said["Soup."]["cost"], said["**Soup.**"]["cost"]) == (by_name(found)["soup f"]["cost"], 0)
    assert findings(database_url) == []


@pytest.mark.parametrize("between", [None, "other", "chain"])
def test_failed_tries_are_none_of_the_call(rows: Rows, between: str | None):
    world = World()
    within(world, "soup", 0, usage(100, 5), tries=2, between=between, said="Soup.")
    found = store(rows, world.lines)
    spans = by_name(found)
    assert spans["soup p"]["duplicate_of"] == spans["soup f"]["id"]
    assert [spans[f"soup try {n}"]["duplicate_of"] for n in (0, 1)] == [None, None]
    (run,) = found["conversation_runs"]
    assert (run["total_tokens_used"], run["unmeasured_calls"], run["merged"]) == (105, 0, False)


def test_what_a_tool_asks_is_a_call_of_its_own(rows: Rows):
    world = World()
    within(world, "soup", 0, usage(100, 5), between="tool", provider_tokens=usage(90, 5))
    found = store(rows, world.lines)
    assert owned(found) == ["soup f", "soup p"]
    assert total(found) == 200


@pytest.mark.parametrize("who", [OTHER_FRAMEWORK, PROVIDER])
def test_a_sum_of_calls_counts_for_nothing(rows: Rows, who: dict[str, Any]):
    world = World()
    run, root = world.trace("steps", OTHER_FRAMEWORK)
    outer = world.call("sum", run, root, OTHER_FRAMEWORK, 0, 900, tokens=usage(300, 20), said="Soup.")
    for step in (1, 2):
        world.call(
            f"step {step}", run, outer, who, 100 * step, 100 * step + 90, tokens=usage(100 * step, 10), said="Soup."
        )
    found = store(rows, world.lines)
    assert owned(found) == ["step 1", "step 2"]
    assert total(found) == 320
    spans = by_name(found)
    assert (spans["sum"]["duplicate_of"], spans["sum"]["total_tokens"]) == (spans["step 2"]["id"], None)
    assert visible(found) == ["Soup.", "Soup."]


def test_twins_pair_one_to_one_and_only_where_they_agree(rows: Rows):
    world = World()
    two_traces(world, "equal", 0, usage(100, 5), provider_id="r1")
    two_traces(world, "less said", 2_000, usage(200, 5), provider_id="r2", provider_tokens=usage(200, 6))
    two_traces(world, "both named", 4_000, usage(300, 5), framework_id="f3", provider_id="r3")
    two_traces(world, "embedding", 6_000, {"usage_metadata": {"input_tokens": 7, "total_tokens": 7}})
    two_traces(world, "elsewhere", 8_000, usage(400, 5), provider_id="r4")
    for record in world.records:
        if record["id"] in (hexid("call", "embedding f"), hexid("call", "embedding p")):
            record["kind"] = "embedding"
        if record["id"] == hexid("call", "elsewhere p") and record["t"] == "start":
            record["scope"] = {"tenant_id": "another"}
    found = store(rows, world.lines)
    doubled = sorted(span["name"] for span in found["conversation_spans"] if span["duplicate_of"] is not None)
    assert doubled == ["embedding p", "equal p"]


def test_one_id_told_twice_by_one_source_is_two_calls(rows: Rows):
    world = World()
    run, root = world.trace("replay", FRAMEWORK)
    for name in ("one", "two"):
        world.call(name, run, root, FRAMEWORK, 0, 900, tokens=usage(100, 5), response="r1")
    world.call("cached", run, root, PROVIDER, 0, 900, tokens=usage(100, 5), response="r1", cached=True)
    assert owned(store(rows, world.lines)) == ["cached", "one", "two"]


@pytest.mark.parametrize("names", [("r1", "r1"), (None, "r1"), ("r1", None), (None, None)])
@pytest.mark.parametrize("order", [1, -1])
def test_two_writers_at_once_see_each_other(
    rows: Rows, database_url: str, names: tuple[str | None, str | None], order: int
):
    world = World()
    two_traces(world, "soup", 0, usage(100, 5), framework_id=names[0], provider_id=names[1])
    halves = [world.records[:4], world.records[4:]][::order]
    first, second = (Builder().build([orjson.dumps(record) for record in half]).payload.decode() for half in halves)
    with (
        psycopg.connect(database_url) as one,
        psycopg.connect(database_url, autocommit=True) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        one.execute("select chopsky_ingest(%s::json)", [first])
        written = pool.submit(other.execute, "select chopsky_ingest(%s::json)", [second])
        while not rows.execute(WAITING.encode(), [other.info.backend_pid]).fetchone():
            assert not written.done()
        one.commit()
        written.result()
    found = tables(rows)
    assert owned(found) == ["soup f"]
    assert total(found) == 105


def test_a_deadlock_is_tried_again():
    assert trouble(psycopg.errors.DeadlockDetected()) == "contended"


def test_a_new_price_stays_when_the_call_is_settled_again(rows: Rows, database_url: str):
    world = World()
    finer = usage(100, 5, input_token_details={"cache_read": 64})
    within(world, "soup", 0, usage(100, 5), said=None, also_said="Soup.", provider_tokens=finer)
    found = store(rows, world.lines)
    call = by_name(found)["soup f"]
    known = ("id", "conversation_run_id", "start_version", "end_version")
    new = {name: str(call[name]) for name in known} | {"old_cost": str(call["cost"]), "old_cost_source": "computed"}
    new |= {"cost": "0.5", "cost_source": "computed", "price_rates": {"made": "up"}}
    assert rows.execute("select chopsky_write_costs(%s::json)", [json.dumps([new])]).fetchall()
    for _ in range(2):
        found = tables(rows)
        assert by_name(found)["soup f"]["cost"] == Decimal("0.5")
        assert [row["cost"] for row in found["conversation_messages"] if row["role"] == "assistant"] == [Decimal("0.5")]
        assert findings(database_url) == []
        write_batch(rows, Builder().build(world.lines).payload)


def test_a_call_whose_owner_is_deleted_is_the_others(rows: Rows, database_url: str):
    world = World()
    two_traces(world, "soup", 0, usage(100, 5), framework_id="r1", provider_id="r1", said="Soup.", also_said="Soup.")
    alone = World(world.records[4:])
    expected = store(rows, alone.lines)
    store(rows, world.lines)
    rows.execute("delete from conversation_runs where not merged")
    found = tables(rows)
    for table in ("runs", "spans"):
        assert found[f"conversation_{table}"] == expected[f"conversation_{table}"]
    (message,) = found["conversation_messages"]
    # Its text went with the run that told it, too.
    assert message == expected["conversation_messages"][0] | {"content": None}
    write_batch(rows, Builder().build(alone.lines).payload)
    assert tables(rows) == expected
    assert findings(database_url) == []


def test_check_finds_what_counts_twice(rows: Rows, database_url: str):
    world = World()
    two_traces(world, "soup", 0, usage(100, 5), framework_id="r1", provider_id="r1")
    within(world, "rice", 5_000, usage(100, 5))
    store(rows, world.lines)
    assert findings(database_url) == []
    rows.execute("set chopsky_trace.recompute = 'on'")
    rows.execute("update conversation_spans set duplicate_of = null, told = null")
    rows.execute("update conversation_spans set input_tokens = 9 where kind = 'llm' and input_tokens is null")
    rows.execute("reset chopsky_trace.recompute")
    rows.execute("select recompute_runs(array(select id from conversation_runs))")
    assert {(found.check, found.span_id) for found in findings(database_url) if found.check == "duplicates"} == {
        ("duplicates", UUID(hexid("call", name))) for name in ("soup f", "soup p", "rice f")
    }


# -- the root of a run whose spans have derived ids


@pytest.mark.parametrize("in_order", [1, -1])
def test_the_earliest_span_without_a_parent_is_the_root(rows: Rows, database_url: str, in_order: int):
    world = World()
    run = hexid("run", "app")
    first = {"tags": ["web"], "metadata": {"route": "/chat"}}
    failed = {"status": "failed", "error": "HTTPError: 500"}
    root = world.span("GET /chat", hexid("server"), run, None, "other", FRAMEWORK, 0, 950, first, failed)
    world.span("late", hexid("late"), run, None, "chain", FRAMEWORK, 10, 990)
    world.call("ask", run, root, PROVIDER, 100, 500, tokens=usage(100, 5), response="r1")
    for line in world.lines[::in_order]:
        write_batch(rows, Builder().build([line]).payload)
    (found,) = tables(rows)["conversation_runs"]
    server = by_name(tables(rows))["GET /chat"]
    assert [found[name] for name in ("name", "status", "error", "tags", "metadata")] == [
        "GET /chat",
        "failed",
        "HTTPError: 500",
        ["web"],
        {"route": "/chat"},
    ]
    assert (found["started_at"], found["ended_at"]) == (server["started_at"], server["ended_at"])
    assert found["ended_at"] - found["started_at"] == timedelta(milliseconds=950)
    assert findings(database_url) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_roots_word_on_whose_run_it_is_goes_first(rows: Rows, seed: int):
    world = World()
    run = hexid("run", "app")
    root = world.span("app", hexid("app"), run, None, "other", FRAMEWORK, 10, 900, {"scope": {"user_id": "ada"}})
    # By its clock it began before its parent.
    world.span("agent", hexid("agent"), run, root, "agent", FRAMEWORK, 5, 900, {"scope": {"user_id": "bob"}})
    (found,) = store(rows, world.lines, random.Random(seed) if seed else None)["conversation_runs"]
    assert found["user_id"] == "ada"
