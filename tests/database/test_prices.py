"""The team's own prices: the table, the command, and the worker that reads it."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import writer_records as records
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from read_rows import call, ingest, run, span

from chopsky_trace.cli import main
from chopsky_trace.commands import price_files
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.prices import read_overrides
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

Invoke = Callable[..., Result]
INSERT = "insert into public.model_prices ({}) values ({}) returning id::text"


@pytest.fixture
def invoke(database_url: str) -> Invoke:
    def run_command(*arguments: str, stdin: str | bytes | None = None, **variables: str) -> Result:
        environment = {"CHOPSKY_TRACE_DATABASE_URL": database_url, "COLUMNS": "200", "TZ": "UTC"} | variables
        return CliRunner().invoke(main, ["prices", *arguments], env=environment, input=stdin)

    return run_command


def answer(result: Result, code: int = 0) -> Any:
    """The JSON object that is all of stdout."""
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def insert(connection: Connection, **columns: Any) -> str:
    made = {"model": "own-model", "input_mtok": 1, "output_mtok": 2} | columns
    names = [name for name, value in made.items() if value is not None]
    found = connection.execute(
        INSERT.format(", ".join(names), ", ".join(f"%({name})s" for name in names)).encode(), made
    ).fetchone()
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", ["list", "import", "export", "remove", "unpriced", "compared"])
def test_every_command_has_json_a_url_and_examples(invoke: Invoke, name: str) -> None:
    text = invoke(name, "--help").stdout
    assert "--json" in text
    assert "--database-url" in text
    assert f"Examples:\n    chopsky-trace prices {name}" in text


# -- the table


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"input_mtok": -1}, "model_prices_input_mtok_check"),
        ({"input_mtok": "NaN"}, "model_prices_input_mtok_check"),
        ({"output_mtok": "Infinity"}, "model_prices_output_mtok_check"),
        ({"request_usd": "-0.1"}, "model_prices_request_usd_check"),
        ({"input_mtok": "0.0000000000001"}, "model_prices_input_mtok_check"),
        ({"batch_factor": -1}, "model_prices_batch_factor_check"),
        ({"model": None}, "model_prices_model_or_pattern"),
        ({"model_pattern": "x"}, "model_prices_model_or_pattern"),
        ({"model": ""}, "model_prices_model_check"),
        ({"tenant_id": ""}, "model_prices_tenant_id_check"),
        ({"provider": "OpenAI"}, "model_prices_provider_check"),
        ({"input_mtok": None, "output_mtok": None, "cache_read_mtok": 1}, "model_prices_some_price"),
        ({"valid_from": "2026-01-01Z", "valid_until": "2026-01-01Z"}, "model_prices_range_not_empty"),
        ({"valid_from": "infinity"}, "model_prices_valid_from_check"),
        ({"model": None, "model_pattern": "gpt-(4o"}, "invalid regular expression: parentheses"),
        ({"model": None, "model_pattern": "(?=x)"}, "no pattern of model names"),
        ({"model": None, "model_pattern": "a*?"}, "no pattern of model names"),
        ({"model": None, "model_pattern": "x" * 201}, "model_prices_model_pattern_check"),
        ({"other_rates": "[]"}, "model_prices_other_rates_check"),
        ({"other_rates": '{"input_audio": 1}'}, '"input_audio" is no price key'),
        ({"other_rates": '{"input_audio_mtok": "1"}'}, "the price of input_audio_mtok is no number"),
        ({"other_rates": '{"input_audio_mtok": -1}'}, "the price of input_audio_mtok is negative"),
        ({"tiers": "{}"}, "model_prices_tiers_check"),
        ({"tiers": '[{"input_mtok": 6}]'}, "each tier has above_input_tokens"),
        ({"tiers": '[{"above_input_tokens": 5, "input_mtok": 6}, {"above_input_tokens": 5, "input_mtok": 7}]'}, "each"),
        ({"tiers": '[{"above_input_tokens": 1.5, "input_mtok": 6}]'}, "each tier has above_input_tokens"),
        ({"tiers": "[1]"}, "is no price key"),
    ],
)
def test_the_table_refuses_nonsense(connection: Connection, columns: dict[str, Any], told: str) -> None:
    with pytest.raises((psycopg.IntegrityError, psycopg.DataError)) as refused:
        insert(connection, **columns)
    assert told in str(refused.value)
    assert connection.execute("select count(*) from public.model_prices").fetchone() == (0,)


@pytest.mark.parametrize("pattern", [r"gpt-4o(-\d{4}-\d{2}-\d{2})?", r"a\+?", "[a+*]{2,4}", r"arn:aws:.*/abc", "a|b"])
def test_ordinary_patterns_are_taken(connection: Connection, pattern: str) -> None:
    insert(connection, model=None, model_pattern=pattern)
    assert not Overrides.from_rows(read_overrides(connection)).unusable


def test_one_row_for_a_name_from_a_moment_on(connection: Connection) -> None:
    insert(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(connection, model="OWN-Model")
    insert(connection, valid_from="2026-01-01Z")
    insert(connection, tenant_id="acme")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_only_the_service_reads_prices(connection: Connection, role: str) -> None:
    insert(connection)
    for statement in ("select * from public.model_prices", "delete from public.model_prices where true"):
        with connection.transaction(force_rollback=True):
            connection.execute(f"set local role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    with connection.transaction(force_rollback=True):
        connection.execute("set local role service_role")
        assert len(connection.execute("select * from public.model_prices").fetchall()) == 1


# -- files

MONEY = st.decimals(0, 10**6, places=None, allow_nan=False, allow_infinity=False).map(
    lambda d: Decimal(format(d, ".12f"))
) | st.sampled_from([Decimal("0.1"), Decimal("2.50"), Decimal(0), Decimal("0.000000000001")])
TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20
) | st.sampled_from(['a,"b"', "a\nb", "a\r\nb", " a ", "=1", "ü"])
OPTIONAL = {
    "tenant_id": TEXTS,
    "provider": st.sampled_from(["openai", "azure_openai", "my-own"]),
    "valid_from": st.sampled_from(["2026-01-01", "2026-01-31T12:00:00.000001Z", "2026-01-31T12:00:00+05:30"]),
    "valid_until": st.sampled_from(["2030-01-01", "9998-12-31T23:59:59.999999Z"]),
    "cache_read_mtok": MONEY,
    "cache_write_1h_mtok": MONEY,
    "other_rates": st.dictionaries(st.sampled_from(["output_audio_mtok", "web_searches_kcount"]), MONEY),
    "tiers": MONEY.map(lambda price: [{"above_input_tokens": 200_000, "input_mtok": price, "output_mtok": price}]),
    "flex_factor": st.sampled_from([Decimal("0.5"), Decimal(2)]),
    "batch_factor": st.sampled_from([Decimal("0.333333")]),
    "request_usd": MONEY.filter(lambda price: price < 10**6),
    "note": TEXTS,
    "source": TEXTS,
}


@st.composite
def files(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 4))):
        name = {"model": f"Model-{number}"} if draw(st.booleans()) else {"model_pattern": f"m{number}-[a-z]+"}
        chosen = draw(st.fixed_dictionaries({}, optional=OPTIONAL))
        if "cache_write_1h_mtok" in chosen:
            chosen["cache_write_mtok"] = draw(MONEY)
        rows.append({**name, "input_mtok": draw(MONEY), "output_mtok": draw(MONEY), **chosen})
    return rows


def texts(value: Any) -> Any:
    """Decimals as texts: JSON's own numbers would be floats here."""
    if isinstance(value, dict):
        return {key: texts(one) for key, one in value.items()}
    if isinstance(value, list):
        return [texts(one) for one in value]
    return str(value) if isinstance(value, Decimal) else value


