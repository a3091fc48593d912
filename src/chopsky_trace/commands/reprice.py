"""`chopsky-trace reprice`: past calls priced again, and what that changes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from uuid import UUID

from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from chopsky_trace.commands import present
from chopsky_trace.commands.command import Call
from chopsky_trace.commands.present import Row
from chopsky_trace.database import reprice as store
from chopsky_trace.database.connect import Connection
from chopsky_trace.database.prices import read_overrides
from chopsky_trace.database.read import explained
from chopsky_trace.database.reprice import Wanted
from chopsky_trace.enrich.pricing.overrides import Overrides
from chopsky_trace.enrich.pricing.repricing import Repriced, edition, reprice
from chopsky_trace.errors import ReadError, TraceError

READS = 3
"""How often calls are read that somebody changed while they were priced."""
MOST_MODELS = 50
"""Models that the text lists; JSON has all."""

Costs = Mapping[UUID, Repriced]


@dataclass(slots=True)
class Counts:
    """What was seen and changed; USD before and after, None where nothing is known."""

    seen: int = 0
    changed: int = 0
    skipped: int = 0
    old_cost: Decimal | None = None
    new_cost: Decimal | None = None
    unpriced_before: int = 0
    unpriced_after: int = 0

    @property
    def difference(self) -> Decimal | None:
        if self.old_cost is None and self.new_cost is None:
            return None
        return (self.new_cost or Decimal(0)) - (self.old_cost or Decimal(0))

    def count(self, call: Row, new: Repriced | None, *, skipped: bool) -> None:
        """Adds a call."""
        old_cost: Decimal | None = call["cost"]
        new_cost = old_cost if new is None else new.cost
        self.seen += 1
        self.changed += new is not None
        self.skipped += skipped
        self.old_cost = _sum(self.old_cost, old_cost)
        self.new_cost = _sum(self.new_cost, new_cost)
        if call["is_charged"]:
            self.unpriced_before += old_cost is None
            self.unpriced_after += new_cost is None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            seen=self.seen + other.seen,
            changed=self.changed + other.changed,
            skipped=self.skipped + other.skipped,
            old_cost=_sum(self.old_cost, other.old_cost),
            new_cost=_sum(self.new_cost, other.new_cost),
            unpriced_before=self.unpriced_before + other.unpriced_before,
            unpriced_after=self.unpriced_after + other.unpriced_after,
        )


def _sum(a: Decimal | None, b: Decimal | None) -> Decimal | None:
    return b if a is None else a if b is None else a + b


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts by provider and model."""

    models: Mapping[tuple[str | None, str | None], Counts]

    def plus(self, calls: Iterable[Row], costs: Costs, *, skipped: bool = False) -> Tally:
        """This and these calls, with the new costs of those that changed."""
        models = {key: replace(counts) for key, counts in self.models.items()}
        for call in calls:
            key = call["provider"], call["model"] or call["model_requested"]
            counts = models.get(key)
            if counts is None:
                counts = models[key] = Counts()
            counts.count(call, costs.get(call["id"]), skipped=skipped)
        return Tally(models)

    def total(self) -> Counts:
        """The sum of all."""
        return sum(self.models.values(), Counts())

    def rows(self) -> list[Row]:
        """Each model's counts, the largest change of cost first."""
        ranked = sorted(self.models.items(), key=_rank)
        return [
            {"provider": provider, "model": model, **asdict(counts), "difference": counts.difference}
            for (provider, model), counts in ranked
        ]


def _rank(item: tuple[tuple[str | None, str | None], Counts]) -> tuple[Decimal, int, str, str]:
    (provider, model), counts = item
    return -abs(counts.difference or Decimal(0)), -counts.changed, str(provider), str(model)


class Repricing:
    """One pass over past calls."""

    def __init__(self, connection: Connection, overrides: Overrides, audit: UUID | None) -> None:
        self._connection = connection
        self._overrides = overrides
        self._audit = audit
        """Its row of conversation_repricings; None: nothing is written."""
        self.tally = Tally({})

    def page(self, ids: Sequence[UUID]) -> None:
        """Prices these calls, and writes what changed."""
        calls: list[Row] = []
        for _ in range(READS):
            calls = store.read_calls(self._connection, ids)
            costs = self._priced(calls)
            if self._audit is None or not costs:
                self.tally = self.tally.plus(calls, costs)
                return
            written = self._write(calls, costs)
            if written is None:
                self.tally = self.tally.plus([call for call in calls if call["id"] not in costs], {})
            calls = [call for call in calls if call["id"] in costs and call["id"] not in (written or ())]
            ids = [call["id"] for call in calls]
            if not ids:
                return
            if written is None:
                break
        self.tally = self.tally.plus(calls, {}, skipped=True)

    def end(self) -> None:
        """Tells the audit row all counts; raises what `explained` does."""
        if self._audit is not None:
            with explained():
                self._advance(self._audit, self.tally)
            store.finish(self._connection, self._audit, "completed")

    def _priced(self, calls: Iterable[Row]) -> dict[UUID, Repriced]:
        found = ((call["id"], reprice(call, self._overrides)) for call in calls)
        return {span: new for span, new in found if new is not None}

    def _write(self, calls: Sequence[Row], costs: Costs) -> set[UUID] | None:
        after = self.tally

        def note(written: set[UUID]) -> None:
            nonlocal after
            settled = [call for call in calls if call["id"] in written or call["id"] not in costs]
            after = self.tally.plus(settled, costs)
            assert self._audit is not None
            self._advance(self._audit, after)

        rows = [_cost_row(call, costs[call["id"]]) for call in calls if call["id"] in costs]
        written = store.write_costs(self._connection, rows, note)
        if written is not None:
            self.tally = after
        return written

    def _advance(self, audit: UUID, tally: Tally) -> None:
        total = asdict(tally.total())
        counts = {name: total[name] for name in ("seen", "changed", "skipped", "old_cost", "new_cost")}
        store.advance(self._connection, audit, counts, tally.rows())


