"""Recorded telemetry, delivered once a run by each way in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from conformance.spans.corpus import MISSING, scenarios
from conformance.spans.deliver import WAYS, Delivered, deliver, way_in
from fix_postgres import Server, ensure_template, locked, run_folder


@pytest.fixture(autouse=True)
def recorded() -> None:
    """Tests here need the recordings."""
    if not scenarios():
        pytest.skip(MISSING)


@pytest.fixture(params=WAYS)
def delivered(request: pytest.FixtureRequest, postgres_server: Server, tmp_path: Path) -> Iterator[Delivered]:
    """The database that has all scenarios, by one of the ways in."""
    way: str = request.param
    name = f"spans_{way}"
    mark = run_folder() / f"{name}.delivered"
    # Whichever of the run's workers comes first delivers them for all.
    with locked(run_folder() / f"{name}.lock"):
        if not mark.exists():
            postgres_server.drop(name)
            postgres_server.create(name, "shim", ensure_template(postgres_server))
            mark.write_text(_problems(way, postgres_server.url(name), tmp_path))
    assert not mark.read_text(), mark.read_text()
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        yield Delivered(way, connection)


def _problems(way: str, database_url: str, folder: Path) -> str:
    """Deliver them; what went wrong."""
    try:
        with way_in(way, database_url, folder / "receiver") as sender:
            deliver(sender, scenarios(), way)
    except AssertionError as error:
        return str(error) or repr(error)
    return ""