@settings(max_examples=100, deadline=None)
@given(files(), st.sampled_from(["json", "csv"]))
def test_a_file_says_all_of_its_rows(rows: list[dict[str, Any]], form: Any) -> None:
    read = price_files.read(json.dumps(texts(rows)), "json")
    for row, one in zip(read, rows, strict=True):
        for name in one.keys() - {"valid_from", "valid_until", "tiers", "provider"}:
            assert row[name] == one[name], name
    text = price_files.write(read, form)
    assert price_files.read(text, form) == read
    assert price_files.write(price_files.read(text, form), form) == text


RICH = [
    {
        "tenant_id": "a,\"b\"", "provider": "openai", "model": "Model-0", "valid_from": "2026-01-31T12:00:00.000001Z",
        "valid_until": "9998-12-31T23:59:59.999999Z", "input_mtok": "0.100000000001", "output_mtok": "12345678.9",
        "cache_read_mtok": "0", "cache_write_mtok": "1.5", "cache_write_5m_mtok": "1.25", "cache_write_1h_mtok": "2.50",
        "other_rates": {"output_audio_mtok": "40.000000000001", "web_searches_kcount": 10},
        "tiers": [{"above_input_tokens": 200000, "input_mtok": "6"}, {"above_input_tokens": 400000, "output_mtok": 7}],
        "flex_factor": "0.5", "priority_factor": 2, "batch_factor": "0.333333", "request_usd": "0.005",
        "note": "two\r\nlines, ü", "source": " a ",
    },
    {"model_pattern": "m-[a-z]+(-\\d{4})?", "request_usd": "0.1"},
    {"model": "free", "input_mtok": 0, "output_mtok": 0},
]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "csv"])
def test_export_and_import_are_exact(connection: Connection, invoke: Invoke, form: str) -> None:
    counts = answer(invoke("import", "-", "--format", "json", "--json", stdin=json.dumps(RICH)))
    assert counts == {"added": 3, "changed": 0, "unchanged": 0}
    stored = [row | {"created_at": None} for row in read_overrides(connection)]
    (rich,) = [row for row in stored if row["model"] == "Model-0"]
    assert (rich["input_mtok"], rich["note"]) == (Decimal("0.100000000001"), "two\r\nlines, ü")
    assert rich["other_rates"] == {"output_audio_mtok": Decimal("40.000000000001"), "web_searches_kcount": 10}
    file = invoke("export", "--format", form).stdout_bytes
    connection.execute("delete from public.model_prices")
    assert answer(invoke("import", "-", "--format", form, "--json", stdin=file))["added"] == 3
    assert [row | {"created_at": None} for row in read_overrides(connection)] == stored
    assert invoke("export", "--format", form).stdout_bytes == file
    assert answer(invoke("import", "-", "--format", form, "--json", stdin=file))["unchanged"] == 3


