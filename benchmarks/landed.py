"""How fast records become rows: the worker's path against COPY of the finished rows, in turns."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from benchmarks import machine
from benchmarks.server import Server
from benchmarks.traced import records
from chopsky_trace.database.migrate import migrate
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer.batches import Breather
from chopsky_trace.writer.delivery import Delivery

AGENTS = 120
EMPTY, FILLED, TRIAL = "bench_empty", "bench_filled", "bench_trial"
# Roll-ups are shared between runs: they are not theirs to copy.
NOT_RUNS = ("chopsky_migrations", "chopsky_keys", "writer_status", "usage_metrics", "usage_totals", "usage_kept")
FORMATS = ("binary", "text")
BLOCK_BYTES = 1 << 17


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of landing the rows, once."""

    rows: int
    net_wall_s: float
    client_cpu_s: float
    server_cpu_s: float
    build_cpu_s: float = 0.0
    """The part of the client's CPU that made the batches from records: decode, messages, usage, price."""

    @property
    def rows_per_s(self) -> float:
        """Rows of all tables per second of net wall time."""
        return self.rows / self.net_wall_s

    @property
    def cpu_s(self) -> float:
        """Client and server together."""
        return self.client_cpu_s + self.server_cpu_s


@dataclass(frozen=True, slots=True)
class Finished:
    """A table's finished rows, as COPY takes them."""

    table: str
    columns: tuple[str, ...]
    rows: int
    data: dict[str, bytes]


def land(url: str, settings: Settings, batches: Sequence[Sequence[bytes]]) -> Trial:
    """Everything the worker does with records it has read, but reading them: the next batch is built while the server
    writes the one before, as the worker has it."""
    delivery = Delivery(Target(url, "benchmark"), settings)
    builder = Builder(Breather(delivery.advance))
    build_cpu = 0.0
    try:
        connection = delivery.connected()
        rows = sum(_counts(connection).values())
        with _Clock(connection.info.backend_pid, together=True) as clock:
            for batch in batches:
                began = time.thread_time()
                built = builder.build(batch, packed=delivery.copies(len(batch)))
                build_cpu += time.thread_time() - began
                delivery.collect()
                delivery.send(built)
            delivery.collect()
        rows = sum(_counts(connection).values()) - rows
    finally:
        delivery.disconnect()
    return clock.trial(rows, build_cpu)


def copy(url: str, tables: Sequence[Finished], form: str) -> Trial:
    """COPY finished rows in one transaction, with triggers and foreign keys off and all indexes on."""
    with psycopg.connect(url) as connection:
        connection.execute("set session_replication_role = replica")
        connection.commit()
        with _Clock(connection.info.backend_pid) as clock:
            for finished in tables:
                statement = sql.SQL("copy {} ({}) from stdin (format {})").format(
                    sql.Identifier(finished.table),
                    sql.SQL(", ").join(map(sql.Identifier, finished.columns)),
                    sql.SQL(form),
                )
                data = memoryview(finished.data[form])
                with connection.cursor().copy(statement) as into:
                    for start in range(0, len(data), BLOCK_BYTES):
                        into.write(data[start : start + BLOCK_BYTES])
            connection.commit()
    return clock.trial(sum(finished.rows for finished in tables))


def finished_rows(url: str) -> list[Finished]:
    """The rows of all tables that hold runs, in both of COPY's formats."""
    found = []
    with psycopg.connect(url) as connection:
        for table, rows in _counts(connection).items():
            columns = tuple(
                row[0]
                for row in connection.execute(
                    "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0"
                    " and not attisdropped and attgenerated = '' order by attnum",
                    (f"public.{table}",),
                )
            )
            data = {form: _copy_out(connection, table, columns, form) for form in FORMATS}
            found.append(Finished(table, columns, rows, data))
    return found


