"""What a linter does not say: functions fit on a screen, SQL has its reasons."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES_MAX = 70
FUNCTIONS = [
    pytest.param(node, id=f"{path.relative_to(ROOT)}:{node.name}")
    for folder in ("src", "tests", "examples", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
STATEMENTS = [
    path for path in sorted((ROOT / "src" / "chopsky_trace" / "sql").glob("*.sql")) if path.name != "schema.sql"
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_fits_on_a_screen(function: ast.FunctionDef | ast.AsyncFunctionDef):
    assert function.end_lineno is not None
    assert function.end_lineno - function.lineno < LINES_MAX


@pytest.mark.parametrize("path", STATEMENTS, ids=lambda path: path.name)
def test_every_statement_has_a_name_and_a_reason(path: Path):
    from chopsky_trace.database import statements

    text = path.read_text("utf-8")
    named = re.findall(r"^-- (?!list )(.+) --$", text, re.MULTILINE)
    found = statements.load(path.name)
    assert named == list(found)
    lists = re.findall(r"^-- list (.+) --$", text, re.MULTILINE)
    assert all(text.count(f"@{name}@") > 1 for name in lists), "a list is what several have"
    assert all(sql for sql in found.values())
