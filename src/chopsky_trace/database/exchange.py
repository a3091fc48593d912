"""A transaction under way, while its client does something else: libpq, step by step, on one connection."""

from __future__ import annotations

import select
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

Query = tuple[bytes, Sequence[bytes] | None]
"""A statement and its parameters, as texts."""
Steps = Generator[int, None, None]
"""Does what can be done and yields what it waits for, as `poll` has it: to read, or to read or write."""

READ, BOTH = select.POLLIN, select.POLLIN | select.POLLOUT
BLOCK_BYTES = 1 << 17


class Exchange:
    """A transaction under way.

    Args:
        server: the connection.
        steps: what there is to do.
        silence_s: how long nothing at all may come or go before the connection counts as lost, in seconds. A network
            that swallows everything, or a pooler that has forgotten the connection, never says that it has.
    """

    def __init__(self, server: PGconn, steps: Steps, silence_s: float) -> None:
        self._server = server
        self._silence_s = silence_s
        self._steps = _undone(server, steps)
        self._wanted = 0
        self._poll = select.poll()
        self._over = False
        self._error: BaseException | None = None
        self._go()

    def advance(self) -> bool:
        """Goes as far as it can without waiting; True when there is nothing left to do. Raises nothing."""
        while not self._over and self._poll.poll(0):
            self._go()
        return self._over

    def finish(self) -> None:
        """Waits for the end.

        Raises:
            psycopg.Error: the transaction failed, and nothing of it is stored.
        """
        while not self._over:
            if self._poll.poll(self._silence_s * 1000):
                self._go()
            else:
                self._error, self._over = silent(self._silence_s), True
        if self._error is not None:
            raise self._error

    def _go(self) -> None:
        try:
            wanted = next(self._steps)
            if wanted != self._wanted:
                self._poll.register(self._server.socket, wanted)
                self._wanted = wanted
        except StopIteration:
            self._over = True
        except Exception as error:
            self._error, self._over = error, True


def silent(silence_s: float) -> psycopg.OperationalError:
    """The error of a server that says nothing any more."""
    return psycopg.OperationalError(f"the server has said nothing for {silence_s:g} s: the connection counts as lost")


def ask(server: PGconn, queries: Sequence[Query]) -> Generator[int, None, list[PGresult]]:
    """Several statements in one round trip; what comes after one that fails is not done.

    Raises:
        psycopg.Error: a statement failed, or the connection did.
    """
    server.enter_pipeline_mode()
    for statement, parameters in queries:
        server.send_query_params(statement, parameters)
    server.pipeline_sync()
    yield from _flushed(server)
    results: list[PGresult] = []
    while True:
        result = yield from _result(server)
        if result is None or result.status == ExecStatus.PIPELINE_ABORTED:
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            break
        results.append(result)
    server.exit_pipeline_mode()
    _check(results)
    return results


def copy(server: PGconn, streams: Sequence[tuple[str, Sequence[str], bytes]]) -> Steps:
    """COPY into several tables of the schema public: name, columns, stream in the binary format.

    Raises:
        psycopg.Error: a table's rows were refused, or the connection failed.
    """
    statements = [
        f"""copy public.{table} ({", ".join(f'"{column}"' for column in columns)}) from stdin (format binary)"""
        for table, columns, _ in streams
    ]
    server.send_query("; ".join(statements).encode())
    yield from _flushed(server)
    waiting = iter(streams)
    results: list[PGresult] = []
    while (result := (yield from _result(server))) is not None:
        if result.status != ExecStatus.COPY_IN:
            results.append(result)
            continue
        data = memoryview(next(waiting)[2])
        for start in range(0, len(data), BLOCK_BYTES):
            while server.put_copy_data(bytes(data[start : start + BLOCK_BYTES])) == 0:
                yield BOTH
        while server.put_copy_end() == 0:
            yield BOTH
        yield from _flushed(server)
    _check(results)


def _flushed(server: PGconn) -> Steps:
    while server.flush():
        yield BOTH
        # The server may be unable to read on before we have read what it says.
        server.consume_input()


def _result(server: PGconn) -> Generator[int, None, PGresult | None]:
    while server.is_busy():
        yield READ
        server.consume_input()
    result = server.get_result()
    if result is None and server.status != ConnStatus.OK:
        raise psycopg.OperationalError("the connection is lost")
    return result


def _check(results: Sequence[PGresult]) -> None:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise error_from_result(result)


def _undone(server: PGconn, steps: Steps) -> Steps:
    """The steps; where one fails, the connection is made fit for another transaction if that can be done."""
    try:
        yield from steps
    except Exception:
        with suppress(psycopg.Error):
            if server.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                server.send_query(b"rollback")
                yield from _flushed(server)
                while (yield from _result(server)) is not None:
                    pass
        raise
