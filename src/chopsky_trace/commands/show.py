"""What `chopsky-trace show` shows: a run, a span, a session or a prompt."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import click
from rich.text import Text

from chopsky_trace.commands.call_tree import call_tree
from chopsky_trace.commands.command import Call
from chopsky_trace.commands.present import dump, header, one_line, plain, print_feedback, print_messages
from chopsky_trace.database.pages import run_page
from chopsky_trace.database.payloads import Tally, raw_spans
from chopsky_trace.database.read import Found, Reader
from chopsky_trace.errors import NotFoundError

View = Literal["all", "messages", "tree", "raw"]
MAX_FEEDBACK = 100


def show_run(call: Call, reader: Reader, run_id: UUID, view: View, limit: int, after: str | None) -> None:
    """A run's header, transcript and call tree; a page of each, and where the next begins."""
    number, span = _run_cursor(after)
    wants_messages, wants_spans = view != "tree" and span is None, view != "messages" and number is None
    page = run_page(
        reader, run_id, limit=limit, messages=wants_messages, spans=wants_spans, internal=view == "messages",
        after_message=number or 0, after_span=span, feedback=MAX_FEEDBACK,
    )  # fmt: skip
    if call.as_json:
        call.answer(page)
        return
    run, messages, spans, feedback = page["run"], page["messages"], page["spans"], page["feedback"]
    call.console.print(header(run, call.console))
    if feedback and view == "all":
        _heading(call, "Feedback")
        print_feedback(call.console, feedback)
    if messages is not None:
        _heading(call, "Messages, internal ones too" if view == "messages" else "Transcript")
        print_messages(call.console, messages)
        _more(call, run_id, "messages", page["next_messages"])
    if spans is not None:
        _heading(call, "Calls")
        call.console.print(call_tree(Text(one_line(run["name"] or run_id), style="bold"), spans))
        _more(call, run_id, "spans", page["next_spans"])


def show_session(call: Call, reader: Reader, found: Found, view: View, limit: int, after: str | None) -> None:
    """The transcripts of a session's runs, in order, a page of messages at a time; with view tree the runs' calls."""
    assert found.session_key is not None
    from_run, sequence = _session_cursor(after)
    runs = reader.session_runs(found.session_key, limit=limit + 1, from_run=from_run)
    messages: dict[UUID, list[dict[str, Any]]] = {}
    if view != "tree":
        for row in reader.session_messages(
            found.session_key, limit=limit + 1, from_run=from_run, after=sequence, internal=view == "messages"
        ):
            messages.setdefault(row["conversation_run_id"], []).append(row)
    left = limit
    shown: list[dict[str, Any]] = []
    following: str | None = None
    for run in runs:
        if left <= 0:
            following = str(run["id"])
            break
        entry: dict[str, Any] = {"run": run, "messages": None, "spans": None}
        if view == "tree":
            entry["spans"] = reader.spans(run["id"], limit=left)
        else:
            of_run = messages.get(run["id"], [])
            entry["messages"] = of_run[:left]
            if len(of_run) > left:
                following = f"{run['id']}:{of_run[left - 1]['sequence']}"
        shown.append(entry)
        # A run counts as a line, so that runs without messages come to an end too.
        left -= max(1, len(entry["messages"] or entry["spans"] or ()))
        if following:
            break
    if call.as_json:
        keyed = {"session_id": found.id, "session_key": found.session_key}
        call.answer({"kind": "session", **keyed, "runs": shown, "next": following})
        return
    call.console.print(Text(f"Session {plain(found.id)}", style="bold"))
    for entry in shown:
        call.console.print()
        call.console.print(header(entry["run"], call.console))
        if entry["messages"] is not None:
            print_messages(call.console, entry["messages"])
        else:
            call.console.print(call_tree(Text("Calls"), entry["spans"]))
    _more(call, found.session_key, "messages", following)


