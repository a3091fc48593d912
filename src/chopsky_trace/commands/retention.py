"""`chopsky-trace prune`, `retention` and `erase-user`: how long things are kept, and what removes them."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from typing import Any, Literal

import click
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from chopsky_trace.commands import present
from chopsky_trace.commands.command import Call, Commands, command
from chopsky_trace.commands.present import Row
from chopsky_trace.database import retention as store
from chopsky_trace.database.retention import COUNTS, KINDS
from chopsky_trace.errors import RetentionError
from chopsky_trace.moments import UNITS

FOREVER = "forever"
NAMES = {name: name.replace("_", " ") for name in COUNTS} | {
    "messages_kept": "messages kept, because runs that stay refer to them",
    "busy": "left for another time, because somebody was at them",
}
TENANT = click.option("--tenant", "tenant_id", help="Of this tenant only.")
SWITCH = click.Choice(["on", "off"])


def period(value: str) -> timedelta:
    """A period: 24h, 90d, 12w.

    Raises:
        click.BadParameter: it is none.
    """
    # No minutes: 6m may be meant as months, and what is removed does not come back.
    match = re.fullmatch(r"(\d{1,6})([hdw])", value.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter(f"{value!r} is not like 24h, 90d or 12w")
    return int(match[1]) * UNITS[match[2]]


def keep_period(value: str) -> timedelta | None:
    """A period, or `forever`: None.

    Raises:
        click.BadParameter: it is neither.
    """
    return None if value.strip().lower() == FOREVER else period(value)


def add_to(main: click.Group) -> None:
    """Adds the commands."""

    @command(
        main,
        examples="prune --dry-run\nprune\nprune --older-than 90d --tenant acme --yes --json\nprune schedule on",
        name="prune",
        cls=Commands,
        invoke_without_command=True,
    )
    @click.option(
        "--older-than", type=period, metavar="PERIOD", help="Runs older than this, whatever the policies say."
    )
    @TENANT
    @click.option("--dry-run", is_flag=True, help="Remove nothing; count what would go.")
    @click.option(
        "--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs of a transaction."
    )
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def prune(call: Call, **wanted: Any) -> None:
        """Remove what is kept long enough.

        By the retention policies and the sessions' expires_at, or by --older-than. What is under a legal hold stays,
        what is referred to by runs that stay, and the roll-ups of usage.
        """
        if click.get_current_context().invoked_subcommand is None:
            _prune(call, **wanted)

    assert isinstance(prune, click.Group)
    command(prune, examples="prune schedule on\nprune schedule off", name="schedule")(
        click.argument("state", type=SWITCH)(schedule)
    )
    main.add_command(retention)
    command(
        main,
        examples="erase-user 7d0c...\nerase-user ann --tenant acme --yes\nerase-user --on-auth-delete on",
        name="erase-user",
    )(erase_user)


def _prune(
    call: Call, older_than: timedelta | None, tenant_id: str | None, dry_run: bool, batch: int, yes: bool
) -> None:
    if older_than is not None and not (dry_run or yes):
        if call.as_json or not sys.stdin.isatty():
            raise click.UsageError("This removes runs for good; say --yes where nobody is asked, or --dry-run to look")
        click.confirm(f"Remove runs older than {older_than} from {call.target.shown}?", abort=True, err=True)
    counts: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    with call.connection() as connection:
        if dry_run:
            counts |= store.due(connection, older_than, tenant_id)
        else:
            watched = call.stderr.is_terminal and not call.as_json
            total = _runs(store.due(connection, older_than, tenant_id)) if watched else None
            with Progress(console=call.stderr, transient=True, disable=not watched) as progress:
                task = progress.add_task("Pruning runs", total=total)
                for done in store.prune(connection, batch, older_than, tenant_id):
                    for name in COUNTS:
                        counts[name] += done[name]
                    progress.advance(task, _runs(done))
    counts = {name: counts[name] for name in COUNTS}
    lines: list[str | Text] = [f"{count:>12,}  {NAMES[name]}" for name, count in counts.items() if count]
    lines = lines or ["Nothing is due."]
    if dry_run:
        lines.append("A dry run: nothing was removed.")
    call.answer({"dry_run": dry_run, **counts}, *lines)


def _runs(counts: Row) -> int:
    return counts["runs"] + counts["runs_without_messages"] + counts["runs_without_payloads"]


def schedule(call: Call, state: Literal["on", "off"]) -> None:
    """Let pg_cron prune every minute, or no more.

    Without that extension writers prune, once an hour.
    """
    with call.connection() as connection:
        if not store.schedule(connection, wanted=state == "on"):
            raise RetentionError(
                "There is no pg_cron in this database: on Supabase enable it under Integrations."
                " Without it your writers prune, once an hour each"
            )
    call.answer({"schedule": state}, f"pg_cron prunes every minute: {state}.")


@click.group(cls=Commands)
def retention() -> None:
    """How long things are kept: rows of the table retention_policies.

    A tenant's own rule goes before the general one. Without a rule all is kept.
    """


@command(retention, name="list", examples="retention list\nretention list --json")
def list_(call: Call) -> None:
    """List the policies."""
    with call.connection() as connection:
        rows = store.policies(connection)
    told = _table(rows, call.console.width) if rows else "No policies: all is kept."
    call.answer({"policies": [row | {"keep_for": _shown(row["keep_for"])} for row in rows]}, told)


@command(
    retention,
    name="set",
    examples="retention set runs 90d\nretention set payloads 30d\nretention set runs forever --tenant acme",
)
@click.argument("what", type=click.Choice(KINDS))
@click.argument("keep_for", type=keep_period, metavar="PERIOD")
@TENANT
def set_(call: Call, what: str, keep_for: timedelta | None, tenant_id: str | None) -> None:
    """Keep something for a period: 24h, 90d, 12w, forever.

    sessions: with all of theirs, after their last activity. runs: whole. messages: what was said, and payloads; the
    numbers stay. payloads: inputs, outputs, texts, documents. feedback. writer_status: what writers say of themselves.
    tombstones: by which late records of removed runs are refused; a year without a rule.
    """
    if what in ("writer_status", "tombstones") and tenant_id is not None:
        raise click.UsageError("Writers and tombstones have no tenant")
    with call.connection() as connection:
        store.set_policy(connection, what, tenant_id, keep_for)
    kept = _shown(keep_for)
    call.answer({"what": what, "tenant_id": tenant_id, "keep_for": kept}, f"{what} are kept: {kept}.")


@command(retention, examples="retention remove runs\nretention remove runs --tenant acme")
@click.argument("what", type=click.Choice(KINDS))
@TENANT
def remove(call: Call, what: str, tenant_id: str | None) -> None:
    """Remove a policy."""
    with call.connection() as connection:
        removed = store.remove_policy(connection, what, tenant_id)
    if not removed:
        raise RetentionError("There is no such policy: see `chopsky-trace retention list`")
    call.answer({"removed": what, "tenant_id": tenant_id}, "1 removed.")


def _shown(keep_for: timedelta | None) -> str:
    if keep_for is None:
        return FOREVER
    seconds = int(keep_for.total_seconds())
    return next(
        (f"{seconds // size}{unit}" for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)) if seconds % size == 0),
        str(keep_for),
    )


def _table(rows: list[Row], width: int) -> Table:
    cells = [[row["what"], present.one_line(row["tenant_id"] or "(all)", 60), _shown(row["keep_for"])] for row in rows]
    return present.table(["What", "Tenant", "Kept for"], cells, width, flexible="Tenant")


@click.argument("user_id", required=False, metavar="USER")
@TENANT
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--on-auth-delete", "state", type=SWITCH, help="Erase whoever is deleted in Supabase's auth.users; or no more."
)
def erase_user(
    call: Call, user_id: str | None, tenant_id: str | None, yes: bool, state: Literal["on", "off"] | None
) -> None:
    """Remove a person from every table.

    Leaves a keyed hash that refuses late records of what was before, and a receipt without a name. Usage stays, as
    nobody's. What is under a legal hold stays.
    """
    if (user_id is None) == (state is None):
        raise click.UsageError("Say whom to erase, or --on-auth-delete on or off")
    if state is not None:
        _on_auth_delete(call, state)
        return
    assert user_id is not None
    if not yes:
        if call.as_json or not sys.stdin.isatty():
            raise click.UsageError("This removes a person for good; say --yes where nobody is asked")
        click.confirm(f"Remove everything of {user_id!r} from {call.target.shown}?", abort=True, err=True)
    with call.connection() as connection:
        receipt = store.erase_user(connection, user_id, tenant_id)
    lines: list[str | Text] = [f"{count:>12,}  {table}" for table, count in receipt["rows"].items() if count]
    if receipt["usage_rows_made_nobodys"]:
        lines.append(f"{receipt['usage_rows_made_nobodys']:>12,}  rows of usage are nobody's now")
    if receipt["held_sessions"]:
        held = receipt["held_sessions"]
        stay = "1 session stays: it is" if held == 1 else f"{held:,} sessions stay: they are"
        lines.append(Text(f"{stay} under a legal hold", style="yellow"))
    lines += [_erased(receipt), f"Receipt: conversation_erasures {receipt['erasure']}"]
    lines.append("Out of reach of this database: " + "; ".join(receipt["out_of_reach"]) + ".")
    call.answer(receipt, *lines)


def _erased(receipt: Row) -> str:
    if receipt["held_sessions"]:
        return "The rest is erased. Not complete: take the hold off and erase again."
    if any(receipt["rows"].values()) or receipt["usage_rows_made_nobodys"]:
        return "Erased."
    return (
        "Nothing of this user was found. A tombstone is left all the same: late records of what was before are refused."
    )


def _on_auth_delete(call: Call, state: Literal["on", "off"]) -> None:
    with call.connection() as connection:
        if not store.erase_on_auth_delete(connection, wanted=state == "on"):
            raise RetentionError("There is no table auth.users in this database: it is Supabase's")
    call.answer({"on_auth_delete": state}, f"Who is deleted in auth.users is erased here: {state}.")
