"""How rows look to people (text, local times) and to programs (JSON, ISO UTC, money as strings)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chopsky_trace.database.encode import encode

Row = dict[str, Any]

UNKNOWN = "unknown"
NONE = "-"
PIPED_WIDTH = 160
"""Columns where nobody's terminal sets them: a row stays on one line, for grep."""
STYLES = {
    "completed": "green",
    "failed": "bold red",
    "active": "yellow",
    "interrupted": "magenta",
    "abandoned": "dim",
    "ok": "green",
    "skipped": "dim",
}
ROLE_STYLES = {"user": "bold cyan", "assistant": "bold green", "system": "bold magenta", "tool": "bold yellow"}

# What a terminal would obey rather than show: control characters, and those that turn the direction of writing.
_UNSAFE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"} | {
    code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def console(*, stderr: bool = False) -> Console:
    """A console for text that is never markup; without colour where it is not a terminal."""
    file = sys.stderr if stderr else sys.stdout
    piped = not file.isatty() and "COLUMNS" not in os.environ
    return Console(file=file, highlight=False, markup=False, emoji=False, width=PIPED_WIDTH if piped else None)


def plain(text: object) -> str:
    """Text from anywhere, safe to print: a control character is shown, not obeyed."""
    return str(text).replace("\r\n", "\n").translate(_UNSAFE)


def one_line(text: object, limit: int = 200) -> str:
    """The same on one line, cut at a number of characters."""
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def dump(data: object, *, indent: int | None = 2) -> str:
    """JSON: money and other decimals as strings, times as ISO 8601 in UTC."""
    # Where the output's encoding is not UTF-8 every program still reads ASCII.
    return encode(data, indent=indent, ascii_only="utf" not in (sys.stdout.encoding or "").lower())


def money(amount: Decimal | None) -> str:
    """USD with as many digits as it takes: $12.50, $0.000123; None is unknown."""
    if amount is None:
        return UNKNOWN
    if amount == 0:
        return "$0"
    # Below one dollar four significant digits, to the last one that is stored.
    places = 2 if abs(amount) >= 100 else 4 if abs(amount) >= 1 else min(10, 3 - amount.adjusted())
    whole, _, fraction = f"{amount:,.{places}f}".partition(".")
    return f"${whole}.{fraction.rstrip('0'):0<2}"


def cost(amount: Decimal | None, unpriced: int, *, short: bool = False) -> str:
    """The sum of what is known, and how many calls are not in it; no call at all is a dash."""
    if amount is None:
        return UNKNOWN if unpriced else NONE
    return money(amount) + _missing(unpriced, short)


def tokens(count: int | Decimal | None, unmeasured: int = 0, *, short: bool = False) -> str:
    """A sum of tokens, as cost does."""
    if count is None:
        return UNKNOWN if unmeasured else NONE
    return f"{int(count):,}" + _missing(unmeasured, short)


def _missing(calls: int, short: bool) -> str:
    if not calls:
        return ""
    return f" +{calls}?" if short else f" + {calls} {UNKNOWN}"


def duration(milliseconds: Decimal | float | None) -> str:
    """A time span: 320 ms, 1.24 s, 3 min 5 s."""
    if milliseconds is None:
        return NONE
    value = float(milliseconds)
    if value < 1_000:
        return f"{value:.0f} ms" if value >= 10 or value == 0 else f"{value:.1f} ms"
    if value < 59_995:
        return f"{value / 1_000:.2f} s"
    minutes, seconds = divmod(round(value / 1_000), 60)
    return f"{minutes} min {seconds} s"


def local_time(moment: datetime | None, *, seconds: bool = True) -> str:
    """A time on this machine's clock."""
    return NONE if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%m-%d %H:%M")


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1_000:
            return f"{value:.0f} {unit}"
        value /= 1_000
    return f"{value:.1f} GB"


def status_text(status: str | None) -> Text:
    """A status in its colour."""
    return Text(status or NONE, style=STYLES.get(status or "", "red"))


def who(row: Mapping[str, Any]) -> str:
    """User, session and tenant, as far as known."""
    named = [one_line(row[key], 60) for key in ("user_id", "session_id", "tenant_id") if row.get(key) is not None]
    return " · ".join(named) or NONE


