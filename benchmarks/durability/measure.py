"""All contenders in all cases, and the tables of what became of their runs."""

from __future__ import annotations

import importlib.metadata
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psycopg
from psycopg import sql

from benchmarks import machine
from benchmarks.durability.backends import Backend, Database, Service
from benchmarks.durability.cases import Case, cases
from benchmarks.durability.gate import Loop
from benchmarks.durability.trial import CHAIN_RUNS, Outcome, Trial
from benchmarks.durability.work import CHILD_S
from benchmarks.server import Server
from chopsky_trace.database.migrate import migrate

CONTENDERS = ("ours", "LangSmith", "OpenTelemetry")
AT_ONCE = 3
"""Trials beside one another: most of their time they wait."""
PACKAGES = (
    "langsmith",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "openinference-instrumentation-langchain",
)
ROLE = "bench_application"
TEMPLATE = "bench_durability"
HOW = f"""Each trial is a process and a backend of its own, behind a port on loopback that can refuse, cut and hold up;
{AT_ONCE} at once. The work: 3-step chains ({CHAIN_RUNS} callback runs) on a model that answers at once, after a first
that was flushed; later nobody flushes, but for each odd object by itself. What is not at full speed and lasts, is 25
chains a second; kills come after 6 to 12 s. Made: runs of which LangChain told the end. Stored: for ours, rows with an
end in PostgreSQL, in which `check` then finds nothing; for LangSmith's client, runs whose start and end came to a
service that answers as the hosted one does; for OpenTelemetry, spans that came to an OTLP endpoint, from
OpenInference's instrumentation by BatchSpanProcessor and OTLPSpanExporter (HTTP). Doubled: more runs of an invocation
than it has, or runs that came again (with the same id, by which a service may know them). All have their defaults and
their own exit handlers. Where runs of ours are missing at the end, the next process of the application, which works a
little, has its turn; the others keep nothing on disk, so they have it only after the exit without a backend. Outages
are longer in life."""


@dataclass(frozen=True, slots=True)
class Result:
    """A case, and what became of each contender in it."""

    case: Case
    outcomes: dict[str, Outcome]


def measure(server: Server, share: float, say: Callable[[str], None], only: Iterable[str] = ()) -> list[Result]:
    """All contenders in all cases (or those whose titles are given), each with a process and a backend of its own."""
    prepare(server)
    wanted = [case for case in cases(share) if not only or case.title in only]
    done: dict[tuple[int, str], Outcome] = {}
    with Loop() as loop:

        def one(number: int, case: Case, contender: str) -> None:
            if contender == "ours":
                url = server.create(f"{TEMPLATE}_{number}", TEMPLATE)
                backend: Backend = Database(loop, url, ROLE)
            else:
                backend = Service(loop)
            outcome = done[number, contender] = Trial(case, contender, backend).run()
            say(f"{case.title}, {contender}: {outcome.stored} of {outcome.made} stored, {outcome.doubled} doubled")

        work = [(number, case, name) for number, case in enumerate(wanted) for name in CONTENDERS]
        work.sort(key=lambda each: not each[1].long)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for finished in [pool.submit(one, *each) for each in work]:
                finished.result()
    return [Result(case, {name: done[number, name] for name in CONTENDERS}) for number, case in enumerate(wanted)]


def prepare(server: Server) -> None:
    """The role, and a database that it migrated, of which every trial of ours has a copy."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {} login createrole").format(sql.Identifier(ROLE)))
    with psycopg.connect(server.create(TEMPLATE), autocommit=True) as connection:
        connection.execute(sql.SQL("grant create on schema public to {}").format(sql.Identifier(ROLE)))
        connection.execute(
            sql.SQL("grant create on database {} to {}").format(sql.Identifier(TEMPLATE), sql.Identifier(ROLE))
        )
        connection.execute(sql.SQL("set session authorization {}").format(sql.Identifier(ROLE)))
        migrate(connection)


def table(results: list[Result]) -> str:
    """Runs made, stored and doubled; cases of the same title added up."""
    head = ["made / stored / doubled", "ours", "of these by the next process", *CONTENDERS[1:]]
    rows: list[list[str]] = []
    for title, same in itertools.groupby(results, lambda result: result.case.title):
        trials = list(same)
        cells = [_cell([trial.outcomes[name] for trial in trials]) for name in CONTENDERS]
        later = sum(trial.outcomes["ours"].by_later for trial in trials)
        rows.append([title, cells[0], f"{later:,}", *cells[1:]])
    return machine.table(head, rows)


def _cell(outcomes: list[Outcome]) -> str:
    sums = (sum(getattr(each, what) for each in outcomes) for what in ("made", "stored", "doubled"))
    return " / ".join(f"{each:,}" for each in sums)


def memory_table(results: list[Result]) -> str:
    """Resident memory, where it was measured."""
    measured = [result for result in results if "after_kb" in result.outcomes["ours"].told]
    rows: list[list[str]] = []
    for name in CONTENDERS:
        row = [name]
        for result in measured:
            told = result.outcomes[name].told
            if "after_kb" not in told:
                row += ["-"] * 3
                continue
            before, after, chains = (told[key][0] for key in ("before_kb", "after_kb", "chains"))
            growth = (after - before) / (chains * CHAIN_RUNS) * 1_000
            row += [f"{before / 1e3:,.0f}", f"{after / 1e3:,.0f}", f"{growth:,.0f}"]
        rows.append(row)
    head = ["resident memory"]
    for result in measured:
        state = "backend down" if result.case.hurts else "backend up"
        head += [f"{state}: MB after the first tenth", "MB at the end", "kB more every 1,000 runs"]
    return machine.table(head, rows)


def sentences(results: list[Result]) -> str:
    """What the tables do not say: which odd objects were lost, who raised into the application, who hung."""
    said: list[str] = []
    for result in results:
        for name, outcome in result.outcomes.items():
            odd = [mark.removeprefix("odd-") for mark in outcome.lost if mark.startswith("odd-")]
            good = sum(number for mark, number in outcome.lost.items() if mark.startswith("good-"))
            found = [f"lost the run with {each}" for each in odd]
            found += [f"lost {good} of the runs beside them"] * bool(good)
            found += [f"raised into the application: {each}" for each in outcome.told.get("raised", ())]
            if hung := len(outcome.told.get("hung", ())):
                found.append(f"{hung} forked children hung in their own work and were killed after {CHILD_S:.0f} s")
            found += outcome.notes
            said += [f"{name}, {result.case.title}: {each}." for each in found]
    return "\n".join(f"- {each}" for each in said) or "Nothing else was noticed."


def tables(results: list[Result]) -> tuple[str, ...]:
    """Everything that there is to print."""
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    return table(results), sentences(results), memory_table(results), f"{HOW} {versions}."
