"""Generated conversations, exported and imported: every row of every table is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lc_conversations import Talk
from lc_generated import Held
from test_lc_conversations_property import EXAMPLES, conversations, write

from chopsky_trace.cli import main

# Made by the migrations, or of the writers.
APART = ("chopsky_migrations", "writer_status")


def everything(talk: Talk) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    tables = talk.rows("select tablename as name from pg_tables where schemaname = 'public' order by 1")
    return {
        name: sorted(row["text"] for row in talk.rows(f'select t::text as text from "{name}" t'))
        for name in (table["name"] for table in tables)
        if name not in APART
    }


def run(talk: Talk, *arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments], env={"CHOPSKY_TRACE_DATABASE_URL": talk.url})
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.timeout(900)
def test_what_is_imported_equals_what_was_exported(talk: Talk, tmp_path: Path) -> None:
    file = str(tmp_path / "runs.jsonl")

    def check(held: Held, seed: int) -> None:
        talk.connection.execute("delete from conversation_sessions; delete from conversation_tombstones")
        write(talk, talk.lines, seed)
        talk.connection.execute(
            "update conversation_sessions set title = 'Soup' where session_id = '2';"
            "insert into conversation_messages (session_id, role, content, cost) values ('by hand', 'user', 'Hi', 0.5);"
            "insert into conversation_sessions (session_id, expires_at) values ('empty', now())"
        )
        before = everything(talk)
        assert sum(map(len, before.values())) > 5
        run(talk, "export", file)
        talk.connection.execute("delete from conversation_sessions")
        talk.connection.execute("delete from conversation_runs; delete from conversation_tombstones")
        talk.connection.execute("delete from conversation_messages; delete from conversation_prefixes")
        for table in ("usage_kept", "usage_metrics", "usage_totals", "usage_contributions", "conversation_feedback"):
            if talk.rows("select to_regclass(%s) as it", f"public.{table}")[0]["it"]:
                talk.connection.execute(f"delete from {table}".encode())
        run(talk, "import", file)
        after = everything(talk)
        # A key is this database's own.
        assert after | {"chopsky_keys": []} == before | {"chopsky_keys": []}
        run(talk, "import", file)
        assert everything(talk) == after
        assert talk.findings() == []

    conversations(check, talk, max(8, EXAMPLES // 4))