Cell = str | Text
LEAST_FLEXIBLE = 6
"""Columns that a table's flexible column keeps."""


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    width: int,
    *,
    right: Sequence[str] = (),
    flexible: str,
    droppable: Sequence[str] = (),
    total: bool = False,
) -> Table:
    """A table that wide, whose flexible column alone gives way; with `total` the last row is a sum.

    Where that is not enough the droppable columns are left out, the first of them first.
    """
    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    cells = {name: [name, *column] for name, *column in zip(columns, *rows, strict=True)}
    widest = {name: max(cell_len(str(cell)) for cell in column) for name, column in cells.items()}
    least = widest | {flexible: min(LEAST_FLEXIBLE, widest[flexible])}
    shown = list(columns)
    for name in droppable:
        # Beside each column stand its padding and the box's own blank.
        if sum(least[column] + 2 for column in shown) <= width:
            break
        shown.remove(name)
    room = width - sum(widest[name] + 2 for name in shown if name != flexible) - 2
    for name in shown:
        most = max(LEAST_FLEXIBLE, room) if name == flexible else widest[name]
        justify = "right" if name in right else "left"
        made.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", width=min(widest[name], most))
    for index in range(len(rows)):
        last = total and index == len(rows) - 1
        if last:
            made.add_section()
        made.add_row(*(cells[name][index + 1] for name in shown), style="bold" if last else None)
    return made


def runs_table(rows: Sequence[Row], width: int) -> Table:
    """Runs as a list, with names and projects where there is room. `+2?` are two calls that are not in the number."""
    wide = width >= 120
    columns = ["Run", "Started", "Status", "User · session", "Tokens", "Cost", "Avg. resp."]
    if wide:
        columns[3:3] = ["Name", "Project"]
    cells: list[list[Cell]] = []
    for row in rows:
        made: list[Cell] = [
            row["short_id"],
            local_time(row["started_at"] or row["created_at"], seconds=False),
            status_text(row["status"]),
        ]
        if wide:
            made += [one_line(row["name"] or NONE, 24), one_line(row["project"] or NONE, 20)]
        made += [
            who(row),
            tokens(row["total_tokens_used"], row["unmeasured_calls"], short=True),
            cost(row["total_cost"], row["unpriced_calls"], short=True),
            duration(row["average_response_time"]),
        ]
        cells.append(made)
    # Never the id: a piece of it cannot be pasted. The order is that of what people miss least.
    droppable = [
        name
        for name in ("Project", "Name", "Avg. resp.", "Tokens", "User · session", "Started", "Cost", "Status")
        if name in columns
    ]
    return table(
        columns, cells, width, right=("Tokens", "Cost", "Avg. resp."), flexible="User · session", droppable=droppable
    )


def cost_table(rows: Sequence[Row], total: Row, by: str, width: int) -> Table:
    """Sums of what is known, how many calls are not in them, and the sum of all below.

    What providers said themselves stands beside, where any did; `(2)` says that it is of two calls.
    """
    wide = width >= 100
    reported = bool(total["reported_calls"])
    title = "Day (UTC)" if by == "day" else by.capitalize()
    columns = [title, "Runs", "Tokens", "Unmeasured", "Cost", "Unpriced"]
    if wide:
        columns[2:2] = ["Input", "Output"]
    timed = by == "model" and width >= 120
    if timed:
        columns += ["First token", "Tokens/s"]
    if reported:
        columns.append("Reported")

    def cells(name: str, row: Row) -> list[Cell]:
        unmeasured, unpriced = row["unmeasured_calls"], row["unpriced_calls"]
        counts = ("input_tokens", "output_tokens", "total_tokens") if wide else ("total_tokens",)
        sums: list[Cell] = [tokens(row[key]) if row[key] is not None or not unmeasured else UNKNOWN for key in counts]
        money_sum = cost(row["cost"], 0) if row["cost"] is not None or not unpriced else UNKNOWN
        times: list[Cell] = []
        if timed:
            speed = row["output_tokens_per_second"]
            times = [duration(row["time_to_first_token_ms"]), f"{speed:,.0f}" if speed else NONE]
        told = f"{money(row['reported_cost'])} ({row['reported_calls']:,})" if row["reported_calls"] else NONE
        shown: list[Cell] = [told] if reported else []
        return [name, f"{row['runs']:,}", *sums, _calls(unmeasured), money_sum, _calls(unpriced), *times, *shown]

    listed = [cells(_cost_key(row), row) for row in rows] + [cells("all", total)]
    return table(columns, listed, width, right=columns[1:], flexible=title, total=True)


def _cost_key(row: Row) -> str:
    provider = f"{row['provider']}/" if row["provider"] else ""
    return one_line(provider + ("(none)" if row["key"] is None else row["key"]), 60)


def _calls(count: int | Decimal) -> str:
    return f"{int(count):,}" if count else NONE


def header(run: Row, to: Console) -> Text:
    """A run in a few lines, those below the first indented, wrapped ones too."""
    title = Text(f"Conversation run {run['id']}  ", style="bold").append_text(status_text(run["status"]))
    return Text("\n").join([title, *(Text("  ").append_text(line) for line in _facts(run).wrap(to, to.width - 2))])


