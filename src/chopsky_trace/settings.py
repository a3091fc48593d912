"""Settings: read once, frozen, each with its `CHOPSKY_TRACE_*` variable."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qs, unquote, urlsplit

from chopsky_trace.errors import NoDatabaseError, SettingsError

PREFIX = "CHOPSKY_TRACE_"
EMBEDDED = "embedded"
CaptureLevel = Literal["full", "masked", "metadata"]
FlushOn = Literal["interval", "run_end"]
FLUSH_ON: tuple[FlushOn, ...] = ("interval", "run_end")
CAPTURE_LEVELS: tuple[CaptureLevel, ...] = ("full", "masked", "metadata")

# Where nobody sits in front of the process: there an embedded database would be lost with its disk.
UNATTENDED = (
    "KUBERNETES_SERVICE_HOST",
    "AWS_LAMBDA_FUNCTION_NAME",
    "K_SERVICE",
    "FUNCTION_TARGET",
    "WEBSITE_INSTANCE_ID",
    "DYNO",
    "RENDER",
    "FLY_APP_NAME",
    "RAILWAY_ENVIRONMENT",
    "VERCEL",
    "CI",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every setting. The variable of a field is `CHOPSKY_TRACE_` and its name in capitals."""

    database_url: str | None = field(default=None, metadata={"doc": "Postgres URL, or `embedded`", "secret": True})
    enabled: bool = field(default=False, metadata={"doc": "Trace the whole process, without a handler in `callbacks`"})
    project: str | None = field(default=None, metadata={"doc": "Where runs are filed; falls back to LANGSMITH_PROJECT"})
    environment: str | None = field(default=None, metadata={"doc": "For example production or staging"})
    user_id: str | None = field(default=None, metadata={"doc": "User of runs that name none"})
    session_id: str | None = field(default=None, metadata={"doc": "Session of runs that name none"})
    tenant_id: str | None = field(default=None, metadata={"doc": "Tenant of runs that name none"})
    capture: CaptureLevel = field(default="full", metadata={"doc": "full, masked or metadata"})
    sample_rate: float = field(
        default=1.0, metadata={"doc": "Share of runs kept with content, 0 to 1; numbers and failures are always kept"}
    )
    estimate_usage: bool = field(
        default=False,
        metadata={
            "doc": "Estimate the tokens of calls that report none (streams without usage, abandoned or failed ones)"
            " from the lengths of their texts; marked `estimated`"
        },
    )
    honour_langsmith_hide: bool = field(
        default=True, metadata={"doc": "Leave out inputs/outputs where LANGSMITH_HIDE_INPUTS/_OUTPUTS say so"}
    )
    data_dir: Path | None = field(default=None, metadata={"doc": "Holds the journal and the embedded database"})
    debug: bool = field(default=False, metadata={"doc": "Log each step to stderr"})
    flush_on: FlushOn | None = field(
        default=None,
        metadata={
            "doc": "`run_end`: a run is stored before its last callback returns, which waits for that at most 2 seconds"
            " and never on an event loop; `interval`: in the background. Default: `run_end` on AWS Lambda"
        },
    )
    flush_interval_s: float = field(default=0.25, metadata={"doc": "Longest wait before records are sent"})
    batch_records: int = field(default=1_000, metadata={"doc": "Most records in one transaction"})
    batch_bytes: int = field(default=8_000_000, metadata={"doc": "Most record bytes in one transaction"})
    segment_bytes: int = field(default=16_000_000, metadata={"doc": "Size at which a journal segment is closed"})
    journal_max_bytes: int = field(
        default=1_000_000_000,
        metadata={"doc": "Most journal bytes on disk per destination; beyond it records are counted as lost"},
    )
    memory_max_bytes: int = field(
        default=64_000_000, metadata={"doc": "Most record bytes in memory, when the journal cannot be written"}
    )
    journal_fsync: bool = field(default=False, metadata={"doc": "Also survive power loss; costs milliseconds a record"})
    shutdown_timeout_s: float = field(
        default=5.0, metadata={"doc": "Longest drain at exit; the rest stays in the journal"}
    )
    drain_on_sigterm: bool | None = field(
        default=None,
        metadata={
            "doc": "When SIGTERM would end the process at once, write for up to 7 seconds first. Default: on Cloud Run"
        },
    )
    connect_timeout_s: float = field(default=10.0, metadata={"doc": "Longest wait for a connection"})
    statement_timeout_s: float = field(default=60.0, metadata={"doc": "Longest time for one statement"})
    abandon_after_s: float = field(
        default=3_600.0,
        metadata={
            "doc": "A run without news for so long is marked abandoned, and its process forgets what it knows of it"
        },
    )
    max_open_roots: int = field(default=10_000, metadata={"doc": "Runs under way that a process remembers at once"})
    max_field_bytes: int = field(
        default=4_000_000,
        metadata={
            "doc": "Longest single string kept; a longer one is cut and says how long it was. Of one payload 16 times"
            " as much is kept, and 200,000 values; media is kept whole within that, or not at all"
        },
    )
    other_spans: bool = field(
        default=True,
        metadata={
            "doc": "Keep OpenTelemetry spans that are about no model (HTTP, databases), in traces with GenAI spans"
        },
    )
    other_wait_s: float = field(
        default=300.0,
        metadata={
            "doc": "How long such spans wait in memory for a GenAI span of their trace, and a trace is remembered"
        },
    )
    keep_media: bool = field(
        default=False,
        metadata={"doc": "Keep images, audio and files in the database; otherwise their id, type and size only"},
    )
    server_token: str | None = field(
        default=None,
        repr=False,
        metadata={
            "doc": "With it clients of `serve` send spans and feedback (`Authorization: Bearer ...`); reads nothing",
            "secret": True,
        },
    )
    server_read_token: str | None = field(
        default=None, repr=False, metadata={"doc": "With it a client of `serve` may read everything", "secret": True}
    )
    server_admin_token: str | None = field(
        default=None,
        repr=False,
        metadata={"doc": "With it a client of `serve` may send, read and clear everything", "secret": True},
    )
    server_tokens_file: Path | None = field(
        default=None, metadata={"doc": "More tokens: lines like `read,ingest TOKEN`; scopes are ingest, read, admin"}
    )
    server_jwt_secret: str | None = field(
        default=None,
        repr=False,
        metadata={"doc": "Supabase's JWT secret (HS256): its signed-in users may read what is theirs", "secret": True},
    )
    server_jwks_url: str | None = field(
        default=None,
        metadata={"doc": "The same by public keys: `https://<project>.supabase.co/auth/v1/.well-known/jwks.json`"},
    )
    server_jwt_audience: str = field(
        default="authenticated", metadata={"doc": "Audience that users' tokens must be for"}
    )
    server_origins: str | None = field(
        default=None, metadata={"doc": "Origins of pages that may read (CORS), separated by commas"}
    )
    server_read_connections: int = field(
        default=4, metadata={"doc": "Most connections to the database for reading in `serve`"}
    )
    server_read_timeout_s: float = field(
        default=15.0, metadata={"doc": "Longest time for one statement of the API in `serve`"}
    )
    server_max_body_bytes: int = field(
        default=67_108_864, metadata={"doc": "Longest body that `serve` takes, as it was sent"}
    )
    server_max_inflated_bytes: int = field(
        default=67_108_864, metadata={"doc": "Longest body that `serve` takes, after decompression"}
    )
    server_buffer_bytes: int = field(
        default=268_435_456,
        metadata={"doc": "Most bytes of bodies that `serve` holds at once; beyond it clients are asked to come back"},
    )
    server_body_timeout_s: float = field(
        default=60.0, metadata={"doc": "Longest time in which a client of `serve` may send one body"}
    )

    def __post_init__(self) -> None:
        if self.capture not in CAPTURE_LEVELS:
            raise SettingsError(f"capture is {self.capture!r}, but must be one of {', '.join(CAPTURE_LEVELS)}")
        if self.flush_on is not None and self.flush_on not in FLUSH_ON:
            raise SettingsError(f"flush_on is {self.flush_on!r}, but must be one of {', '.join(FLUSH_ON)}")
        if not 0 <= self.sample_rate <= 1:
            raise SettingsError(f"sample_rate is {self.sample_rate}, but must be from 0 to 1")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Settings as the environment has them.

        Raises:
            SettingsError: a variable's value is not of its setting's type.
        """
        env = os.environ if env is None else env
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = env.get(PREFIX + item.name.upper(), "").strip()
            if text:
                values[item.name] = _parse(item.name, str(item.type), text)
        if "project" not in values:
            project = env.get("LANGSMITH_PROJECT") or env.get("LANGCHAIN_PROJECT")
            if project:
                values["project"] = project
        return cls(**values)

    def data_path(self) -> Path:
        """The folder for the journal and the embedded database; not created here."""
        if self.data_dir is not None:
            return Path(self.data_dir).expanduser()
        if os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
            # The only place where a function may write.
            return Path(tempfile.gettempdir()) / "chopsky-trace"
        if os.name == "posix" and os.geteuid() == 0:
            # The embedded server runs as another user there and must reach its data without opening root's home.
            return Path("/var/lib/chopsky-trace")
        base = os.environ.get("XDG_DATA_HOME") or (Path.home() / ".local" / "share")
        return Path(base) / "chopsky-trace"


def _parse(name: str, kind: str, text: str) -> Any:
    try:
        if "bool" in kind:
            return text.lower() in ("1", "true", "yes", "on")
        if "int" in kind:
            return int(text.replace("_", ""))
        if "float" in kind:
            return float(text)
        if "Path" in kind:
            return Path(text)
    except ValueError:
        raise SettingsError(f"{PREFIX}{name.upper()} is {text!r}, but must be a {kind}") from None
    return text


@dataclass(frozen=True, slots=True)
class Target:
    """The database that records go to, and where its address came from."""

    url: str
    """Postgres URL, or `embedded`. A secret: never log it, log `shown`."""
    origin: str
    """The argument or variable that named it."""

    @property
    def is_embedded(self) -> bool:
        return self.url == EMBEDDED

    @property
    def shown(self) -> str:
        """The address without its password, for people."""
        return EMBEDDED if self.is_embedded else without_password(self.url)

    def folder(self, settings: Settings) -> str:
        """This destination's journal folder: the same for every way to reach one database, never from a password."""
        key = f"embedded:{settings.data_path()}" if self.is_embedded else destination_key(self.url)
        return hashlib.sha256(key.encode()).hexdigest()[:16]


