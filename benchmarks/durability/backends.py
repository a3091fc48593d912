"""What is at the other end: a service for those who post, a database for ours. Both can be hurt in the same ways."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

import psycopg
from psycopg import sql

from benchmarks.durability import MARK
from benchmarks.durability.collector import Arrived, Collector
from benchmarks.durability.gate import Gate, Loop
from chopsky_trace.database import check
from chopsky_trace.database.read import Reader

WRITERS = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = %s and datname = %s"
RUNS = f"""
select coalesce(s.metadata ->> '{MARK}', r.metadata ->> '{MARK}') as mark, count(*), 0
from public.conversation_spans s join public.conversation_runs r on r.id = s.conversation_run_id
where s.ended_at is not null group by mark
union all
select metadata ->> '{MARK}', 0, count(*) from public.conversation_runs group by 1
"""


class Backend(ABC):
    """A backend behind a gate."""

    url: str
    """For the measured process."""

    def __init__(self, loop: Loop, gate: Gate) -> None:
        self._loop = loop
        self._gate = gate
        loop.do(gate.accept())

    def hurt(self, how: str) -> None:
        """`down`, `silent`, `slow` (and how many seconds), `429`, `500`, or `fine`, which ends any of them."""
        word, _, seconds = how.partition(" ")
        if word == "down":
            self._loop.do(self._gate.refuse())
        elif word == "silent":
            self._loop.do(self._gate.hold(held=True))
        elif word == "slow":
            self._gate.delay_s = float(seconds)
        elif word == "fine":
            self._gate.delay_s = 0.0
            self._loop.do(self._gate.hold(held=False))
            self.refuse(None)
            self._loop.do(self._gate.accept())
        else:
            self.refuse(int(word))

    @abstractmethod
    def refuse(self, status: int | None) -> None:
        """Answer requests with an error; with None no longer."""

    @abstractmethod
    def arrived(self) -> Arrived:
        """What is stored by now."""

    @abstractmethod
    def close(self) -> None:
        """See that nothing is wrong with what was stored, and go.

        Raises:
            RuntimeError: something is.
        """


class Service(Backend):
    """A collector."""

    def __init__(self, loop: Loop) -> None:
        self._collector = Collector()
        self._server = loop.do(asyncio.start_server(self._collector.serve, "127.0.0.1", 0))
        port = self._server.sockets[0].getsockname()[1]
        super().__init__(loop, Gate(lambda: asyncio.open_connection("127.0.0.1", port)))
        self.url = f"http://127.0.0.1:{self._gate.port}"

    def refuse(self, status: int | None) -> None:
        self._collector.refusal = status

    def arrived(self) -> Arrived:
        return self._collector.arrived()

    def close(self) -> None:
        self._loop.do(self._gate.refuse())
        self._loop.do(_close(self._server))
        if self._collector.unknown:
            raise RuntimeError(f"not played by the service: {sorted(set(self._collector.unknown))}")


async def _close(server: asyncio.Server) -> None:
    server.close()


class Database(Backend):
    """A database; whoever writes is refused as a full or failed-over server refuses.

    Args:
        url: of a superuser, over the server's socket.
        role: whom the measured process connects as, which is no superuser: those are never refused.
    """

    def __init__(self, loop: Loop, url: str, role: str) -> None:
        self._role = role
        self._admin = psycopg.connect(url, autocommit=True)
        info = self._admin.info
        path = f"{info.host}/.s.PGSQL.{info.port}"
        super().__init__(loop, Gate(lambda: asyncio.open_unix_connection(path)))
        self._name = info.dbname
        self.url = f"postgresql://{role}@127.0.0.1:{self._gate.port}/{info.dbname}"

    def refuse(self, status: int | None) -> None:
        name = sql.Identifier(self._name)
        limit = sql.Literal(0 if status == 429 else -1)
        self._admin.execute(sql.SQL("alter database {} connection limit {}").format(name, limit))
        read_only = sql.Literal("on" if status == 500 else "off")
        self._admin.execute(sql.SQL("alter database {} set default_transaction_read_only = {}").format(name, read_only))
        if status is not None:
            self._admin.execute(WRITERS, [self._role, self._name])

    def arrived(self) -> Arrived:
        found = Arrived()
        for mark, runs, roots in self._admin.execute(RUNS):
            if mark is not None:
                found.runs[mark] += runs
                found.roots[mark] += roots
        return found

    def close(self) -> None:
        self._loop.do(self._gate.refuse())
        wrong = [one for batch in check.check(Reader(self._admin), patience_s=100_000) for one in batch.findings]
        self._admin.close()
        if wrong:
            raise RuntimeError(f"`check` finds in what was stored: {wrong}")