def test_an_import_replaces_by_id_else_by_name(connection: Connection, invoke: Invoke, tmp_path: Path) -> None:
    kept, moved = insert(connection, note="kept"), insert(connection, model="moved", input_mtok=3, note="old")
    file = tmp_path / "prices.json"
    file.write_text(
        json.dumps([
            {"id": moved, "model": "moved-on", "input_mtok": 4},
            {"model": "OWN-model", "input_mtok": "1.5"},
            {"model": "new", "request_usd": 0.1},
        ])
    )  # fmt: skip
    assert invoke("import", str(file)).stdout == "1 added, 2 changed, 0 as they were.\n"
    rows = {row["model"]: row for row in read_overrides(connection)}
    assert {name: str(row["id"]) for name, row in rows.items() if name != "new"} == {
        "moved-on": moved,
        "OWN-model": kept,
    }
    # The row is replaced as a whole.
    assert (rows["moved-on"]["note"], rows["moved-on"]["output_mtok"], rows["new"]["request_usd"]) == (
        None,
        None,
        Decimal("0.1"),
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"model": "m"}, "no price: give input_mtok"),
        ({"input_mtok": 1}, "give either model, a whole name, or model_pattern"),
        ({"model": "m", "model_pattern": "x", "input_mtok": 1}, "give either model"),
        ({"model": "m", "input_mtok": -1}, "input_mtok is 0 or more"),
        ({"model": "m", "input_mtok": "1,5"}, "input_mtok is a number such as 2.5, with a point"),
        ({"model": "m", "input_mtok": "NaN"}, "input_mtok is 0 or more"),
        ({"model": "m", "input_mtok": True}, "input_mtok is a number"),
        ({"model": "m", "input_mtok": "0.0000000000001"}, "more than 12 digits"),
        ({"model": "m", "input_mtok": "1e-999999999"}, "more than 12 digits"),
        ({"model": "m", "input_mtok": 1, "price": 2}, "no column is named 'price'"),
        ({"model": "m", "input_mtok": 1, "valid_from": "yesterday"}, "valid_from is an ISO date"),
        ({"model": "m", "input_mtok": 1, "valid_from": "2026-02-01", "valid_until": "2026-01-01"}, "not after"),
        ({"model_pattern": "(a", "input_mtok": 1}, "model_pattern: a ( without its )"),
        ({"model_pattern": r"(a)\1", "input_mtok": 1}, "model_pattern: an escape"),
        ({"model": "m", "input_mtok": 1, "other_rates": {"audio": 1}}, "audio is no price key"),
        ({"model": "m", "input_mtok": 1, "tiers": [{"input_mtok": 1}]}, "tiers is an array such as"),
        ({"model": "m", "input_mtok": 1, "tiers": [{"above_input_tokens": 9, "output_mtok": 1}]}, "no price below it"),
        ({"model": "m", "input_mtok": 1, "id": "7"}, "id is the id that an export gave"),
        ({"model": "m", "input_mtok": 1, "note": "a\0"}, "note is a text"),
        ({"model": "m", "cache_read_mtok": 1, "request_usd": 1}, "cache_read_mtok needs input_mtok beside it"),
        ({"model": "m", "input_mtok": 1, "cache_write_1h_mtok": 1}, "cache_write_1h_mtok needs cache_write_mtok"),
        ({"model": "m", "input_mtok": 1, "other_rates": {"cache_audio_read_mtok": 1}}, "needs one of"),
        ({"model": "first", "input_mtok": 1}, "the same row as on line 2"),
        ([], "not an object"),
    ],
)
def test_a_file_is_imported_whole_or_not_at_all(connection: Connection, invoke: Invoke, entry: Any, told: str) -> None:
    text = f'[\n {{"model": "first", "input_mtok": 1}},\n\n {json.dumps(entry)}\n]'
    result = invoke("import", "-", "--format", "json", stdin=text)
    assert result.exit_code == 1
    assert "Nothing was imported" in result.stderr
    assert "line 4: " in result.stderr
    assert told in result.stderr
    assert read_overrides(connection) == []