def resolve_target(
    settings: Settings,
    database_url: str | None = None,
    env: Mapping[str, str] | None = None,
    *,
    interactive: bool | None = None,
) -> Target:
    """The database to use: the argument, CHOPSKY_TRACE_DATABASE_URL, SUPABASE_DB_URL, DATABASE_URL,
    else embedded at a terminal.

    Raises:
        NoDatabaseError: none is named and nobody sits at a terminal.
        SettingsError: what is named is not a Postgres URL.
    """
    env = os.environ if env is None else env
    candidates = [
        (database_url, "argument"),
        (settings.database_url, PREFIX + "DATABASE_URL"),
        (env.get("SUPABASE_DB_URL"), "SUPABASE_DB_URL"),
        (env.get("DATABASE_URL"), "DATABASE_URL"),
    ]
    for url, origin in candidates:
        if url:
            return Target(_checked(url.strip(), origin), origin)
    if interactive is None:
        interactive = is_interactive(env)
    if interactive:
        return Target(EMBEDDED, "default at a terminal")
    raise NoDatabaseError("No database is configured")


def is_interactive(env: Mapping[str, str] | None = None) -> bool:
    """Whether a person sits at this process's terminal (never in a container, service or serverless)."""
    env = os.environ if env is None else env
    if (
        any(env.get(name) for name in UNATTENDED)
        or os.path.exists("/.dockerenv")
        or os.path.exists("/run/.containerenv")
    ):
        return False
    try:
        return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())
    except (ValueError, OSError):
        return False


