"""`chopsky-trace serve`: a receiver of OTLP over HTTP in front of the journal."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from chopsky_trace.commands.command import Call
from chopsky_trace.database import migrate
from chopsky_trace.errors import ServeError, TraceError
from chopsky_trace.settings import PREFIX, Settings
from chopsky_trace.writer import Writer, writer_for

HOST, PORT = "127.0.0.1", 4318
LEAST_TOKEN_CHARS = 16
GC_THRESHOLD = 200_000, 20, 50
BUSY_S = 0.01
"""The writer is most of what this process does; no request is held up by so little."""


def run(call: Call, host: str, port: int, token_file: Path | None) -> None:
    """Receives until it is told to end; then what was accepted is stored as far as the time allows.

    Raises:
        ServeError: it may not or cannot listen there.
        NoDatabaseError: no database is configured.
    """
    try:
        from chopsky_trace.server import app, custody, listening, refusals
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("chopsky_trace"):
            raise
        raise ServeError(f"The package {error.name} is missing: pip install 'chopsky-trace[server]'") from None
    from chopsky_trace.sources.destination import Destination
    from chopsky_trace.sources.otel.intake import Intake

    settings = call.settings
    token = _token(settings, token_file)
    if token is None and not listening.is_loopback(host):
        raise ServeError(
            f"{host or 'Every interface'} can be reached from other machines: set {PREFIX}SERVER_TOKEN (or give "
            "--token-file), which clients then send as `Authorization: Bearer ...`, or leave out --host"
        )
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
    receiver = app.application(custody.Keeper(intake, writer, settings.journal_max_bytes), limits, token)
    with listening.listen(host, port) as socket:
        _look_at_database(call)
        # Also stores what an earlier process left.
        writer.start()
        address = listening.address(socket)
        server = listening.make_server(receiver, lambda: _ready(call, address, token), settings.shutdown_timeout_s)
        listening.run(server, socket)
    deadline = time.monotonic() + settings.shutdown_timeout_s
    intake.close(settings.shutdown_timeout_s)
    writer.close(max(0.1, deadline - time.monotonic()))
    _ended(call, writer)


def _token(settings: Settings, token_file: Path | None) -> str | None:
    token = settings.server_token
    if token_file is not None:
        token = token_file.read_text("utf-8").strip()
        if not token:
            raise ServeError(f"The file {token_file} is empty, but must hold the token")
    if token is not None and (len(token) < LEAST_TOKEN_CHARS or not token.isascii() or not token.isprintable()):
        raise ServeError(f"The token must have {LEAST_TOKEN_CHARS} characters or more, all of them printable ASCII")
    return token


def _look_at_database(call: Call) -> None:
    """Makes the embedded database's tables; of another, tells what keeps records waiting in the journal."""
    try:
        with call.connection() as connection:
            migrate.ensure(connection, auto=call.target.is_embedded)
    except TraceError as error:
        call.stderr.print(f"Records will wait in the journal: {error}", style="yellow", soft_wrap=True)


def _ready(call: Call, address: str, token: str | None) -> None:
    guarded = "with the bearer token" if token else "without a token, from this machine only"
    call.answer(
        {"listening": address, "database": call.target.shown, "origin": call.target.origin, "token": token is not None},
        f"Listening on {address} for OTLP over HTTP ({guarded}). Ctrl-C ends it.",
        f"Database: {call.target.shown} (from {call.target.origin})",
    )
    call.console.file.flush()


def _ended(call: Call, writer: Writer) -> None:
    stats = writer.stats()
    told = f"Ended: {stats['stored_records']} records stored"
    if stats["losses"]:
        told += f", lost {', '.join(f'{count} ({reason})' for reason, count in sorted(stats['losses'].items()))}"
    call.stderr.print(told, soft_wrap=True)
