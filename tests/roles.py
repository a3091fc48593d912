"""The API's roles, as a request has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from chopsky_trace.database.connect import Connection


@contextmanager
def signed_in(connection: Connection, role: str, claims: dict[str, object] | None = None) -> Iterator[None]:
    """As the API does it: role and claims for one transaction."""
    with connection.transaction(force_rollback=True):
        connection.execute("select set_config('role', %s, true)", [role])
        connection.execute(
            "select set_config('request.jwt.claims', %s, true)", [json.dumps({"role": role, **(claims or {})})]
        )
        yield