def _checked(url: str, origin: str) -> str:
    if url == EMBEDDED:
        return url
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return url
    for driver in ("postgresql+psycopg://", "postgresql+psycopg2://", "postgresql+asyncpg://"):
        if url.startswith(driver):
            return "postgresql://" + url[len(driver) :]
    # Never repeat the value: it may hold a password in a form we do not know.
    hint = (
        "a Supabase project URL is not the database's; copy the connection string"
        if url.startswith("http")
        else ("it must begin with postgresql://")
    )
    raise SettingsError(f"The database URL from {origin} is not a Postgres URL: {hint}")


def without_password(url: str) -> str:
    """The URL with its password and any password-like parameter left out."""
    # A Postgres URL has no fragment: libpq takes a bare # for a character of the password.
    parts = urlsplit(url.replace("#", "%23"))
    netloc = parts.netloc
    if "@" in netloc:
        userinfo, host = netloc.rsplit("@", 1)
        user, has_password, _ = userinfo.partition(":")
        netloc = f"{user}{':***' if has_password else ''}@{host}"
    query = "&".join(
        f"{k}={'***' if 'pass' in k.lower() else v}" for k, vs in parse_qs(parts.query).items() for v in vs
    )
    return parts._replace(netloc=netloc, query=query).geturl()


