"""Random trees of calls: whatever order they arrive in, totals are the sum of the calls, and money is exact."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lc_records import MOMENT, body, hexid, store_all
from psycopg.rows import dict_row

from chopsky_trace.database import check as checks
from chopsky_trace.database.read import Reader

# Prices that no float can hold, USD per million: gpt-4o-mini's at the time of the calls.
GIVEN, CACHED, GOT = Decimal("0.15"), Decimal("0.075"), Decimal("0.6")
EMBEDDED = Decimal("0.02")
MILLION = 1_000_000


class Tree:
    """One run of calls, and what its totals must be."""

    def __init__(self, draw: st.DrawFn, name: str) -> None:
        self.run = hexid(name)
        self.records: list[dict[str, Any]] = []
        self.tokens: dict[str, int | None] = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"))
        self.cost: Decimal | None = None
        self.silent: Decimal = Decimal(0)
        """Cost of the calls without an output message."""
        self.unpriced = self.unmeasured = 0
        self._tell(self.run, None, "chain", {})
        above = [self.run]
        for place in range(draw(st.integers(0, 6))):
            span, parent = hexid(f"{name} {place}"), draw(st.sampled_from(above))
            kind = draw(st.sampled_from(["chain", "llm", "llm", "embedding", "tool"]))
            if kind in ("chain", "tool"):
                above.append(span)
                # A parent repeats what its calls used: it is not counted again.
                repeated = {"usage_metadata": {"input_tokens": 77, "output_tokens": 7, "total_tokens": 84}}
                self._tell(span, parent, kind, {"usage": repeated, "outputs": {"usage": repeated}})
            else:
                self._tell(span, parent, kind, self._call(draw, span, kind))

    def _call(self, draw: st.DrawFn, span: str, kind: str) -> dict[str, Any]:
        end: dict[str, Any] = {"provider": "openai"}
        end["model"] = "gpt-4o-mini-2024-07-18" if kind == "llm" else "text-embedding-3-small"
        outcome = draw(st.sampled_from(["told", "told", "cached", "silent", "refused", "unknown model"]))
        given_tokens = draw(st.integers(1, 9_999))
        got = draw(st.integers(0, 999)) if kind == "llm" else 0
        read = draw(st.integers(0, given_tokens)) if kind == "llm" else 0
        cost: Decimal | None = EMBEDDED * given_tokens / MILLION
        if kind == "llm":
            cost = (GIVEN * (given_tokens - read) + CACHED * read + GOT * got) / MILLION
        if outcome == "refused":
            # Nothing was used, so nothing is unknown.
            return {**end, "status": "failed", "error": "no line"}
        if outcome == "silent":
            self.unpriced += 1
            self.unmeasured += 1
            return self._said(draw, span, kind, end, None)
        usage: dict[str, Any] = {"input_tokens": given_tokens, "total_tokens": given_tokens + got}
        if kind == "llm":
            usage |= {"output_tokens": got, "input_token_details": {"cache_read": read}}
        end["usage"] = {"usage_metadata": usage}
        if outcome == "cached":
            cost, end["cached"] = Decimal(0), True
        if outcome == "unknown model":
            cost, end["model"] = None, "nobody-sells-this"
            self.unpriced += 1
        for name, count in {**usage, "output_tokens": got}.items():
            if name in self.tokens:
                self.tokens[name] = (self.tokens[name] or 0) + count
        if cost is not None:
            self.cost = (self.cost or Decimal(0)) + cost
        return self._said(draw, span, kind, end, cost)

    def _said(self, draw: st.DrawFn, span: str, kind: str, end: dict[str, Any], cost: Decimal | None) -> dict[str, Any]:
        choices = draw(st.integers(0, 2)) if kind == "llm" else 0
        if not choices:
            self.silent += cost or 0
            return end
        told = [body(f"{span} says {n}", "assistant") for n in range(choices)]
        refs = [
            {"body": one["id"], "place": "out", "n": n, "position": n, "internal": False} for n, one in enumerate(told)
        ]
        return {**end, "bodies": told, "messages": refs, "output_bodies": [one["id"] for one in told]}

    def _tell(self, span: str, parent: str | None, kind: str, end: dict[str, Any]) -> None:
        common = {"v": 1, "id": span, "run": self.run, "source": "langchain", "kind": kind}
        seen = len(self.records)
        start = {"t": "start", "parent": parent, "seen": seen, "at": MOMENT + seen, "name": kind}
        self.records.append({**common, **start})
        finish = {"t": "end", "seen": seen + 1, "at": MOMENT + seen + 1, "duration_ms": 1.5, "status": "completed"}
        self.records.append({**common, **finish, **end})


@st.composite
def trees(draw: st.DrawFn) -> list[Tree]:
    return [Tree(draw, f"tree {n}") for n in range(draw(st.integers(1, 3)))]


# Long only where it fails: the example is then made small.
@pytest.mark.timeout(400)
def test_totals_are_the_sum_of_the_calls(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None, row_factory=dict_row) as connection:

        @settings(
            max_examples=70, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
        )
        @given(made=trees(), seed=st.integers(0, 2**32))
        def same_totals(made: list[Tree], seed: int) -> None:
            lines = [orjson.dumps(record) for tree in made for record in tree.records]
            rows = store_all(connection, lines, random.Random(seed), 2)
            runs = {row["id"].hex: row for row in rows["conversation_runs"]}
            assert runs.keys() == {tree.run for tree in made}
            for tree in made:
                run = runs[tree.run]
                for name, column in (
                    ("input_tokens", "total_input_tokens"),
                    ("output_tokens", "total_output_tokens"),
                    ("total_tokens", "total_tokens_used"),
                ):
                    assert run[column] == tree.tokens[name], name
                assert run["total_cost"] == tree.cost
                assert (run["unpriced_calls"], run["unmeasured_calls"]) == (tree.unpriced, tree.unmeasured)
                told = [m["cost"] for m in rows["conversation_messages"] if m["conversation_run_id"].hex == tree.run]
                assert sum((cost or 0 for cost in told), tree.silent) == (tree.cost or 0)
            for batch in checks.check(Reader(connection), patience_s=0):
                assert [finding for finding in batch.findings if finding.check != "references"] == []

        same_totals()