def _facts(run: Row) -> Text:
    lines = Text()
    facts = [
        ("name", run["name"]), ("user", run["user_id"]), ("tenant", run["tenant_id"]), ("session", run["session_id"]),
        ("project", run["project"]), ("environment", run["environment"]), ("tags", ", ".join(run["tags"]) or None),
    ]  # fmt: skip
    told = "  ".join(f"{name} {one_line(value, 80)}" for name, value in facts if value is not None)
    lines.append(f"{told}\n" if told else "")
    times = [f"started {local_time(run['started_at'] or run['created_at'])}"]
    if run["ended_at"] and run["started_at"]:
        lasted = (run["ended_at"] - run["started_at"]) / timedelta(milliseconds=1)
        times.append(f"ended {local_time(run['ended_at'])} after {duration(lasted)}")
    lines.append("  ".join(times) + "\n")
    known = (
        f"{tokens(run['total_input_tokens'])} in, {tokens(run['total_output_tokens'])} out"
        if run["total_tokens_used"] is not None
        else ""
    )
    lines.append(
        f"tokens {tokens(run['total_tokens_used'], run['unmeasured_calls'])}{f' ({known})' if known else ''}"
        f"  cost {cost(run['total_cost'], run['unpriced_calls'])}"
        f"  average response time {duration(run['average_response_time'])}\n"
    )
    counts = [f"messages {run['total_messages']}"]
    if run["user_satisfaction_score"] is not None:
        counts.append(f"user satisfaction {run['user_satisfaction_score']:f} of 5")
    counts += [
        f"{name} {run[key]}" for name, key in (("errors", "error_count"), ("retries", "retry_count")) if run[key]
    ]
    if run["resumes"]:
        counts.append(f"resumes {run['resumes']}")
    if run["resumed_at"]:
        counts.append(f"resumed {local_time(run['resumed_at'])}")
    lines.append("  ".join(counts))
    if run["error"]:
        lines.append(f"\n{one_line(run['error'], 400)}", style="red")
    return lines


def print_messages(to: Console, rows: Sequence[Row]) -> None:
    """A transcript: who, in numbers what it took, and the text."""
    for row in rows:
        line = Text()
        number = row.get("sequence", row.get("position"))
        line.append(f"{number if number is not None else NONE} ", style="dim")
        role = row["role"] or "(no longer stored)"
        line.append(
            role + (f" {one_line(row['name'], 40)}" if row.get("name") else ""), style=ROLE_STYLES.get(role, "bold red")
        )
        notes: list[str] = ["internal"] if row.get("is_internal") else []
        if row.get("model"):
            notes.append(one_line(row["model"], 60))
        if row.get("token_count") is not None:
            about = "about " if row.get("token_count_source") == "estimated" else ""
            notes.append(f"{about}{row['token_count']:,} tokens")
        if row.get("cost"):
            notes.append(money(row["cost"]))
        if row.get("response_time_ms") is not None:
            notes.append(duration(row["response_time_ms"]))
        line.append("  " + " · ".join(notes) if notes else "", style="dim")
        to.print(line, soft_wrap=True)
        body = message_text(row)
        if not body:
            continue
        if to.is_terminal:
            to.print(Padding(Text(body), (0, 0, 0, 2)))
        else:
            to.print(Text("\n".join("  " + part for part in body.split("\n"))), soft_wrap=True)


def print_feedback(to: Console, rows: Sequence[Row]) -> None:
    """What was said of a run, a line each: what of, by whom, and the comment."""
    for row in rows:
        about = "run" if row["span_id"] is None and row["message_id"] is None else "span"
        if row["message_id"] is not None:
            about = f"message {row['message_sequence'] or NONE}"
        told = [row["thumbs"], None if row["score"] is None else f"{row['score'].normalize():f}"]
        if row["value"] is not None:
            told.append(
                one_line(row["value"] if isinstance(row["value"], str) else dump(row["value"], indent=None), 80)
            )
        line = Text(f"{one_line(row['key'], 40)} ", style="bold").append(
            " ".join(text for text in told if text) or NONE, style={"up": "green", "down": "red"}.get(row["thumbs"], "")
        )
        giver = one_line(row["user_id"] or NONE, 40)
        line.append(f"  {about} · {giver} · {local_time(row['updated_at'])}", style="dim")
        to.print(line, soft_wrap=True)
        if row["comment"]:
            to.print(Text("  " + one_line(row["comment"], 400)), soft_wrap=True)


def message_text(row: Row) -> str:
    """A message's text, its other parts named, and its tool calls."""
    lines = [plain(row["content"])] if row["content"] else []
    # jsonb of any shape: what is not an object is left to --json.
    for part in _objects(row.get("parts")):
        if part.get("type") not in (None, "text"):
            lines.append(f"[{one_line(part['type'], 40)}]")
    for call in _objects(row.get("tool_calls")):
        arguments = call.get("args", call.get("arguments"))
        told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        lines.append(f"-> {one_line(call.get('name'), 80)} {one_line(told, 2_000)}")
    return "\n".join(lines)


def _objects(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", item) for item in cast("list[object]", value) if isinstance(item, dict)]