def destination_key(url: str) -> str:
    """Host (or Supabase project), port, database and role: what makes two URLs one destination."""
    parts = urlsplit(url.replace("#", "%23"))
    query = parse_qs(parts.query)
    user = unquote(parts.username or (query.get("user") or [""])[0])
    database = unquote(parts.path.lstrip("/")) or (query.get("dbname") or [""])[0] or user
    places = _places(parts.netloc.rpartition("@")[2], (query.get("host") or [""])[0], (query.get("port") or [""])[0])
    project = supabase_project(places[0][0], user)
    if project:
        # Direct, session pooler and transaction pooler are one database.
        return f"supabase:{project}/{database}/{user.split('.')[0]}"
    return f"{','.join(f'{host}:{port}' for host, port in places)}/{database}/{user}"


def _places(netloc: str, hosts: str, ports: str) -> list[tuple[str, int]]:
    """Hosts and ports of a URL: there may be several, of which one serves at a time."""
    found = [re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", place) for place in netloc.split(",")]
    named = [(place[1].strip("[]"), place[2]) if place else ("", "") for place in found]
    if not any(host for host, _ in named):
        named = [(host, named[0][1]) for host in hosts.split(",")]
    given = ports.split(",")
    beside = given if len(given) == len(named) else given[:1] * len(named)
    try:
        return [(host.lower(), int(port or other or 5432)) for (host, port), other in zip(named, beside, strict=True)]
    except ValueError:
        raise SettingsError("The database URL's port is not a number") from None


SUPABASE_POOLER = ".pooler.supabase.com"
"""How the names of the poolers end that serve many projects."""


def supabase_project(host: str, user: str) -> str | None:
    """The Supabase project a host or pooler user belongs to, or None."""
    if host.startswith("db.") and host.endswith((".supabase.co", ".supabase.com", ".supabase.in")):
        return host.split(".")[1]
    if host.endswith(SUPABASE_POOLER) and "." in user:
        return user.split(".", 1)[1]
    return None


def settings_table() -> list[tuple[str, str, str]]:
    """(variable, default, meaning) of every setting, for the README and `--help`."""
    rows: list[tuple[str, str, str]] = []
    for item in fields(Settings):
        default = cast("Any", item.default)
        rows.append((PREFIX + item.name.upper(), "" if default is None else str(default), item.metadata["doc"]))
    return rows