def _cost_row(call: Row, new: Repriced) -> Row:
    kept = ("id", "conversation_run_id", "start_version", "end_version")
    row = {name: call[name] for name in kept}
    row |= {"old_cost": call["cost"], "old_cost_source": call["cost_source"]}
    return row | {"cost": new.cost, "cost_source": new.source, "price_rates": new.rates}


def run(call: Call, wanted: Wanted, *, dry_run: bool) -> bool:
    """Prices the calls again and answers; whether none was skipped."""
    with call.connection() as connection:
        with explained():
            rows = read_overrides(connection)
        prices = edition(rows)
        overrides = Overrides.from_rows(rows)
        for row_id, reason in overrides.unusable.items():
            call.stderr.print(f"model_prices {row_id} is not applied: {present.one_line(reason)}", soft_wrap=True)
        audit = None if dry_run else store.begin(connection, wanted, prices)
        work = Repricing(connection, overrides, audit)
        with _interruptible(call, connection, audit):
            watched = call.stderr.is_terminal and not call.as_json
            with Progress(console=call.stderr, transient=True, disable=not watched) as progress:
                task = progress.add_task("Pricing calls", total=_total(connection, wanted) if watched else None)
                for ids in store.pages(connection, wanted):
                    work.page(ids)
                    progress.advance(task, len(ids))
            work.end()
    counts = work.tally.total()
    data: Row = {"dry_run": dry_run, "repricing": audit, **asdict(wanted), "prices": prices}
    data |= {**asdict(counts), "difference": counts.difference, "by_model": work.tally.rows()}
    call.answer(data, *_text(work.tally, dry_run, audit, call.console.width))
    return not counts.skipped


def _total(connection: Connection, wanted: Wanted) -> int | None:
    try:
        return store.count(connection, wanted)
    except ReadError:
        # Too many to count in the time that a statement has here; each page is quick.
        return None


@contextmanager
def _interruptible(call: Call, connection: Connection, audit: UUID | None) -> Generator[None]:
    """However it ends, the audit row says so: over another connection where this one is lost."""
    try:
        yield
    except BaseException:
        if audit is not None:
            try:
                store.finish(connection, audit, "interrupted")
            except TraceError:
                with suppress(TraceError), call.connection() as other:
                    store.finish(other, audit, "interrupted")
            call.stderr.print("Broken off. What was priced until then stays; the same command again does the rest.")
        raise


def _text(tally: Tally, dry_run: bool, audit: UUID | None, width: int) -> list[str | Text | Table]:
    counts = tally.total()
    if not counts.seen:
        return ["No calls to price again."]
    lines: list[str | Text | Table] = [_table(tally, width)]
    if len(tally.models) > MOST_MODELS:
        lines.append(Text(f"Only {MOST_MODELS} models are listed; the sum is of all", style="dim"))
    if counts.skipped:
        told = f"{counts.skipped:,} calls were changed meanwhile and keep their cost: run it again"
        lines.append(Text(told, style="yellow"))
    if dry_run:
        lines.append("A dry run: nothing was written.")
    else:
        lines.append(f"{counts.changed:,} of {counts.seen:,} calls have a new price. conversation_repricings {audit}")
    return lines


def _table(tally: Tally, width: int) -> Table:
    columns = ["Model", "Calls", "Changed", "Old cost", "New cost", "Difference", "Unpriced"]
    listed = tally.rows()[:MOST_MODELS]
    total = tally.total()
    cells = [_cells(f"{row['provider'] or present.NONE}/{row['model'] or '(none)'}", row) for row in listed]
    cells.append(_cells("all", asdict(total) | {"difference": total.difference}))
    return present.table(
        columns, cells, width, right=columns[1:], flexible="Model", droppable=("Unpriced", "Calls"), total=True
    )


def _cells(name: str, row: Row) -> list[present.Cell]:
    before, after = row["unpriced_before"], row["unpriced_after"]
    difference: Decimal | None = row["difference"]
    sign = "" if not difference else "+" if difference > 0 else "-"
    return [
        present.one_line(name, 60),
        f"{row['seen']:,}",
        f"{row['changed']:,}",
        present.cost(row["old_cost"], before, short=True),
        present.cost(row["new_cost"], after, short=True),
        present.NONE if difference is None else sign + present.money(abs(difference)),
        f"{before:,} > {after:,}" if before or after else present.NONE,
    ]