@pytest.mark.parametrize(
    ("text", "form", "told"),
    [
        ("", "json", "line 1: no [ at the beginning"),
        ('[{"model": "m"', "json", "line 1: "),
        ('[{"model": "m", "input_mtok": 1}] x', "json", "line 1: something follows"),
        ('[\n{"model": "m", "input_mtok": 1}\n{}]', "json", "line 3: a comma or ] is missing"),
        ("[" * 100_000, "json", "line 1: "),
        ("model,model\na,b\n", "csv", "line 1: a column is there twice"),
        ("model,input_mtok\na\n", "csv", "line 2: 1 cells under 2 columns"),
        ('model,input_mtok,note\na,1,"b\nc"\nd,x,\n', "csv", "line 4: input_mtok is a number"),
        ('model,input_mtok\n"a,1\n', "csv", "line 2: "),
    ],
)
def test_a_broken_file_says_where(invoke: Invoke, text: str, form: str, told: str) -> None:
    result = invoke("import", "-", "--format", form, stdin=text)
    assert result.exit_code == 1
    assert told in result.stderr


def test_what_only_the_table_knows_refuses_all(connection: Connection, invoke: Invoke) -> None:
    insert(connection)
    taken = {"id": str(UUID(int=7)), "model": "own-model", "input_mtok": 1}
    text = json.dumps([{"model": "a", "input_mtok": 1}, taken])
    result = invoke("import", "-", "--format", "json", stdin=text)
    assert result.exit_code == 1
    assert "The table refuses a row" in result.stderr
    assert len(read_overrides(connection)) == 1


