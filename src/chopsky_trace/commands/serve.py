"""`chopsky-trace serve`: a receiver of OTLP over HTTP in front of the journal, and the API that reads."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chopsky_trace.commands import interrupt
from chopsky_trace.commands.command import Call
from chopsky_trace.database import migrate
from chopsky_trace.errors import ServeError, TraceError
from chopsky_trace.settings import PREFIX
from chopsky_trace.writer import Writer, writer_for

if TYPE_CHECKING:
    from socket import socket as Socket

    from chopsky_trace.server.access import Guard, Tokens
    from chopsky_trace.server.workers import Life

HOST, PORT = "127.0.0.1", 4318
GC_THRESHOLD = 200_000, 20, 50
BUSY_S = 0.01
"""The writer is most of what this process does; no request is held up by so little."""


def run(call: Call, host: str, port: int, token_file: Path | None, workers: int = 1) -> None:
    """Receives until it is told to end; then what was accepted is stored as far as the time allows.

    Raises:
        ServeError: it may not or cannot listen there.
        NoDatabaseError: no database is configured.
    """
    # What is accepted is in the journal: there is nothing to put in order but while it listens, which it does itself.
    interrupt.end_at_once()
    try:
        from chopsky_trace.server import configured, listening
        from chopsky_trace.server.workers import Life, Workers
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("chopsky_trace"):
            raise
        raise ServeError(f"The package {error.name} is missing: pip install 'chopsky-trace[server]'") from None
    settings = call.settings
    tokens = configured.tokens_of(settings, _token(token_file))
    is_loopback = listening.is_loopback(host)
    if not tokens.guard("ingest") and not is_loopback:
        raise ServeError(
            f"{host or 'Every interface'} can be reached from other machines: set {PREFIX}SERVER_TOKEN (or give "
            "--token-file), which clients then send as `Authorization: Bearer ...`, or leave out --host"
        )
    guard = configured.guard_of(settings, tokens, is_open=is_loopback)
    # Asked now, so that a database that is not configured is told once.
    _ = call.target
    sockets = [listening.listen(host, port)] if workers == 1 else listening.listen_together(host, port, workers)
    address = listening.address(sockets[0])

    def ready() -> None:
        _ready(call, address, tokens.guard("ingest"), guard.is_open)

    if workers == 1:
        _serve(call, sockets[0], tokens, guard, Life(ready, lambda: False))
        return
    Workers(sockets, ready).run(lambda socket, life: _serve(call, socket, tokens, guard, life))


def _serve(call: Call, socket: Socket, tokens: Tokens, guard: Guard, life: Life) -> None:
    """One process's part."""
    from chopsky_trace.server import api, app, configured, custody, listening, refusals
    from chopsky_trace.sources.destination import Destination, options_of
    from chopsky_trace.sources.otel.intake import Intake

    settings = call.settings
    # Traces under way are many objects that live for seconds: no need to go through them every few hundred spans.
    gc.set_threshold(*GC_THRESHOLD)
    writer = writer_for(call.target, settings)
    writer.busy_s = BUSY_S
    intake = Intake(Destination(call.database_url))
    limits = refusals.Limits(
        settings.server_max_body_bytes,
        settings.server_max_inflated_bytes,
        settings.server_buffer_bytes,
        settings.server_body_timeout_s,
    )
    receiver = app.application(custody.Keeper(intake, writer), limits, tokens)
    requests = configured.requests_of(settings, call.database_url)
    reading = api.ReadApi(requests, guard.access, options_of(settings), configured.origins_of(settings))
    with socket:
        _look_at_database(call)
        # Also stores what an earlier process left.
        writer.start()
        both = app.beside(receiver, reading)
        server = listening.make_server(both, life.ready, settings.shutdown_timeout_s, life.is_left)
        listening.run(server, socket)
    reading.close()
    deadline = time.monotonic() + settings.shutdown_timeout_s
    intake.close(settings.shutdown_timeout_s)
    writer.close(max(0.1, deadline - time.monotonic()))
    _ended(call, writer)


def _token(token_file: Path | None) -> str | None:
    if token_file is None:
        return None
    token = token_file.read_text("utf-8").strip()
    if not token:
        raise ServeError(f"The file {token_file} is empty, but must hold the token")
    return token


def _look_at_database(call: Call) -> None:
    """Makes the embedded database's tables; of another, tells what keeps records waiting in the journal."""
    try:
        with call.connection() as connection:
            migrate.ensure(connection, auto=call.target.is_embedded)
    except TraceError as error:
        call.stderr.print(f"Records will wait in the journal: {error}", style="yellow", soft_wrap=True)


def _ready(call: Call, address: str, guarded: bool, is_open: bool) -> None:
    sending = "with a bearer token" if guarded else "without a token, from this machine only"
    reading = "without a token, from this machine only" if is_open else "with a token that may read"
    call.answer(
        {"listening": address, "database": call.target.shown, "origin": call.target.origin, "token": guarded,
         "open_reading": is_open},
        f"Listening on {address} for OTLP over HTTP ({sending}). Ctrl-C ends it.",
        f"Reading: {address}/conversations ({reading}); {address}/openapi.json says what there is.",
        f"Database: {call.target.shown} (from {call.target.origin})",
    )  # fmt: skip
    call.console.file.flush()


def _ended(call: Call, writer: Writer) -> None:
    stats = writer.stats()
    told = f"Ended: {stats['stored_records']} records stored"
    if stats["losses"]:
        told += f", lost {', '.join(f'{count} ({reason})' for reason, count in sorted(stats['losses'].items()))}"
    call.stderr.print(told, soft_wrap=True)
