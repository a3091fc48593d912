"""Signed-in users: their tokens, as Supabase's Auth makes them, verified."""

from __future__ import annotations

import logging
import time
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from chopsky_trace.database.connect import is_local
from chopsky_trace.errors import ServeError
from chopsky_trace.server.problems import ProblemError, later, unknown

logger = logging.getLogger("chopsky_trace")

LEAST_SECRET_BYTES = 32
"""RFC 7518: a key for HS256 is as long as its hash, or longer."""
ASYMMETRIC = ["ES256", "RS256", "EdDSA"]
LEEWAY_S = 5
FETCH_S = 5.0
FAILED_S = 5.0
"""How long after keys could not be fetched nobody asks for them again."""
ROLE = "authenticated"


class Users:
    """Verifies users' tokens with the project's secret (HS256), its public keys (JWKS), or either.

    Args:
        secret: the project's JWT secret.
        jwks_url: where its public keys are.
        audience: that tokens must be for.

    Raises:
        ServeError: PyJWT is missing, or what is given cannot be used.
    """

    def __init__(self, secret: str | None, jwks_url: str | None, audience: str) -> None:
        try:
            import jwt
        except ModuleNotFoundError:
            raise ServeError("Users' tokens need PyJWT: pip install 'chopsky-trace[server]'") from None
        if secret is not None and len(secret.encode()) < LEAST_SECRET_BYTES:
            raise ServeError(f"CHOPSKY_TRACE_SERVER_JWT_SECRET must have {LEAST_SECRET_BYTES} bytes or more")
        self._jwt = jwt
        self._secret = secret
        self._audience = audience
        self._keys = None if jwks_url is None else jwt.PyJWKClient(_checked(jwks_url), timeout=FETCH_S)
        self._failed_at = -FAILED_S
        # Keys are fetched by one at a time; who waits holds up nobody else's threads.
        self._fetching = anyio.CapacityLimiter(2)

    async def claims(self, token: str) -> dict[str, Any]:
        """What a token says.

        Raises:
            ProblemError: 401 unless it is valid now, 403 if it is no signed-in user's, 503 if keys cannot be fetched.
        """
        try:
            algorithm = self._jwt.get_unverified_header(token).get("alg")
            if self._secret is not None and algorithm == "HS256":
                said = self._decoded(token, self._secret, ["HS256"])
            elif self._keys is not None and algorithm in ASYMMETRIC:
                said = await anyio.to_thread.run_sync(self._decoded_by_key, token, limiter=self._fetching)
            else:
                raise unknown("The token is not signed in a way that is accepted here")
        except self._jwt.ExpiredSignatureError:
            raise unknown("The token has expired") from None
        except self._jwt.PyJWKClientConnectionError:
            self._failed_at = time.monotonic()
            logger.warning("The keys for users' tokens cannot be fetched from %s", self._keys and self._keys.uri)
            raise later("The keys for users' tokens cannot be fetched", 5) from None
        except (self._jwt.PyJWTError, ValueError, RecursionError):
            raise unknown("The token is not valid") from None
        if said.get("role") != ROLE:
            raise ProblemError(403, "The token is no signed-in user's; for a service take a token of this server's")
        return said

    def _decoded_by_key(self, token: str) -> dict[str, Any]:
        assert self._keys is not None
        if time.monotonic() - self._failed_at < FAILED_S:
            raise later("The keys for users' tokens cannot be fetched", 5)
        return self._decoded(token, self._keys.get_signing_key_from_jwt(token).key, ASYMMETRIC)

    def _decoded(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        return self._jwt.decode(
            token, key, algorithms=algorithms, audience=self._audience, leeway=LEEWAY_S,
            options={"require": ["exp", "sub", "aud"]},
        )  # fmt: skip


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and is_local(parts.hostname or "-")):
        return url
    raise ServeError("CHOPSKY_TRACE_SERVER_JWKS_URL must begin with https://")
