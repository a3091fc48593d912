"""What settings say of the API: who may ask, from which pages, and of which database."""

from __future__ import annotations

from typing import Any

from chopsky_trace.database.requests import Requests
from chopsky_trace.errors import ServeError
from chopsky_trace.server.access import Guard, Tokens, read_tokens
from chopsky_trace.server.users import Users
from chopsky_trace.settings import Settings, resolve_target


def guard_of(settings: Settings, tokens: Tokens, *, is_open: bool = False) -> Guard:
    """The guard that settings describe.

    Raises:
        ServeError: users' tokens cannot be verified as they say.
    """
    has_users = settings.server_jwt_secret or settings.server_jwks_url
    users = (
        Users(settings.server_jwt_secret, settings.server_jwks_url, settings.server_jwt_audience) if has_users else None
    )
    return Guard(tokens, users, is_open=is_open, origins=origins_of(settings))


def tokens_of(settings: Settings, ingest_token: str | None = None) -> Tokens:
    """The tokens that settings name; `ingest_token` goes before `server_token`.

    Raises:
        ServeError: one of them is no token, or their file cannot be read.
    """
    found: dict[str, set[Any]] = {}
    named = (
        (ingest_token or settings.server_token, "ingest"),
        (settings.server_read_token, "read"),
        (settings.server_admin_token, "admin"),
    )
    for token, scope in named:
        if token is not None:
            found.setdefault(token, set()).add(scope)
    if settings.server_tokens_file is not None:
        try:
            lines = settings.server_tokens_file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise ServeError(f"The file {settings.server_tokens_file} cannot be read") from None
        for token, scopes in read_tokens(lines).items():
            found.setdefault(token, set()).update(scopes)
    return Tokens(found)


def origins_of(settings: Settings) -> list[str]:
    """The origins that settings name, separated by commas."""
    return [origin.strip().rstrip("/") for origin in (settings.server_origins or "").split(",") if origin.strip()]


def requests_of(settings: Settings, database_url: str | None = None) -> Requests:
    """Transactions as settings bound them.

    Raises:
        NoDatabaseError: no database is configured.
    """
    return Requests(
        resolve_target(settings, database_url), settings, size=settings.server_read_connections,
        timeout_s=settings.server_read_timeout_s,
    )  # fmt: skip