def show_raw(call: Call, reader: Reader, found: Found, limit: int, after: str | None) -> bool:
    """A span, or a page of a run's spans, with their payloads put back together; whether all of them could be.

    A JSON object a line, or with --json one object.
    """
    if found.run_id is None:
        raise click.UsageError("--raw shows a span or a run: give the id of one of the session's runs")
    following: UUID | None = None
    if found.kind == "span":
        ids = [UUID(found.id)]
    else:
        ids = reader.span_ids(found.run_id, limit=limit + 1, after=_span_cursor(after))
        ids, following = ids[:limit], ids[limit - 1] if len(ids) > limit else None
    total = Tally()
    spans: list[dict[str, Any]] = []
    for raw in raw_spans(reader, ids):
        total.add(raw.tally)
        span = raw.row | raw.tally.counts()
        if call.as_json:
            spans.append(span)
        else:
            click.echo(dump(span, indent=None))
    if call.as_json:
        call.answer({"kind": "raw", "run_id": found.run_id, "spans": spans, **total.counts(), "next": following})
    elif following:
        call.stderr.print(
            f"There are more spans: chopsky-trace show {found.id} --raw --after {following}", soft_wrap=True
        )
    if not call.as_json and any(total.counts().values()):
        told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in total.counts().items() if count)
        call.stderr.print(f"References that stay: {told}", soft_wrap=True)
    return not (total.missing or total.too_large)


def show_span(call: Call, reader: Reader, found: Found, limit: int) -> None:
    """A span with its payloads, and what is below it."""
    assert found.run_id is not None
    span = reader.span(UUID(found.id))
    below = reader.spans_below(found.run_id, span["id"], limit=limit + 1)
    below, more = below[:limit], len(below) > limit
    if call.as_json:
        call.answer({"kind": "span", "span": span, "run": reader.run(found.run_id), "spans": below, "more_spans": more})
        return
    call.console.print(header(reader.run(found.run_id), call.console))
    _heading(call, f"Span {span['id']}")
    call.console.print(call_tree(Text(f"below run {found.run_id}", style="dim"), below))
    if more:
        call.console.print(Text(f"More than {limit} spans: raise --limit", style="dim"))
    for name in ("invocation_params", "inputs", "outputs", "metadata", "end_metadata", "price_rates"):
        if span[name]:
            _heading(call, name)
            call.console.print(Text(plain(dump(span[name]))), soft_wrap=True)


def show_prompt(call: Call, reader: Reader, text: str, within: str | None) -> bool:
    """The exact prompt of a model call; whether all of it is still stored.

    Raises:
        NotFoundError: there is no such span, or no prompt of it is stored.
    """
    found = reader.find(text)
    if found.kind == "session":
        raise NotFoundError(
            f"{text!r} is a session; a prompt belongs to a call: `chopsky-trace show ID --tree` shows a run's"
        )
    if within is not None and reader.find(within).run_id != found.run_id:
        raise NotFoundError(f"The span {found.id} is not of {within!r}")
    span = reader.span(UUID(found.id))
    messages = reader.prompt(span["id"])
    if not messages and span["prompt_bodies"] is None:
        raise NotFoundError(
            f"No prompt is stored for span {found.id} ({span['kind']}): no model call, or captured without content."
            f" `chopsky-trace show {found.run_id} --tree` shows the run's calls"
        )
    if not messages and (span["prompt_bodies"] or span["prompt_prefix"] or span["prompt_extends"]):
        raise NotFoundError(f"The prompt of span {found.id} cannot be rebuilt; `chopsky-trace check` tells why")
    complete = all(message["role"] is not None for message in messages)
    if call.as_json:
        call.answer({"kind": "prompt", "span_id": span["id"], "messages": messages, "complete": complete})
    else:
        print_messages(call.console, messages)
    return complete


def _heading(call: Call, text: str) -> None:
    call.console.print()
    call.console.print(Text(text, style="bold underline"))


def _more(call: Call, shown: object, what: str, cursor: object) -> None:
    if cursor is not None:
        call.console.print(
            Text(f"There are more {what}: chopsky-trace show {plain(shown)} --after {cursor}", style="dim"),
            soft_wrap=True,
        )


def _run_cursor(after: str | None) -> tuple[int | None, UUID | None]:
    if after is None:
        return None, None
    try:
        return (int(after), None) if after.isdigit() else (None, UUID(after))
    except ValueError:
        raise click.BadParameter(
            "it is the number or the id that the page before named", param_hint="--after"
        ) from None


def _span_cursor(after: str | None) -> UUID | None:
    number, span = _run_cursor(after)
    if number is not None:
        raise click.BadParameter("it is the id that the page before named", param_hint="--after")
    return span


def _session_cursor(after: str | None) -> tuple[UUID | None, int]:
    if after is None:
        return None, 0
    run, _, number = after.partition(":")
    try:
        return UUID(run), int(number or 0)
    except ValueError:
        raise click.BadParameter("it is the run that the page before named", param_hint="--after") from None
