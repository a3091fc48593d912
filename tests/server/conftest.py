"""A `serve` for the tests of its API, and clients of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fix_postgres import Server
from server.api_requests import ADMIN, INGEST, ORIGIN, READ, SECRET, bearer
from server.process import Serving, serving


@pytest.fixture(scope="module")
def served(
    postgres_server: Server, worker_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """One `serve` for all tests here, with tokens, users and an origin."""
    folder = tmp_path_factory.mktemp("served")
    more = {"SERVER_READ_TOKEN": READ, "SERVER_ADMIN_TOKEN": ADMIN, "SERVER_TOKEN": INGEST, "SERVER_ORIGINS": ORIGIN}
    more |= {"SERVER_JWT_SECRET": SECRET, "SERVER_READ_TIMEOUT_S": "2"}
    named = {f"CHOPSKY_TRACE_{name}": value for name, value in more.items()}
    with serving(folder, postgres_server.url(worker_database), **named) as server:
        yield server
        text = server.end()
    assert not any(secret in text for secret in (READ, ADMIN, INGEST, SECRET))
    assert "Traceback" not in text


@pytest.fixture
def client(served: Serving, database_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.address, trust_env=False, timeout=60) as made:
        yield made


@pytest.fixture
def reader(client: httpx.Client) -> httpx.Client:
    """May read everything."""
    client.headers.update(bearer(READ))
    return client
