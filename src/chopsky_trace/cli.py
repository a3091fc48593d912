"""The command chopsky-trace: each command a call and a print."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress
from rich.text import Text

from chopsky_trace import __version__
from chopsky_trace.commands import present, retention, sample, transfer
from chopsky_trace.commands import reprice as repricing
from chopsky_trace.commands import serve as serving
from chopsky_trace.commands import show as views
from chopsky_trace.commands.command import Call, Commands, command, moment, prepare_output, told
from chopsky_trace.commands.costs import costs
from chopsky_trace.commands.db import db
from chopsky_trace.commands.doctor import examine
from chopsky_trace.commands.migrations import migrations as migration_files
from chopsky_trace.commands.prices import prices
from chopsky_trace.commands.realtime import realtime
from chopsky_trace.commands.report import check_text, run_line, status_text
from chopsky_trace.database import check as checks
from chopsky_trace.database import embedded, supabase_ledger
from chopsky_trace.database import migrate as migrations
from chopsky_trace.database.follow import Follower
from chopsky_trace.database.read import COST_KEYS, Reader, RunFilter, explained
from chopsky_trace.database.reprice import Wanted
from chopsky_trace.errors import TraceError
from chopsky_trace.records import STATUSES
from chopsky_trace.settings import EMBEDDED
from chopsky_trace.writer import journals

LIMIT = click.IntRange(1, 10_000)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="chopsky-trace")
def main() -> None:
    """Mirror LangChain and LangGraph runs into your own Postgres, and look at them.

    The database is --database-url, else CHOPSKY_TRACE_DATABASE_URL, SUPABASE_DB_URL or DATABASE_URL, else, at a
    terminal, an embedded PostgreSQL. Exit codes: 0 fine, 1 failed or problems found, 2 wrong usage.
    """
    prepare_output()


main.add_command(prices)
main.add_command(migration_files)
main.add_command(realtime)
main.add_command(costs)
main.add_command(db)
retention.add_to(main)
transfer.add_to(main)


@command(main, examples="migrate\nmigrate --verify")
@click.option("--verify", is_flag=True, help="Change nothing; fail where the schema is not what it should be.")
def migrate(call: Call, verify: bool) -> None:
    """Make or bring up to date the tables."""
    with call.connection() as connection, explained():
        steps = migrations.migrate(connection, verify=verify)
        number = migrations.current_number(connection)
        found = supabase_ledger.look(connection)
    names = [step.file for step in steps]
    data = {
        "schema": number,
        "supabase_ledger": asdict(found),
        "applied": [] if verify else names,
        "pending": names if verify else [],
        "verified": verify,
    }
    if verify:
        text = [f"missing  {name}" for name in names] or [f"The schema is at step {number}, and as it should be."]
    else:
        text = [f"applied  {name}" for name in names] + [f"The schema is at step {number}."]
        if found.state == "followed":
            text.append(f"The Supabase CLI's ledger has {len(found.versions)} steps too.")
    call.answer(data, *text)
    if verify and names:
        raise click.exceptions.Exit(1)


@command(main, examples="rollback\nrollback --to 5 --yes")
@click.option(
    "--to",
    type=click.IntRange(-1),
    metavar="N",
    help="The step to stay at; -1 takes back all. Default: only the last step.",
)
@click.option("--yes", is_flag=True, help="Do not ask. What the steps' tables hold is lost.")
def rollback(call: Call, to: int | None, yes: bool) -> None:
    """Take back migrations.

    What their tables hold is lost.
    """
    if not yes:
        if call.as_json or not sys.stdin.isatty():
            raise click.UsageError("Rolling back drops tables with what they hold; say --yes where nobody is asked")
        click.confirm(f"Drop tables of {call.target.shown} with what they hold?", abort=True, err=True)
    with call.connection() as connection, explained():
        number = migrations.current_number(connection)
        if to is not None and to > (-1 if number is None else number):
            there = "there is no schema" if number is None else f"the schema is at step {number}"
            raise click.BadParameter(f"{there}: it cannot be taken back to {to}", param_hint="--to")
        steps = migrations.rollback(connection, to)
        number = migrations.current_number(connection)
        found = supabase_ledger.look(connection)
    names = [step.file for step in steps]
    left = "No schema is left." if number is None else f"The schema is at step {number}."
    data = {"schema": number, "rolled_back": names, "supabase_ledger": asdict(found)}
    call.answer(data, *[f"took back  {name}" for name in names], left)


@command(main, examples="status\nstatus --json")
def status(call: Call) -> None:
    """Say where records go.

    Database, schema, what writers say, and journals that nobody serves.
    """
    data: dict[str, Any] = {"target": None, "origin": None, "error": None, "schema": None, "writers": []}
    try:
        data |= {"target": call.target.shown, "origin": call.target.origin}
        with call.connection() as connection:
            reader = Reader(connection)
            with explained():
                found = migrations.status(connection)
            data["schema"] = {
                "current": found.current,
                "known": found.known,
                "pending": [step.file for step in found.pending],
                "changed": list(found.changed),
                "state": _schema_state(found, reader),
            }
            if found.current is not None:
                data["writers"] = reader.writers()
    except TraceError as error:
        data["error"] = told(error)
    found_journals = journals(call.settings)
    data["journals"] = [asdict(journal) for journal in found_journals]
    call.answer(data, *status_text(data, found_journals, call.console.width))
    schema = data["schema"]
    if data["error"] or schema is None or schema["state"] in ("missing", "unseen", "older", "changed"):
        raise click.exceptions.Exit(1)


def _schema_state(found: migrations.Status, reader: Reader) -> str:
    if found.current is None:
        # Row level security shows an empty ledger to a role that may not see it.
        return "unseen" if reader.has_tables() else "missing"
    if found.changed:
        return "changed"
    if found.is_newer:
        return "newer"
    return "older" if found.pending else "current"


@command(main, examples="runs\nruns --session thread-1 --limit 5\nruns --status failed --since 24h --json")
@click.option("--limit", type=LIMIT, default=20, show_default=True)
@click.option("--after", type=click.UUID, metavar="ID", help="Go on after this run: the last one of the page before.")
@click.option("--user", "user_id", help="Runs of this user.")
@click.option("--session", "session_id", help="Runs of this session.")
@click.option("--tenant", "tenant_id", help="Runs of this tenant.")
@click.option("--project", help="Runs filed there.")
@click.option("--status", type=click.Choice(STATUSES), help="Runs in this state.")
@click.option(
    "--since", type=moment, metavar="TIME", help="Runs that started since: 30m, 24h, 7d, or an ISO date or time."
)
def runs(call: Call, limit: int, after: Any, **wanted: Any) -> None:
    """List conversation runs, newest first."""
    with call.reader() as reader:
        found = reader.runs(RunFilter(**wanted), limit=limit + 1, after=after)
    page, following = found[:limit], found[limit - 1]["id"] if len(found) > limit else None
    text: list[Any] = [present.runs_table(page, call.console.width)] if page else ["No conversation runs."]
    if following:
        text.append(Text(f"There are more: --after {following}", style="dim"))
    call.answer({"runs": page, "next": following}, *text)


@command(
    main,
    examples="show 0198c0de-1f2a\nshow thread-1\nshow 0198c0de-1f2a --tree\nshow 0198c0de-1f2a --raw\n"
    "show --prompt 0198c0de-77aa --json",
)
@click.argument("id", required=False)
@click.option("--messages", "view", flag_value="messages", help="Only the messages, internal ones too.")
@click.option("--tree", "view", flag_value="tree", help="Only the tree of calls.")
@click.option("--raw", "view", flag_value="raw", help="The payloads in full, as JSON: a line a span.")
@click.option(
    "--prompt",
    is_flag=False,
    flag_value="",
    metavar="SPAN",
    help="The exact prompt of a model call; without SPAN that of ID.",
)
@click.option("--limit", type=LIMIT, default=200, show_default=True, help="Most messages, and most spans, of a page.")
@click.option("--after", metavar="CURSOR", help="The next page, as the page before names it.")
def show(
    call: Call, id: str | None, view: views.View | None, prompt: str | None, limit: int, after: str | None
) -> None:
    """Show a run, a session or a span.

    ID is a run's or span's id, its beginning (8 characters or more), or a session's id.
    """
    if prompt is not None:
        span = prompt or id
        if not span:
            raise click.UsageError("--prompt needs the id of a model call's span")
        with call.reader() as reader:
            complete = views.show_prompt(call, reader, span, id if prompt else None)
        if not complete:
            raise click.exceptions.Exit(1)
        return
    if not id:
        raise click.UsageError("Say what to show: the id of a run, span or session")
    with call.reader() as reader:
        found = reader.find(id)
        if view == "raw":
            if not views.show_raw(call, reader, found, limit, after):
                raise click.exceptions.Exit(1)
        elif found.kind == "session":
            views.show_session(call, reader, found, view or "all", limit, after)
        elif found.kind == "span":
            views.show_span(call, reader, found, limit)
        elif found.run_id is not None:
            views.show_run(call, reader, found.run_id, view or "all", limit, after)


@command(main, examples="cost\ncost --by user --since 7d\ncost --by day --json")
@click.option("--by", type=click.Choice(COST_KEYS), default="model", show_default=True)
@click.option(
    "--since", type=moment, metavar="TIME", help="Runs that started since: 30m, 24h, 7d, or an ISO date or time."
)
@click.option("--limit", type=LIMIT, default=50, show_default=True)
def cost(call: Call, by: Any, since: datetime | None, limit: int) -> None:
    """Sum up cost and tokens.

    Sums are of what is known; how many calls are unknown stands beside.
    """
    with call.reader() as reader:
        rows, total = reader.cost(by, since=since, limit=limit + 1)
    page, more = rows[:limit], len(rows) > limit
    text: list[Any] = (
        ["No conversation runs."] if total is None else [present.cost_table(page, total, by, call.console.width)]
    )
    if more:
        text.append(Text(f"Only the first {limit} are listed; the sum is of all", style="dim"))
    call.answer({"by": by, "since": since, "rows": page, "total": total, "more": more}, *text)


@command(main, examples="tail\ntail --recent 0 --json\ntail --once")
@click.option("--once", is_flag=True, help="Show the last runs and end.")
@click.option("--recent", type=click.IntRange(0, 1_000), default=10, show_default=True, help="Runs to begin with.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3_600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--limit", type=click.IntRange(1), help="End after so many lines.")
def tail(call: Call, once: bool, recent: int, interval: float, limit: int | None) -> None:
    """Follow runs as they start and end.

    With --json a JSON object a line. Ctrl-C ends it.
    """
    count = 0
    try:
        with call.reader() as reader:
            follower = Follower(reader)
            warned = False
            while True:
                for event, row in follower.poll(recent=recent):
                    if call.as_json:
                        click.echo(present.dump({"event": event, "run": row}, indent=None))
                    else:
                        call.console.print(run_line(event, row), soft_wrap=True)
                    count += 1
                    if count == limit:
                        return
                if follower.missed and not warned:
                    warned = True
                    call.stderr.print(
                        "Runs arrive faster than they are read here: some are not shown. Look with less --interval"
                    )
                if once:
                    return
                time.sleep(interval)
    except KeyboardInterrupt:
        return


@command(main, examples="check\ncheck --limit 1000 --json")
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Most exceptions to list; all are counted.",
)
def check(call: Call, limit: int) -> None:
    """Derive the numbers again.

    Lists each exception with its cause. Reads only.
    """
    listed: list[checks.Finding] = []
    counts = dict.fromkeys(checks.CHECKS, 0)
    dangling = dict.fromkeys(checks.REFERENCES, 0)
    seen = {"runs": 0, "spans": 0, "messages": 0, "prompts": 0}
    with call.reader() as reader:
        for batch in _with_progress(call, reader):
            for finding in batch.findings:
                counts[finding.check] += 1
                if finding.reference is not None:
                    dangling[finding.reference] += 1
                if len(listed) < limit:
                    listed.append(finding)
            for name in seen:
                seen[name] += getattr(batch, name)
    total = sum(counts.values())
    data = {"checked": seen, "exceptions": [asdict(finding) for finding in listed], "counts": counts}
    data |= {"dangling": dangling, "total": total}
    call.answer(data, *check_text(seen, listed, counts, dangling))
    if total:
        raise click.exceptions.Exit(1)


def _with_progress(call: Call, reader: Reader) -> Any:
    # Counting all runs takes a while on big tables, so only where somebody watches.
    watched = call.stderr.is_terminal and not call.as_json
    with Progress(console=call.stderr, transient=True, disable=not watched) as progress:
        task = progress.add_task("Checking runs", total=checks.count_runs(reader) if watched else None)
        for batch in checks.check(reader, patience_s=call.settings.abandon_after_s):
            yield batch
            progress.advance(task, batch.runs)


@command(
    main,
    examples="reprice --from 2026-10-01 --dry-run\n"
    "reprice --from 2026-10-01 --to 2026-11-01 --model gpt-4o-mini\n"
    "reprice --from 30d --tenant acme --yes --json",
)
@click.option("--from", "since", type=moment, required=True, metavar="TIME", help="Calls that began then or later.")
@click.option(
    "--to", "until", type=moment, metavar="TIME", help="Calls that began before: 24h, 7d, or an ISO date. Default: now."
)
@click.option("--model", help="Calls that this model answered, or that asked for it.")
@click.option("--provider", help="Calls of this provider, as it was reported.")
@click.option("--tenant", "tenant_id", help="Calls of this tenant.")
@click.option("--dry-run", is_flag=True, help="Write nothing; show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reprice(call: Call, since: datetime, until: datetime | None, dry_run: bool, yes: bool, **narrow: Any) -> None:
    """Price past calls again.

    By the prices as they are known now, each at its own time. Tokens never change.
    """
    until = until or datetime.now(UTC)
    if since >= until:
        raise click.UsageError("--from must be before --to")
    if not (dry_run or yes):
        if call.as_json or not sys.stdin.isatty():
            raise click.UsageError("Repricing overwrites costs; say --yes where nobody is asked, or --dry-run to look")
        told = (
            f"Compute the cost of the calls since {since:%Y-%m-%d %H:%M} anew and overwrite it in {call.target.shown}?"
        )
        click.confirm(told, abort=True, err=True)
    if not repricing.run(call, Wanted(since=since, until=until, **narrow), dry_run=dry_run):
        raise click.exceptions.Exit(1)


@command(
    main,
    examples="serve\nserve --port 0 --json\nserve --host 0.0.0.0 --workers 2 --token-file /run/secrets/trace-token",
)
@click.option("--host", default=serving.HOST, show_default=True, help="Any but loopback needs a token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=serving.PORT, show_default=True, help="0: any free one."
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds the bearer token. Default: the variable CHOPSKY_TRACE_SERVER_TOKEN.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that share the port. One stores what one core can.",
)
def serve(call: Call, host: str, port: int, token_file: Path | None, workers: int) -> None:
    """Receive OpenTelemetry spans, and answer for what is stored.

    OTLP over HTTP: /v1/traces and /v1/logs, protobuf or JSON. The API: /conversations, /runs, /stats, described by
    /openapi.json. SIGTERM or Ctrl-C ends it.
    """
    serving.run(call, host, port, token_file, workers)


@command(main, examples="seed\nseed --email ann@example.com --json")
@click.option("--email", default="sample@example.com", show_default=True, help="Whose conversations they shall be.")
def seed(call: Call, email: str) -> None:
    """Make sample data.

    A few conversations to look at, of the user whose profile has this address (made where there is none).
    """
    sample.seed(call, email)


@command(main, examples="unseed\nunseed --json")
def unseed(call: Call) -> None:
    """Remove the sample data.

    All that seed made, whoever for, and nothing else.
    """
    sample.unseed(call)


@command(main, examples="stop\nstop --json")
def stop(call: Call) -> None:
    """Stop the embedded PostgreSQL.

    Its data stay; the next command or process that needs it starts it again.
    """
    if call.database_url not in (None, EMBEDDED):
        raise click.UsageError("Only the embedded PostgreSQL can be stopped here: leave out --database-url")
    stopped = embedded.stop(call.settings)
    folder = call.settings.data_path().absolute()
    outcome = "The embedded PostgreSQL is stopped" if stopped else "No embedded PostgreSQL runs"
    call.answer({"stopped": stopped, "data_dir": folder}, f"{outcome} ({folder}).")


@command(main, examples="doctor\ndoctor --database-url embedded\ndoctor --json")
def doctor(call: Call) -> None:
    """Find out why records do not arrive.

    Looks at each thing that must hold, and names the remedy for what does not.
    """
    found: list[dict[str, Any]] = []
    for diagnosis in examine(call.settings, call.database_url):
        found.append(asdict(diagnosis))
        if not call.as_json:
            line = Text(f"{diagnosis.step:<11}").append_text(
                Text(f"{diagnosis.state:<8}", style=present.STYLES.get(diagnosis.state, "bold red"))
            )
            call.console.print(line.append(present.one_line(diagnosis.detail, 500)), soft_wrap=True)
            if diagnosis.remedy:
                call.console.print(Text(f"{'':<11}remedy: {diagnosis.remedy}", style="yellow"), soft_wrap=True)
    healthy = all(one["state"] == "ok" for one in found)
    if call.as_json:
        call.answer({"ok": healthy, "steps": found})
    if not healthy:
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
