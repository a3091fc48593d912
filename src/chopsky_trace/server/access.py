"""Who may do what: bearer tokens with scopes, signed-in users, and this machine where nobody needs either."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from chopsky_trace.database.encode import encode
from chopsky_trace.errors import ServeError
from chopsky_trace.server.problems import ProblemError, unknown
from chopsky_trace.server.users import Users

Scope = Literal["ingest", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("ingest", "read", "admin")
LEAST_TOKEN_CHARS = 16
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""Escaped in JSON, and no escaped backslash before u0000."""
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class Access:
    """What a request may do: its scopes for the server's own role, or what one signed-in user may."""

    scopes: frozenset[Scope]
    claims: str | None = None
    """JSON of a verified token: the request runs as that user, and row level security decides."""

    @classmethod
    def read(cls) -> Access:
        """May read everything."""
        return cls(frozenset({"read"}))

    @classmethod
    def admin(cls) -> Access:
        """May read and change everything."""
        return cls(frozenset(SCOPES))

    @classmethod
    def user(cls, claims: Mapping[str, Any]) -> Access:
        """May do what this signed-in user may.

        Args:
            claims: of a token that was verified: `sub` is the user, `app_metadata` has the tenant.

        Raises:
            ValueError: there is no user in them, or something that is not JSON as PostgreSQL knows it.
        """
        if not claims.get("sub"):
            raise ValueError("claims without sub are nobody's")
        text = encode({**claims, "role": "authenticated"})
        # Lone surrogates, NaN and NUL: JSON to Python, to PostgreSQL an error in the middle of a request.
        text.encode()
        json.loads(text, parse_constant=_refused)
        if _NUL.search(text):
            _refused("NUL")
        return cls(frozenset(), text)

    def may(self, scope: Scope) -> bool:
        """Whether the server's own role may be used for that."""
        return scope in self.scopes


class Tokens:
    """Bearer tokens, each with what it is good for; admin is good for everything.

    Raises:
        ServeError: a token is too short or has characters that no header carries.
    """

    def __init__(self, scopes: Mapping[str, Iterable[Scope]] | None = None) -> None:
        self._known: list[tuple[bytes, frozenset[Scope]]] = []
        for token, given in (scopes or {}).items():
            if len(token) < LEAST_TOKEN_CHARS or not token.isascii() or not token.isprintable() or " " in token:
                raise ServeError(
                    f"The token must have {LEAST_TOKEN_CHARS} characters or more, all of them printable ASCII"
                )
            whole = frozenset(SCOPES if "admin" in given else given)
            self._known.append((_digest(token.encode()), whole))

    def __bool__(self) -> bool:
        return bool(self._known)

    def guard(self, scope: Scope) -> bool:
        """Whether any of them is good for that."""
        return any(scope in scopes for _, scopes in self._known)

    def scopes(self, token: str) -> frozenset[Scope]:
        """What a token is good for; nothing if it is unknown."""
        given = _digest(token.encode("latin-1"))
        found: frozenset[Scope] = frozenset()
        # Digests are of one length, and all of them are compared: a wrong token takes as long as the right one.
        for known, scopes in self._known:
            if hmac.compare_digest(given, known):
                found |= scopes
        return found


def read_tokens(lines: Iterable[str]) -> dict[str, set[Scope]]:
    """Tokens of a file: on each line scopes, separated by commas, a blank, and the token; # begins a comment.

    Raises:
        ServeError: a line is otherwise; it names the line, not what is in it.
    """
    found: dict[str, set[Scope]] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        named = words[0].split(",")
        scopes: set[Scope] = {scope for scope in SCOPES if scope in named}
        if len(words) != 2 or len(scopes) != len(named):
            raise ServeError(f"Line {number} of the tokens' file must be like `read,ingest TOKEN`")
        found.setdefault(words[1], set()).update(scopes)
    return found


def bearer(request: HTTPConnection) -> str | None:
    """The bearer token that a request has."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() or None if scheme.lower() == "bearer" else None


class Guard:
    """Tells what a request may do.

    Args:
        tokens: that are known.
        users: verifies the tokens of signed-in users; None: there are none.
        is_open: without any credential this machine may read: only where the server listens on loopback alone.
        origins: of pages that may ask nevertheless.
    """

    def __init__(
        self, tokens: Tokens, users: Users | None = None, *, is_open: bool = False, origins: Iterable[str] = ()
    ) -> None:
        self._tokens = tokens
        self._users = users
        self.is_open = is_open and not tokens and users is None
        """Whether this machine reads, and gives feedback, without any credential."""
        self._origins = frozenset(origins)

    async def access(self, request: HTTPConnection) -> Access:
        """What it may do.

        Raises:
            ProblemError: 401 for nobody known, 403 for who may nothing here, 503 where keys cannot be fetched.
        """
        token = bearer(request)
        if token is None:
            if self.is_open:
                self._refuse_strangers(request)
                # As it sends spans.
                return Access(frozenset({"read", "ingest"}))
            raise unknown("A bearer token is required")
        scopes = self._tokens.scopes(token)
        if scopes:
            return Access(scopes)
        if self._users is not None and token.count(".") == 2:
            claims = await self._users.claims(token)
            try:
                return Access.user(claims)
            except ValueError:
                raise unknown("The token is not valid") from None
        raise unknown("The bearer token is not known here")

    def _refuse_strangers(self, request: HTTPConnection) -> None:
        """What a page of anybody's, or a proxy, sends to this machine is nobody's at it."""
        host = _host(f"//{request.headers.get('host', '')}")
        origin = request.headers.get("origin")
        foreign = origin is not None and origin not in self._origins and not _is_loopback(_host(origin))
        if not _is_loopback(host) or foreign or any(name in request.headers for name in FORWARDED):
            raise ProblemError(
                403,
                "Without a token only this machine may ask, directly: set CHOPSKY_TRACE_SERVER_READ_TOKEN and send it",
            )


def _refused(what: str) -> NoReturn:
    raise ValueError(f"claims with {what} cannot be kept")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
