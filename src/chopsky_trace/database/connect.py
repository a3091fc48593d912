"""One connection: pooler-safe, encrypted beyond this machine, and no password in any error."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from chopsky_trace.database import embedded
from chopsky_trace.database.exchange import silent
from chopsky_trace.errors import ConnectError
from chopsky_trace.settings import Settings, Target

Connection = psycopg.Connection[TupleRow]
Value = TypeVar("Value")

KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

# What a failure's words mean to the person who reads them.
HINTS = (
    (
        r"network is unreachable|cannot assign requested address",
        "Supabase's direct host has IPv6 only; take the session pooler's connection string",
    ),
    (
        r"tenant or user not found",
        "The pooler does not know this user: it must be postgres.<project>, and the host's region right",
    ),
    (r"password authentication failed", "The password is wrong for this role"),
    (r"could not translate host name|failed to resolve|name or service not known", "The host name does not exist"),
    (
        r"does not support ssl|server does not support",
        "The server speaks no TLS; where the network is safe add ?sslmode=disable",
    ),
    (r"no pg_hba\.conf entry .*no encryption|ssl connection is required", "The server wants TLS: add sslmode=require"),
    (
        r"root certificate file .* does not exist",
        "sslmode=verify-ca and verify-full need the certificate of the CA: name its file in sslrootcert (Supabase: "
        "Database Settings, SSL Configuration, download), or sslrootcert=system where it is a public one",
    ),
    (r"could not read root certificate", "sslrootcert must name a file of certificates (PEM) that this user may read"),
    (
        r"does not match host name",
        "Take the name that the certificate has as the host, or sslmode=verify-ca, which does not look at it",
    ),
    (
        r"certificate verify failed",
        "The server's certificate has expired, or is not signed by the CA that sslrootcert names",
    ),
    (r"connection refused", "Nothing listens at that address and port"),
    (r"timeout", "Nothing answered in time: address, port or firewall"),
    (r"too many (clients|connections)|max clients", "The server has no connection left; a transaction pooler helps"),
)


class Impatient(psycopg.Connection[TupleRow]):
    """A connection that fails where the server says nothing for too long, instead of waiting for ever."""

    silence_s = float("inf")

    def wait(self, gen: PQGen[Value], *args: Any, **kwargs: Any) -> Value:
        return super().wait(_heard(gen, self.silence_s), *args, **kwargs)


def _heard(steps: PQGen[Value], silence_s: float) -> PQGen[Value]:
    """The same steps; an error where nothing has come or gone for so long."""
    heard = time.monotonic()
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            now = time.monotonic()
            if ready:
                heard = now
            elif now - heard > silence_s:
                raise silent(silence_s)
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value


def connect(target: Target, settings: Settings, *, application_name: str, silence_s: float | None = None) -> Connection:
    """A connection in autocommit mode, without prepared statements, so that a transaction pooler may stand between.

    Args:
        target: where to; `embedded` starts the embedded server if it does not run.
        settings: its timeouts are in seconds.
        application_name: what pg_stat_activity shows.
        silence_s: how long the server may say nothing to a statement before the connection counts as lost; None: it
            is waited for, as its user sees.

    Raises:
        ConnectError: the address is wrong or no connection could be made; names no password.
        EmbeddedError: the embedded server could not be started.
    """
    url = embedded.ensure_running(settings) if target.is_embedded else target.url
    given = parameters(url)
    own: dict[str, Any] = {
        "connect_timeout": max(2, round(settings.connect_timeout_s)),
        "application_name": application_name,
    }
    own |= KEEPALIVE
    if not is_local(str(given.get("host") or os.environ.get("PGHOST") or "")) and "PGSSLMODE" not in os.environ:
        own["sslmode"] = "require"
    # What the URL says itself goes before what we would choose.
    arguments = {name: value for name, value in own.items() if name not in given or name == "application_name"}
    try:
        connection = Impatient.connect(url, autocommit=True, prepare_threshold=None, **arguments)
    except psycopg.Error as error:
        raise failure(str(error), url, target.shown) from None
    if silence_s is not None:
        connection.silence_s = silence_s
    return connection


def is_hung_up(connection: Connection) -> bool:
    """Whether an idle connection was ended: there is something to read where nothing was asked, and a server or a
    pooler says that only to take its leave."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def parameters(url: str) -> dict[str, Any]:
    """What the URL says, parsed by libpq.

    Raises:
        ConnectError: it cannot be parsed; the message repeats nothing of it, for any part may be a password.
    """
    authority, _, rest = url.partition("://")[2].partition("/")
    if authority.count("@") > 1 or ("@" not in authority and "@" in rest.partition("?")[0]):
        raise ConnectError(
            "The database URL's password has a character that must be percent-encoded: @ as %40, / as %2F"
        )
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:
        raise ConnectError(
            "The database URL cannot be parsed; in its password @ : / ? # % and blanks must be percent-encoded"
        ) from None


class Place(NamedTuple):
    """One of the hosts that a URL names."""

    host: str
    """Its name, a socket's folder, or nothing."""
    address: str | None
    """Where it is named."""
    port: int


def places(given: Mapping[str, Any]) -> list[Place]:
    """The hosts of a URL's parameters and of libpq's variables, in the order in which they are tried."""
    hosts = str(given.get("host") or os.environ.get("PGHOST") or "").split(",")
    addresses = str(given.get("hostaddr") or os.environ.get("PGHOSTADDR") or "").split(",")
    ports = str(given.get("port") or os.environ.get("PGPORT") or "").split(",")
    count = max(len(hosts), len(addresses))
    # One port holds for all; what is left out is the default.
    hosts, addresses, ports = (
        each if len(each) == count else (each[:1] if each is ports else [""]) * count
        for each in (hosts, addresses, ports)
    )
    return [
        Place(host, address or None, int(port) if port.isdigit() else 5432)
        for host, address, port in zip(hosts, addresses, ports, strict=True)
    ]


def is_local(host: str) -> bool:
    """Whether a host is this machine: a socket's folder, nothing, or the loopback addresses."""
    names = [name.strip().lower() for name in host.split(",")]
    return all(
        name in ("", "localhost", "::1") or name.startswith(("/", "@")) or re.fullmatch(r"127(\.\d+){3}", name)
        for name in names
    )


def failure(words: str, url: str, shown: str) -> ConnectError:
    """The server's or libpq's words without the password, and what they mean where that is known."""
    first = " ".join(line.strip() for line in words.strip().splitlines()[:2])
    hint = next((hint for pattern, hint in HINTS if re.search(pattern, words, re.IGNORECASE)), "")
    message = f"No connection to {shown}: {first.rstrip('.')}"
    for secret in conninfo_secrets(url):
        message = message.replace(secret, "***").replace(quote(secret, safe=""), "***")
    error = ConnectError(f"{message}. {hint}" if hint else message)
    error.words, error.hint = message, hint
    return error


def conninfo_secrets(url: str) -> set[str]:
    """Every password that a Postgres URL carries, wherever in it."""
    try:
        found = conninfo_to_dict(url)
    except psycopg.Error:
        return set()
    return {str(value) for name, value in found.items() if "password" in name and value}
