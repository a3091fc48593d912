"""What of a database must not depend on how its spans were delivered."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

Rows = dict[str, list[dict[str, Any]]]
CONNECTION = psycopg.Connection[Any]
# How a prompt is told - as what it adds to another call's, or in full - and by which record. Payloads are read whole.
HOW_TOLD = (
    *("prompt_extends", "prompt_take", "prompt_prefix", "prompt_bodies", "prompt_names"),
    *("start_version", "end_version", "inputs", "outputs"),
)
HIDDEN = {
    "conversation_runs": ("created_at", "updated_at"),
    "conversation_spans": ("created_at", "told", *HOW_TOLD),
    "conversation_messages": ("version",),
    "conversation_analytics": ("id", "created_at", "updated_at"),
}
"""Tables, and columns that are no part of it."""
PROMPTS = """
select s.id, p.* from conversation_spans s cross join lateral conversation_prompt(s.id) p order by s.id, p.position
"""
PAYLOADS = """
select s.id, chopsky_restore(s.inputs, s.conversation_run_id) as inputs,
    chopsky_restore(s.outputs, s.conversation_run_id) as outputs
from conversation_spans s order by s.id
"""
SAID = ("role", "content", "parts", "tool_calls", "tool_call_id")


def clear(connection: CONNECTION) -> None:
    """Forget everything."""
    for table in ("messages", "spans", "runs"):
        connection.execute(f"delete from conversation_{table}".encode())


def rows(connection: CONNECTION) -> Rows:
    """Every table's rows, every call's exact prompt, and every payload."""
    found: Rows = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for table, hidden in HIDDEN.items():
            key = "conversation_run_id" if table == "conversation_analytics" else "id"
            kept = cursor.execute(f"select * from {table} order by {key}".encode()).fetchall()
            found[table] = [{name: value for name, value in row.items() if name not in hidden} for row in kept]
        found["prompts"] = cursor.execute(PROMPTS).fetchall()
        found["payloads"] = cursor.execute(PAYLOADS).fetchall()
    return found


def firm(found: Rows, processes: int) -> dict[str, Any]:
    """Of all rows what holds whichever of so many processes told of a span: calls, totals and exact prompts; of one
    process, what was said, too.

    Another process may never see a GenAI span, and then has no run for the others.
    """
    kept = {
        "runs": [without(row, "total_messages") for row in found["conversation_runs"]],
        "spans": [row for row in found["conversation_spans"] if processes == 1 or row["kind"] != "other"],
        "prompts": [without(row, "name") for row in found["prompts"]],
    }
    if processes > 1:
        return kept
    return kept | {"said": {tuple(str(row[name]) for name in SAID) for row in found["conversation_messages"]}}


OPEN = ("token_count", "token_count_source", "created_at", "position", "sequence", "name")
"""Of a message, what is told once, by whichever batch first has it: its size, and where an internal one stands."""


def conversation(found: Rows, processes: int) -> dict[str, Any]:
    """Of all rows what holds whichever batch, of whichever process, told of a span.

    That is: calls, totals and exact prompts, who said each message, and whether it is shown to the user.
    """
    hidden = (*OPEN, "span_id") if processes > 1 else OPEN
    messages = [{name: row[name] for name in row if name not in hidden} for row in found["conversation_messages"]]
    shown = [row for row in found["conversation_messages"] if not row["is_internal"]]
    shown.sort(key=lambda row: (str(row["conversation_run_id"]), row["sequence"]))
    return firm(found, processes) | {
        "runs": found["conversation_runs"],
        "messages": messages,
        "shown": [(row["role"], row["content"]) for row in shown],
    }


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    """The row but for a column."""
    return {key: value for key, value in row.items() if key != name}
