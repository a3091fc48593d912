"""The text of `status`, `tail` and `check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from chopsky_trace.commands import present
from chopsky_trace.commands.present import Row
from chopsky_trace.database.check import CHECKS, Finding
from chopsky_trace.writer import JournalInfo

SCHEMA_WORDS = {
    "missing": "no tables yet: run `chopsky-trace migrate`",
    "unseen": "the tables are there, but this role cannot see what was applied: use the role that ran "
    "`chopsky-trace migrate`, or grant service_role to this one",
    "older": "older than this version's: run `chopsky-trace migrate`",
    "changed": "applied files were changed: install the version that applied them",
    "newer": "newer than this version's: upgrade chopsky-trace soon",
    "current": "up to date",
}


def status_text(data: Mapping[str, Any], found: Sequence[JournalInfo], width: int) -> list[str | Text | Table]:
    """The target, the schema, the writers, and this machine's journals."""
    lines: list[str | Text | Table] = [
        f"Database  {data['target'] or 'none'}" + (f" (from {data['origin']})" if data["origin"] else "")
    ]
    if data["error"]:
        lines.append(Text(f"Error     {data['error']}", style="red"))
    schema = data["schema"]
    if schema:
        at = "-" if schema["current"] is None else f"step {schema['current']} of {schema['known']}"
        lines.append(f"Schema    {at}, {SCHEMA_WORDS[schema['state']]}")
    if data["writers"]:
        lines += ["", writers_table(data["writers"], width)]
        for row in data["writers"]:
            trouble = row["prices"].get("error") or ", ".join(row["prices"].get("unusable") or ())
            if trouble:
                who = f"{present.one_line(row['host'], 20)}:{row['process_id']}"
                lines.append(
                    Text(f"Prices    {who} lacks prices of your own: {present.one_line(trouble)}", style="red")
                )
    elif schema and schema["current"] is not None:
        lines.append("Writers   none has written here yet")
    for journal in found:
        records = f"Journal   {journal.records:,} records ({present.size(journal.bytes)})"
        destination = present.one_line(journal.destination)
        if journal.served:
            lines.append(f"{records} on their way to {destination}")
        elif journal.records:
            told = (
                f"{records} for {destination} wait in {journal.folder}, and no process serves them: "
                "they are stored when a process next writes to that database"
            )
            lines.append(Text(told, style="yellow"))
    return lines


def writers_table(rows: Sequence[Row], width: int) -> Table:
    """What each writer last said of itself."""
    cells: list[list[present.Cell]] = []
    for row in rows:
        losses = sorted(row["losses"].items())
        lost = ", ".join(f"{count:,} {present.one_line(reason)}" for reason, count in losses if count)
        made: list[present.Cell] = [
            f"{present.one_line(row['host'], 20)}:{row['process_id']}",
            present.one_line(row["version"], 12),
            present.local_time(row["last_write_at"]),
            f"{row['stored_records']:,}",
            f"{row['backlog_records']:,}",
            Text(lost or "none", style="red" if lost else ""),
        ]
        cells.append(made)
    columns = ("Writer", "Version", "Last write", "Stored", "Backlog", "Lost")
    return present.table(columns, cells, width, right=("Stored", "Backlog"), flexible="Lost")


def run_line(event: str, row: Row) -> Text:
    """A run that started or ended, on a line."""
    line = Text(
        present.local_time(row["ended_at"] if event == "ended" else row["started_at"] or row["created_at"]) + "  "
    )
    line.append_text(present.status_text(row["status"])).append(
        f"  {row['id']}  {present.one_line(row['name'] or '-', 40)}  {present.who(row)}"
    )
    if event == "ended":
        line.append(
            f"  {present.tokens(row['total_tokens_used'], row['unmeasured_calls'])} tokens  "
            f"{present.cost(row['total_cost'], row['unpriced_calls'])}"
        )
    if row["error"]:
        line.append(f"  {present.one_line(row['error'], 120)}", style="red")
    return line


def check_text(
    seen: Mapping[str, int], listed: Sequence[Finding], counts: Mapping[str, int], dangling: Mapping[str, int]
) -> list[str | Text]:
    """Each exception under its check's heading, and how much was looked at."""
    total = sum(counts.values())
    lines: list[str | Text] = []
    for name, about in CHECKS.items():
        if not counts[name]:
            continue
        lines.append(Text(f"{counts[name]:,} {about}", style="bold red"))
        if name == "references":
            lines.append("  " + ", ".join(f"{kind} {count:,}" for kind, count in dangling.items() if count))
        for finding in (one for one in listed if one.check == name):
            place = f"run {finding.conversation_run_id}" if finding.conversation_run_id else "usage"
            place += f" span {finding.span_id}" if finding.span_id else ""
            place += f" message {finding.message_id}" if finding.message_id else ""
            values = f" stored {present.one_line(finding.stored)}" if finding.stored is not None else " stored nothing"
            values += f", derived {present.one_line(finding.derived)}" if finding.derived is not None else ""
            lines.append(f"  {place}: {finding.field}{values}: {present.one_line(finding.cause)}")
    if total > len(listed):
        lines.append(f"{total - len(listed):,} more are not listed: raise --limit")
    checked = "Checked " + ", ".join(f"{count:,} {name}" for name, count in seen.items())
    lines.append(
        Text(f"{checked}: {f'{total:,} exceptions' if total else 'no exceptions'}.", style="red" if total else "green")
    )
    return lines