def measure(server: Server, rounds: int, share: float, say: Callable[[str], None]) -> list[dict[str, Trial]]:
    """Land the same records `rounds` times each way, in random order, each time into a fresh copy of one database."""
    settings = Settings()
    say("landed rows: making the records")
    batches, others = (_batches(records(max(1, round(AGENTS * share))), settings) for _ in range(2))
    _migrated(server, EMPTY)
    url = server.create(TRIAL, EMPTY)
    land(url, settings, batches)
    tables = finished_rows(url)
    # A database in use: its tables hold rows, and the planner knows of them.
    url = server.create(FILLED, EMPTY)
    land(url, settings, others)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    ways: dict[str, Callable[[str], Trial]] = {"ours": lambda url: land(url, settings, batches)}
    ways |= {form: lambda url, form=form: copy(url, tables, form) for form in FORMATS}
    order = random.Random(7)
    trials: list[dict[str, Trial]] = []
    for number in range(rounds):
        say(f"landed rows: round {number + 1} of {rounds}")
        taken: dict[str, Trial] = {}
        for way in order.sample(list(ways), len(ways)):
            url = server.create(TRIAL, FILLED)
            server.checkpoint()
            taken[way] = ways[way](url)
        landed = {trial.rows for trial in taken.values()}
        if len(landed) > 1:
            raise RuntimeError(f"the ways landed different numbers of rows: {landed}")
        trials.append(taken)
    for name in (TRIAL, FILLED, EMPTY):
        server.drop(name)
    return trials


def table(trials: list[dict[str, Trial]]) -> str:
    """Rows per second and CPU, ours beside COPY."""
    best = max(FORMATS, key=lambda form: machine.median(each[form].rows_per_s for each in trials) or 0.0)
    head = [
        f"{trials[0]['ours'].rows:,} rows of all tables",
        "rows per s",
        "% of COPY",
        "s",
        "CPU s: client",
        "of which batches",
        "PostgreSQL",
        "CPU, % of COPY's rate",
    ]
    rows = []
    for way in ("ours", *FORMATS):
        wall = machine.median(each[way].rows_per_s / each[best].rows_per_s * 100 for each in trials)
        cpu = machine.median(each[best].cpu_s / each[way].cpu_s * 100 for each in trials)
        rows.append(
            [
                "the worker's path" if way == "ours" else f"COPY, {way}",
                machine.figure(machine.median(each[way].rows_per_s for each in trials), 0),
                machine.figure(wall, 0),
                machine.figure(machine.median(each[way].net_wall_s for each in trials), 2),
                machine.figure(machine.median(each[way].client_cpu_s for each in trials), 2),
                machine.figure(machine.median(each[way].build_cpu_s for each in trials), 2) if way == "ours" else "-",
                machine.figure(machine.median(each[way].server_cpu_s for each in trials), 2),
                machine.figure(cpu, 0),
            ]
        )
    return machine.table(head, rows)


class _Clock:
    """Net wall time, and CPU of this process and of one backend, of what happens within it.

    Where client and server work at the same time, one may wait for a core without holding up the other: then only the
    longer of the two waits is taken off the wall time, which may be too little, never too much.
    """

    def __init__(self, backend_pid: int, *, together: bool = False) -> None:
        self._pid = backend_pid
        self._together = together

    def _read(self) -> tuple[float, ...]:
        waits = machine.run_queue_wait_s(), machine.process_wait_s(self._pid)
        return time.perf_counter(), *waits, time.process_time(), machine.process_run_s(self._pid)

    def __enter__(self) -> _Clock:
        self._began = self._read()
        return self

    def __exit__(self, *error: object) -> None:
        spent = [end - start for start, end in zip(self._began, self._read(), strict=True)]
        wall, *waits, self.client_s, self.server_s = spent
        self.wall_s = wall - (max(waits) if self._together else sum(waits))

    def trial(self, rows: int, build_cpu: float = 0.0) -> Trial:
        return Trial(rows, self.wall_s, self.client_s, self.server_s, build_cpu)


def _batches(records: Sequence[bytes], settings: Settings) -> list[Sequence[bytes]]:
    return [records[start : start + settings.batch_records] for start in range(0, len(records), settings.batch_records)]


def _migrated(server: Server, name: str) -> None:
    with psycopg.connect(server.create(name), autocommit=True) as connection:
        migrate(connection)


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    """Rows of each table that holds runs; parents before children by name is not needed, keys are not checked."""
    names = connection.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
        " and relname <> all (%s) order by relname",
        (list(NOT_RUNS),),
    ).fetchall()
    counts: dict[str, int] = {}
    for (name,) in names:
        row = connection.execute(sql.SQL("select count(*) from public.{}").format(sql.Identifier(name))).fetchone()
        if row and row[0]:
            counts[name] = row[0]
    return counts


def _copy_out(connection: psycopg.Connection, table: str, columns: Sequence[str], form: str) -> bytes:
    statement = sql.SQL("copy {} ({}) to stdout (format {})").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(form)
    )
    with connection.cursor().copy(statement) as out:
        return b"".join(bytes(block) for block in out)