def test_numbers_of_a_file_are_decimals_digit_by_digit() -> None:
    # A float would make 12345678.1 of it, and 0.1 of the other.
    (row,) = price_files.read('[{"model": "m", "input_mtok": 12345678.100000000001, "request_usd": 1e-3}]', "json")
    assert (str(row["input_mtok"]), str(row["request_usd"])) == ("12345678.100000000001", "0.001")


def test_prices_are_listed_exported_and_removed(connection: Connection, invoke: Invoke, tmp_path: Path) -> None:
    assert "No prices of your own" in invoke("list").stdout
    one = insert(connection, input_mtok="0.10", other_rates='{"input_audio_mtok": 0.30}', valid_from="2026-01-01Z")
    two = insert(connection, model=None, model_pattern="x-.*", tenant_id="acme")
    text = invoke("list").stdout
    for part in (one, two, "/x-.*/", "acme", "0.1 ", "2026-01-01 to any", "other_rates"):
        assert part in text
    assert max(map(len, invoke("list", COLUMNS="100").stdout.splitlines())) <= 100
    listed = answer(invoke("list", "--json"))["prices"]
    assert {row["id"]: row["input_mtok"] for row in listed} == {one: "0.1", two: "1"}
    file = tmp_path / "out.CSV"
    assert answer(invoke("export", str(file), "--json")) == {"file": str(file), "format": "csv", "rows": 2}
    exported = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["other_rates"] for row in exported if row["id"] == one] == ['{"input_audio_mtok": "0.3"}']
    assert invoke("remove", one, "00000000-0000-0000-0000-000000000009").exit_code == 1
    assert len(read_overrides(connection)) == 2
    assert answer(invoke("remove", one, one, "--json")) == {"removed": [one]}
    assert [str(row["id"]) for row in read_overrides(connection)] == [two]
    assert invoke("export", "prices.txt").exit_code == 2


def test_a_database_without_the_table_says_what_to_do(make_database: Callable[..., str], invoke: Invoke) -> None:
    result = invoke("list", "--database-url", make_database("shim"))
    assert result.exit_code == 1
    assert "chopsky-trace migrate" in result.stderr


# -- what has no price, and what providers said


def test_calls_without_a_price_and_the_nearest_names(connection: Connection, invoke: Invoke) -> None:
    insert(connection, model="our-finetuned-llama", provider="openai")
    unknown = {"cost": None, "cost_source": "unknown", "price_rates": {"reason": "no price for this model"}}
    ingest(
        connection,
        span("a", "a"),
        call("a", "1", parent="a", second=1, **unknown | {"model": "gpt-4o-minni"}),
        call("a", "2", parent="a", second=9, **unknown | {"model": "gpt-4o-minni"}),
        call("a", "3", parent="a", **unknown | {"model": None, "model_requested": "our-finetuned-lama"}),
        call("a", "4", parent="a", **unknown | {"status": "failed"}),
        call("a", "5", parent="a"),
        runs=[run("a")],
    )
    found = answer(invoke("unpriced", "--json"))
    assert found["more"] is False
    first, second = found["rows"]
    told = [first[name] for name in ("model", "calls", "input_tokens", "output_tokens")]
    assert told == ["gpt-4o-minni", 2, 200, 40]
    assert (first["first_seen_at"], first["last_seen_at"]) == ("2026-03-01T12:00:01Z", "2026-03-01T12:00:09Z")
    assert first["nearest"][0] == "gpt-4o-mini"
    assert (second["model"], second["reason"], second["nearest"][0]) == (
        "our-finetuned-lama",
        "no price for this model",
        "our-finetuned-llama",
    )
    text = invoke("unpriced").stdout
    assert "gpt-4o-minni" in text
    assert "no price for this model" in text
    assert answer(invoke("unpriced", "--since", "2026-03-01T12:00:05Z", "--json"))["rows"][0]["calls"] == 1
    # As many as `cost` says.
    total = CliRunner().invoke(main, ["cost", "--json"], env={"CHOPSKY_TRACE_DATABASE_URL": invoke_url(connection)})
    assert json.loads(total.stdout)["total"]["unpriced_calls"] == sum(row["calls"] for row in found["rows"])


