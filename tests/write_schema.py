"""Writes src/chopsky_trace/sql/schema.sql from the migrations: `make schema`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import fix_postgres
import psycopg
import pytest

from chopsky_trace.database import catalogue, migrate

SCHEMA = Path(__file__).parents[1] / "src" / "chopsky_trace" / "sql" / "schema.sql"


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="chopsky-schema-"))
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(fix_postgres.RUN_FOLDER, str(folder))
        server = fix_postgres.start_server("supabase")
        try:
            server.create("schema", "shim")
            with psycopg.connect(server.url("schema"), autocommit=True) as connection:
                migrate.migrate(connection)
                SCHEMA.write_text(catalogue.dump(connection), "utf-8")
        finally:
            server.cluster.stop()
            shutil.rmtree(folder)
    print(f"{SCHEMA} is written")


if __name__ == "__main__":
    main()
