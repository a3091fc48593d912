"""Looks at each thing that must hold for records to arrive, and names the remedy for what does not."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from chopsky_trace.database import migrate
from chopsky_trace.database.connect import Connection, Place, connect, is_local, parameters, places
from chopsky_trace.database.pooler import Pooling, pooling
from chopsky_trace.database.probe import probe
from chopsky_trace.database.read import FUNCTIONS, TABLES, Reader, explained
from chopsky_trace.database.tls import certificate_trouble
from chopsky_trace.errors import ConnectError, TraceError
from chopsky_trace.settings import SUPABASE_POOLER, Settings, Target, resolve_target, supabase_project

State = Literal["ok", "failed", "skipped"]
MOST_SKEW_S = 5.0
"""Clocks further apart than this make times in the tables misleading."""
LEAST_FREE_BYTES = 100_000_000
TRANSACTION_PORT = 6543
"""Where Supabase's poolers hand out single transactions."""
DEFAULT_ROOT = Path("~/.postgresql/root.crt")
"""Where libpq looks for the CA's certificate when it is not told."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One step: what was found, and what to do where it failed."""

    step: str
    state: State
    detail: str
    remedy: str = ""


@dataclass
class _Patient:
    settings: Settings
    database_url: str | None
    target: Target | None = None
    connection: Connection | None = None
    reader: Reader | None = None
    role: dict[str, Any] = field(default_factory=dict[str, Any])
    has_tables: bool = False


def examine(settings: Settings, database_url: str | None = None) -> Iterator[Diagnosis]:
    """Each step's diagnosis as soon as it is made. What needs a step that failed is skipped. Never raises."""
    patient = _Patient(settings, database_url)
    needs_target: tuple[tuple[str, Callable[[_Patient], Diagnosis]], ...] = (
        ("address", _address),
        ("connection", _connection),
    )
    needs_connection = (("tls", _tls), ("pooler", _pooler), ("role", _role), ("clock", _clock), ("schema", _schema))
    needs_schema = (("grants", _grants), ("probe", _probe))
    try:
        blocked = ""
        for name, step in (("url", _url), *needs_target, *needs_connection, *needs_schema):
            if blocked:
                yield Diagnosis(name, "skipped", f"needs the step {blocked}")
                continue
            diagnosis = _made(name, step, patient)
            yield diagnosis
            # A role or clock that is wrong does not keep us from looking further, nor do old tables.
            if diagnosis.state == "failed" and (
                name in ("url", "connection") or (name == "schema" and not patient.has_tables)
            ):
                blocked = name
        yield _made("journal", _journal, patient)
    finally:
        if patient.connection is not None:
            patient.connection.close()


def _made(name: str, step: Callable[[_Patient], Diagnosis], patient: _Patient) -> Diagnosis:
    try:
        return step(patient)
    except TraceError as error:
        remedy = " ".join((type(error).__doc__ or "").split())
        detail = str(error).removesuffix(remedy).strip() or str(error)
        # "Run doctor" is no advice from doctor.
        return Diagnosis(name, "failed", detail, REMEDIES.get(name, remedy))
    except OSError as error:
        return Diagnosis(name, "failed", f"{type(error).__name__}: {error.strerror or error}", REMEDIES.get(name, ""))


REMEDIES = {
    "connection": "Check the URL's host, port, role and password; on Supabase copy it from Connect, session pooler",
    "grants": "Use the role that ran `chopsky-trace migrate`, or: grant service_role to this role",
    "probe": "Use the role that ran `chopsky-trace migrate` (or: grant service_role to this role), on a primary",
    "journal": "Make the folder writable for this user, or set CHOPSKY_TRACE_DATA_DIR to one that is",
}


POOLERS: dict[Pooling, str] = {
    "none": "none: straight to the server",
    "transaction": "transaction mode: any number of processes may write",
    "session": "session mode: each process that writes keeps one of its server connections",
}


def _url(patient: _Patient) -> Diagnosis:
    patient.target = resolve_target(patient.settings, patient.database_url)
    return Diagnosis("url", "ok", f"{patient.target.shown} (from {patient.target.origin})")


def _address(patient: _Patient) -> Diagnosis:
    assert patient.target is not None
    if patient.target.is_embedded:
        return Diagnosis("address", "ok", "embedded server on this machine")
    given = parameters(patient.target.url)
    user = str(given.get("user") or "")
    found = [_one_address(place, supabase_project(place.host, user), user) for place in places(given)]
    failed = next((each for each in found if each.state == "failed"), None)
    if failed is not None:
        return failed
    return Diagnosis("address", "ok", "; ".join(each.detail for each in found))