def invoke_url(connection: Connection) -> str:
    info = connection.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def test_what_providers_said_stands_beside_what_was_computed(connection: Connection, invoke: Invoke) -> None:
    router = {"provider": "openrouter", "model": "a/b"}
    ingest(
        connection,
        span("a", "a"),
        call("a", "1", parent="a", **router, cost="0.10", reported_cost="0.12"),
        call("a", "2", parent="a", **router | {"cost": None}, reported_cost="0.5"),
        call("a", "3", parent="a", **router, cost="0.30", reported_cost="0.30"),
        call("a", "4", parent="a", cost="7"),
        runs=[run("a", user_id="ana")],
    )
    (row,) = answer(invoke("compared", "--json"))["rows"]
    assert row == {
        "provider": "openrouter", "model": "a/b", "calls": 3, "reported_cost": "0.9200000000", "compared_calls": 2,
        "reported_of_compared": "0.4200000000", "computed_of_compared": "0.4000000000", "difference": "0.0200000000",
        "differing_calls": 1,
    }  # fmt: skip
    assert "$0.02 (+5.0%)" in invoke("compared").stdout
    environment = {"CHOPSKY_TRACE_DATABASE_URL": invoke_url(connection), "COLUMNS": "160"}
    for by in ("model", "user", "day"):
        total = json.loads(CliRunner().invoke(main, ["cost", "--by", by, "--json"], env=environment).stdout)["total"]
        assert (total["cost"], total["reported_cost"], total["reported_calls"]) == ("7.4000000000", "0.9200000000", 3)
        text = CliRunner().invoke(main, ["cost", "--by", by], env=environment).stdout
        assert "Reported" in text
        assert "$0.92 (3)" in text


def test_nothing_reported_shows_no_such_column(connection: Connection) -> None:
    ingest(connection, span("a", "a"), call("a", "1", parent="a"), runs=[run("a")])
    result = CliRunner().invoke(main, ["cost"], env={"CHOPSKY_TRACE_DATABASE_URL": invoke_url(connection)})
    assert "Reported" not in result.stdout
    assert "gpt-4o-mini" in result.stdout


# -- the worker


@pytest.fixture
def make(tracer_settings: Settings, database_url: str) -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def make(url: str = database_url, **changes: object) -> Writer:
        made.append(Writer(Target(url, "test"), replace(tracer_settings, **changes)))
        return made[-1]

    yield make
    for writer in made:
        writer.close(0.5)


