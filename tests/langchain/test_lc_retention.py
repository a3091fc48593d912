"""Generated conversations, of which runs are removed: what stays is exact, whatever it referred to."""

from __future__ import annotations

import random
from typing import Any

import pytest
from lc_conversations import Talk
from lc_generated import Held
from test_lc_conversations_property import EXAMPLES, conversations, write


def aged(talk: Talk, chance: random.Random) -> list[Any]:
    """Makes some runs old; returns them."""
    runs = [row["id"] for row in talk.rows("select id from conversation_runs order by id")]
    old = [run for run in runs if chance.random() < 0.5]
    talk.connection.execute(
        "update conversation_runs set created_at = now() - interval '40 days' where id = any (%s)", [old]
    )
    return old


def prune(talk: Talk, what: str, batch: int) -> dict[str, Any]:
    talk.connection.execute("delete from retention_policies")
    talk.connection.execute("insert into retention_policies (what, keep_for) values (%s, interval '30 days')", [what])
    [row] = talk.rows("select chopsky_prune(%s) as done", batch)
    return row["done"]


@pytest.mark.timeout(900)
def test_prompts_that_stay_are_exact_whatever_goes(talk: Talk) -> None:
    def check(held: Held, seed: int) -> None:
        chance = random.Random(seed)
        what = chance.choice(["runs", "runs", "messages", "payloads"])
        write(talk, talk.lines, seed)
        before = talk.prompts()
        totals = {row["id"]: row for row in talk.rows(TOTALS)}
        old = aged(talk, chance)
        of = {row["id"]: row["conversation_run_id"] for row in talk.rows("select * from conversation_spans")}
        done = prune(talk, what, chance.choice([1, 2, 100]))
        assert (done["busy"], done["more"]) == (0, False)
        assert done["runs" if what == "runs" else f"runs_without_{what}"] == len(old)
        gone = old if what in ("runs", "messages") else []
        assert {run: said for run, said in talk.prompts().items() if of[run] not in gone} == {
            run: said for run, said in before.items() if of[run] not in gone
        }
        assert talk.findings() == []
        after = {row["id"]: row for row in talk.rows(TOTALS)}
        assert after == {run: row for run, row in totals.items() if what != "runs" or run not in old}
        left = talk.rows(LEFT, gone, gone)
        assert left == []

    conversations(check, talk, max(10, EXAMPLES // 3))


TOTALS = (
    "select id, total_messages, total_tokens_used, total_input_tokens, total_output_tokens, total_cost,"
    " average_response_time, unpriced_calls, unmeasured_calls, status, user_id, session_id from conversation_runs"
)
LEFT = (
    "select m.id from conversation_messages m where m.conversation_run_id = any (%s) and"
    " num_nonnulls(m.content, m.parts, m.tool_calls, m.body_id) > 0"
    " union all select s.id from conversation_spans s where s.conversation_run_id = any (%s)"
    " and num_nonnulls(s.inputs, s.outputs, s.prompt_bodies, s.output_bodies) > 0"
)