def _one_address(place: Place, project: str | None, user: str) -> Diagnosis:
    host = place.address or place.host
    if not host or host.startswith(("/", "@")):
        return Diagnosis("address", "ok", f"socket {host or '(default)'}")
    if place.host.endswith(SUPABASE_POOLER) and project is None:
        return Diagnosis(
            "address",
            "failed",
            f"{place.host} serves many projects, and the user {user or '(none)'} names none",
            "Copy the pooler's connection string from Connect: its user is postgres.<project>",
        )
    try:
        found = socket.getaddrinfo(host, place.port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return unresolved(host, project)
    addresses = sorted({str(entry[4][0]) for entry in found})
    if {entry[0] for entry in found} == {socket.AF_INET6} and not has_route(addresses[0]):
        return only_ipv6(host, project)
    form = f" ({supabase_form(place, project)})" if project else ""
    return Diagnosis("address", "ok", f"{host} is {', '.join(addresses)}, port {place.port}{form}")


def supabase_form(place: Place, project: str) -> str:
    """Which of Supabase's ways to its database this is."""
    transactions = place.port == TRANSACTION_PORT
    if place.host.endswith(SUPABASE_POOLER):
        return f"Supabase's {'transaction' if transactions else 'session'} pooler, project {project}"
    if transactions:
        return f"Supabase's dedicated pooler in transaction mode, project {project}"
    return f"Supabase's direct connection, project {project}; IPv6 only, without the IPv4 add-on"


def unresolved(host: str, project: str | None) -> Diagnosis:
    """A name that stands for no address."""
    if project and host.startswith("db."):
        remedy = (
            f"Check the project's name {project}, and that it runs. Supabase's direct host has IPv6 only, which "
            f"some resolvers hide: {_other_address(project)}"
        )
        return Diagnosis("address", "failed", f"The name {host} cannot be resolved", remedy)
    return Diagnosis(
        "address", "failed", f"The name {host} cannot be resolved", "Check the host in the URL, and this machine's DNS"
    )


def only_ipv6(host: str, project: str | None) -> Diagnosis:
    """A host that has IPv6 addresses only, seen from a machine that has no IPv6."""
    remedy = (
        f"Supabase's direct host has IPv6 only: {_other_address(project)}"
        if project
        else "Use a host with an IPv4 address"
    )
    return Diagnosis("address", "failed", f"{host} has only IPv6 addresses, and this machine has no IPv6", remedy)


def _other_address(project: str) -> str:
    return (
        f"take the session pooler's connection string instead (Connect, session pooler: user postgres.{project}, host "
        "aws-<n>-<region>.pooler.supabase.com, port 5432), or the IPv4 add-on"
    )


def has_route(address: str) -> bool:
    """Whether this machine can send to an IPv6 address at all; sends nothing."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probing:
            probing.connect((address, 9))
    except OSError:
        return False
    return True


def _connection(patient: _Patient) -> Diagnosis:
    assert patient.target is not None
    try:
        patient.connection = connect(patient.target, patient.settings, application_name="chopsky-trace doctor")
    except ConnectError as error:
        return _unconnected(patient.target, patient.settings, error)
    patient.reader = Reader(patient.connection)
    version = patient.connection.info.server_version
    detail = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < 150_000:
        return Diagnosis("connection", "failed", detail, "PostgreSQL 15 or newer is needed: upgrade the server")
    return Diagnosis("connection", "ok", detail)


def _unconnected(target: Target, settings: Settings, error: ConnectError) -> Diagnosis:
    if "certificate verify failed" in error.words:
        given = parameters(target.url)
        root = given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")
        for place in places(given):
            found = certificate_trouble(
                place.host or str(place.address),
                place.port,
                str(root or DEFAULT_ROOT.expanduser()),
                address=place.address,
                timeout_s=settings.connect_timeout_s,
            )
            if found is not None:
                return Diagnosis("connection", "failed", f"{error.words}. {found[0]}", found[1])
    return Diagnosis("connection", "failed", error.words or str(error), error.hint or REMEDIES["connection"])


def _tls(patient: _Patient) -> Diagnosis:
    assert patient.connection is not None
    given = patient.connection.info.get_parameters()
    mode = given.get("sslmode", "prefer")
    if patient.connection.pgconn.ssl_in_use:
        if mode in ("verify-ca", "verify-full"):
            return Diagnosis("tls", "ok", f"encrypted, certificate verified (sslmode={mode})")
        return Diagnosis(
            "tls",
            "ok",
            f"encrypted, certificate not verified (sslmode={mode}); sslmode=verify-full with sslrootcert verifies it",
        )
    host = patient.connection.info.host
    if is_local(host):
        return Diagnosis("tls", "ok", "not encrypted, and stays on this machine")
    return Diagnosis(
        "tls", "failed", f"Not encrypted on the way to {host}", "Set sslmode=require (or verify-full) in the URL"
    )


def _pooler(patient: _Patient) -> Diagnosis:
    connection, target = patient.connection, patient.target
    assert connection is not None
    assert target is not None
    with explained():
        found = pooling(connection, lambda: connect(target, patient.settings, application_name="chopsky-trace doctor"))
    return Diagnosis("pooler", "ok", POOLERS[found])


def _role(patient: _Patient) -> Diagnosis:
    assert patient.reader is not None
    found = patient.reader.rows("role")[0]
    patient.role = found
    names = {
        "is_superuser": "superuser",
        "bypasses_rls": "bypasses row level security",
        "is_service_role": "has service_role",
        "may_create": "may create tables",
    }
    attributes = [text for key, text in names.items() if found[key]]
    detail = f"{found['name']} in database {found['database']}: {', '.join(attributes) or 'no attribute of use'}"
    if found["is_read_only"]:
        return Diagnosis(
            "role",
            "failed",
            f"{detail}; it is read only",
            "Use the primary, not a read replica, and a role that may write",
        )
    if not found["may_use_schema"]:
        return Diagnosis(
            "role",
            "failed",
            f"{detail}; it may not use schema public",
            f'grant usage on schema public to "{found["name"]}"',
        )
    return Diagnosis("role", "ok", detail)


def _clock(patient: _Patient) -> Diagnosis:
    assert patient.reader is not None
    before = datetime.now(UTC)
    there = patient.reader.rows("server_time")[0]["server_time"]
    after = datetime.now(UTC)
    apart = (there - (before + (after - before) / 2)).total_seconds()
    # The answer may have been on its way for all of the round trip.
    if abs(apart) > MOST_SKEW_S + (after - before).total_seconds():
        return Diagnosis(
            "clock",
            "failed",
            f"The server's clock is {apart:+.1f} s from this machine's",
            "Set this machine's clock by NTP: started_at and ended_at are its times",
        )
    return Diagnosis("clock", "ok", f"{apart:+.3f} s between the server's clock and this machine's")


def _schema(patient: _Patient) -> Diagnosis:
    assert patient.connection is not None
    assert patient.reader is not None
    patient.has_tables = patient.reader.has_tables()
    with explained():
        found = migrate.status(patient.connection)
    if found.current is None and patient.has_tables:
        return Diagnosis(
            "schema", "failed", "The tables are there, but this role sees no applied step", REMEDIES["grants"]
        )
    at = "no schema" if found.current is None else f"step {found.current}"
    if found.changed:
        return Diagnosis(
            "schema",
            "failed",
            f"Changed after they were applied: {', '.join(found.changed)}",
            "Install the version that applied them; a change is a new migration",
        )
    if found.is_newer:
        return Diagnosis("schema", "ok", f"{at}, newer than this version's {found.known}: upgrade chopsky-trace soon")
    if found.pending:
        may = "" if patient.role.get("may_create") else ", with a role that may create tables"
        return Diagnosis(
            "schema", "failed", f"{at}; this version has step {found.known}", f"Run `chopsky-trace migrate`{may}"
        )
    return Diagnosis("schema", "ok", f"{at}, as this version has it")


def _grants(patient: _Patient) -> Diagnosis:
    assert patient.reader is not None
    tables = patient.reader.rows("grants", tables=list(TABLES))
    functions = patient.reader.rows("functions", functions=list(FUNCTIONS))
    missing = [row["name"] for row in (*tables, *functions) if not row["is_there"]]
    if missing:
        return Diagnosis(
            "grants",
            "failed",
            f"Missing although the schema says otherwise: {', '.join(missing)}",
            "Run `chopsky-trace migrate --verify` to see what else differs",
        )
    open_to_all = [f"{row['name']} ({', '.join(row['anon_has'])})" for row in tables if row["anon_has"]]
    if open_to_all:
        return Diagnosis(
            "grants",
            "failed",
            f"The role anon, which anybody can be, has rights on {'; '.join(open_to_all)}",
            f"revoke all on {', '.join(row['name'] for row in tables if row['anon_has'])} from anon",
        )
    lacks = [f"{', '.join(row['lacks'])} on {row['name']}" for row in tables if row["lacks"]]
    lacks += [f"execute on {row['name']}" for row in functions if not row["may_call"]]
    if not patient.role.get("is_service_role"):
        lacks += [
            f"rows of {row['name']}, which row level security hides" for row in tables if row["row_security_applies"]
        ]
    if lacks:
        return Diagnosis("grants", "failed", f"The role lacks {'; '.join(lacks)}", REMEDIES["grants"])
    return Diagnosis(
        "grants", "ok", f"reads and writes {len(tables)} tables, calls {len(functions)} functions; anon sees nothing"
    )


def _probe(patient: _Patient) -> Diagnosis:
    assert patient.connection is not None
    probe(patient.connection)
    return Diagnosis("probe", "ok", "a run was written, read back and removed")


def _journal(patient: _Patient) -> Diagnosis:
    folder = patient.settings.data_path() / "journal"
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    _try_writing(place)
    free = shutil.disk_usage(place).free
    detail = f"{folder} is writable" if place == folder else f"{folder} can be made"
    if free < LEAST_FREE_BYTES:
        return Diagnosis(
            "journal",
            "failed",
            f"{detail}, but its disk has {free // 1_000_000} MB left",
            "Free some disk, or set CHOPSKY_TRACE_DATA_DIR to another one",
        )
    return Diagnosis("journal", "ok", f"{detail}, {free // 1_000_000:,} MB free")


def _try_writing(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"chopsky-trace doctor")