def told(name: str, **fields: Any) -> list[bytes]:
    """A model call of a million tokens."""
    usage = {"token_usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}
    made = {"kind": "llm", "provider": "openai", "model": "own-model", "model_requested": "own-model", "usage": usage}
    return [records.start(name, kind="llm", provider="openai", model="own-model"), records.end(name, **made | fields)]


def costs(connection: Connection) -> dict[str, tuple[Any, Any]]:
    rows = connection.execute("select name, cost, reported_cost from public.conversation_spans").fetchall()
    return {name: (cost, reported) for name, cost, reported in rows}


@pytest.mark.parametrize("count", [1, 200])
def test_the_first_batch_has_the_teams_prices(make: Callable[..., Writer], connection: Connection, count: int) -> None:
    """As JSON, and as rows for COPY."""
    row_id = insert(connection, input_mtok="0.123456789012")
    insert(connection, input_mtok=5, tenant_id="acme")
    writer = make(flush_interval_s=0.2)
    usage = {"token_usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0, "cost": "0.0000000123"}}
    lines = [line for number in range(count) for line in told(f"c{number}", usage=usage)]
    assert all([writer.put(line) for line in [*told("tenant", tenant="acme"), *lines]])
    assert writer.flush(30)
    found = costs(connection)
    assert found.pop("tenant") == (5, None)
    assert set(found.values()) == {(Decimal("0.1234567890"), Decimal("0.0000000123"))}
    assert connection.execute(
        "select distinct price_rates ->> 'source', price_rates -> 'unit_prices' ->> 'input_mtok'"
        " from public.conversation_spans where name = 'c0'"
    ).fetchall() == [(f"model_prices {row_id}", "0.123456789012")]
    prices = writer.stats()["prices"]
    assert (prices["rows"], prices["unusable"], prices["failed_reads"], prices["error"]) == (2, {}, 0, None)
    assert datetime.fromisoformat(prices["read_at"]) <= datetime.now(UTC)


def test_the_end_alone_knows_its_tenant(make: Callable[..., Writer], connection: Connection) -> None:
    """Whatever batch the start, or the root that names the tenant, comes in."""
    insert(connection, input_mtok=1)
    insert(connection, input_mtok=5, tenant_id="acme")
    start, end = told("a", tenant="acme")
    writer = make()
    assert writer.put(end)
    assert writer.flush(30)
    assert writer.put(start)
    assert writer.flush(30)
    assert costs(connection) == {"a": (5, None)}


def test_prices_are_read_again(make: Callable[..., Writer], connection: Connection) -> None:
    writer = make()
    assert all([writer.put(line) for line in told("before")])
    assert writer.flush(30)
    insert(connection, input_mtok=3)
    # Not before it is time, not even for another batch.
    assert all([writer.put(line) for line in told("meanwhile")])
    assert writer.flush(30)
    writer._delivery.prices.expire()
    assert all([writer.put(line) for line in told("after")])
    assert writer.flush(30)
    assert costs(connection) == {"before": (None, None), "meanwhile": (None, None), "after": (3, None)}


def test_a_new_connection_reads_them_anew(
    make: Callable[..., Writer], connection: Connection, admin: Connection
) -> None:
    writer = make()
    assert all([writer.put(line) for line in told("before")])
    assert writer.flush(30)
    insert(connection, input_mtok=3)
    admin.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'chopsky-trace writer' and datname = current_database()"
    )
    deadline = time.monotonic() + 30
    while connection.execute(
        "select 1 from pg_stat_activity"
        " where application_name = 'chopsky-trace writer' and datname = current_database()"
    ).fetchall():
        assert time.monotonic() < deadline
    assert all([writer.put(line) for line in told("after")])
    assert writer.flush(30)
    assert costs(connection)["after"] == (3, None)


def test_a_table_that_cannot_be_read_is_said_and_stops_no_record(
    make: Callable[..., Writer], connection: Connection, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    insert(connection, input_mtok=3, model="gpt-4o")
    connection.execute("alter table public.model_prices rename to model_prices_gone")
    try:
        writer = make()
        assert all([writer.put(line) for line in told("a", model="gpt-4o", model_requested="gpt-4o")])
        assert writer.close(30)
    finally:
        connection.execute("alter table public.model_prices_gone rename to model_prices")
    assert costs(connection) == {"a": (Decimal("2.5"), None)}
    stats = writer.stats()
    assert (stats["losses"], stats["prices"]["failed_reads"], stats["prices"]["rows"]) == ({}, 1, 0)
    assert "UndefinedTable" in stats["prices"]["error"]
    assert len([r for r in caplog.records if "model_prices" in r.getMessage()]) == 1
    assert connection.execute("select prices ->> 'failed_reads' from public.writer_status").fetchone() == ("1",)
    shown = CliRunner().invoke(main, ["status"], env={"CHOPSKY_TRACE_DATABASE_URL": database_url, "COLUMNS": "200"})
    assert "lacks prices of your own: UndefinedTable" in shown.stdout
