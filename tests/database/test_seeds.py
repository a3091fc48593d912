"""The documents' own statements, in their own words but for the replacements that docs/seeds.md lists."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from read_rows import at, ingest, message, run, span
from roles import signed_in

from chopsky_trace.database.connect import Connection

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CHOPSKY_TEST_SEEDS") or ROOT.parent / "shared" / "seeds")
USER, TENANT = "5b7f6d1e-3c1b-4a52-9d0a-1f6c2b1d7e11", "0d5b9f36-6f0b-4f0e-8b1a-52a1c5c3e9aa"


def replacements(document: str) -> list[tuple[str, str]]:
    """What docs/seeds.md says of a document's columns."""
    page = (ROOT / "docs" / "seeds.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| `(.+?)` \| `(.+?)` \|", page, re.MULTILINE)
    return [(theirs, ours) for number, theirs, ours in rows if number == document]


def statements(document: str, heading: str, until: str) -> list[str]:
    """The SQL of a part of a document, as it runs here."""
    found = sorted(FOLDER.glob(f"{document}_*.txt"))
    if not found:
        pytest.skip(f"the schema documents are not at {FOLDER}")
    text = found[0].read_text()
    part = text[text.index(heading) : text.index(until, text.index(heading) + len(heading))]
    blocks = re.findall(r"```sql\n(.*?)```", part, re.DOTALL)
    for theirs, ours in replacements(document):
        blocks = [re.sub(rf"(?<![\w-]){re.escape(theirs)}(?!\w)", ours, block) for block in blocks]
    lines = [line for block in blocks for line in block.splitlines() if not line.lstrip().startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def fetched(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()


def test_the_nine_statements_of_a_conversation(connection: Connection):
    nine = statements("001", "## Testing Example", "## Schema Diagram")
    assert len(nine) == 9
    with signed_in(connection, "postgres", {"sub": USER}):
        connection.execute("create temporary table brands (id uuid)")
        connection.execute("insert into brands values (%s)", [TENANT])
        me, brand = fetched(connection, nine[0])[0][0], fetched(connection, nine[1])[0][0]
        assert (str(me), str(brand)) == (USER, TENANT)
        ids = {"YOUR_BRAND_ID": TENANT, "BRAND_ID": TENANT}

        def filled(statement: str) -> str:
            for name, value in ids.items():
                statement = statement.replace(f"'{name}'", f"'{value}'")
            return statement

        ((session, state, _),) = fetched(connection, filled(nine[2]))
        assert state == "initial"
        ids["SESSION_ID"] = str(session)
        said = [fetched(connection, filled(statement))[0] for statement in nine[3:5]]
        assert said[0][1] == "Make a TikTok video"
        assert (said[1][1], float(said[1][2])) == ("openai", 0.0008)
        history = fetched(connection, filled(nine[5]))
        assert len(history) == 2
        assert float(fetched(connection, filled(nine[6]))[0][0]) == 0.0008
        connection.execute(filled(nine[7]).encode())
        ((state, completed),) = fetched(connection, filled(nine[8]))
        assert state == "delivered"
        assert completed is not None


def test_the_set_up_is_as_the_document_verifies_it(connection: Connection):
    checks = statements("001", "## Quick Verification Checklist", "## Testing Example")
    counts = [fetched(connection, statement)[0][0] for statement in checks]
    tables, secured, policies, functions, indexes, views = counts
    assert (tables, secured, functions) == (2, 2, 7)
    # Its eight policies, but that messages are only read; more indexes; views are others' to make.
    assert policies >= 6
    assert indexes >= 14
    assert views in (0, 2)


def test_the_analysis_of_conversations(connection: Connection):
    for number in range(3):
        name = f"s{number}"
        ingest(
            connection,
            span(name, name, second=number),
            message(name, "How is line 999?", "user", number),
            message(name, "Late.", "assistant", number + 1),
            runs=[run(name, started_at=at(number), session_id=name, user_id="ann" if number else None)],
        )
    found = [
        *statements("003", "### View Messages", "## Performance"),
        *statements("003", "### Conversation Analytics", "### Real-time Subscriptions"),
    ]
    assert len(found) == 7
    rows = [fetched(connection, statement) for statement in found]
    recent, busiest, users, mean, duration, hours, kinds = rows
    assert [(row[0], row[-1]) for row in sorted(recent)] == [("s0", 2), ("s1", 2), ("s2", 2)]
    assert [row[1] for row in busiest] == [2, 2, 2]
    assert users == [("ann", 2, 4)]
    assert float(mean[0][0]) == 2
    assert duration[0][1] is not None
    assert sum(row[1] for row in hours) == 3
    assert {(row[0], row[1]) for row in kinds} == {("assistant", 3), ("user", 3)}


def test_what_the_page_names_is_there(connection: Connection):
    """Tables, views, functions and indexes in the middle column of the page's tables."""
    page = (ROOT / "docs" / "seeds.md").read_text()
    body = page[page.index("## 000:") :]
    named: set[str] = set()
    for row in re.findall(r"^\| (.+?) \| (.+?) \|", body, re.MULTILINE):
        same = "the same" in row[1]
        for name in re.findall(r"`([a-z_]+)(?:\([^`]*\))?`", row[0] if same else row[1]):
            if "_" in name:
                named.add(name)
    there = {
        row[0]
        for row in connection.execute(
            "select relname from pg_class where relnamespace = 'public'::regnamespace"
            " union select proname from pg_proc where pronamespace = 'public'::regnamespace"
            " union select attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " where c.relnamespace = 'public'::regnamespace"
        ).fetchall()
    }
    assert named - there == set()
