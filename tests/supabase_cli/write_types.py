"""Writes src/chopsky_trace/sql/types from the migrations, by the Supabase CLI: `make types`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import fix_postgres
import psycopg
import pytest
from supabase_cli.program import LANGUAGES, TYPES, Project

from chopsky_trace.database import migrate


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="chopsky-types-"))
    folder.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(fix_postgres.RUN_FOLDER, str(folder))
        server = fix_postgres.start_server("supabase")
        try:
            server.create("types", "shim")
            with psycopg.connect(server.url("types"), autocommit=True) as connection:
                migrate.migrate(connection)
            project = Project(folder / "project", f"{server.url('types', tcp=True)}?sslmode=disable")
            project.folder.mkdir()
            for language, file in LANGUAGES.items():
                (TYPES / file).write_text(project.types(language), "utf-8")
                print(f"{TYPES / file} is written")
        finally:
            server.cluster.stop()
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
