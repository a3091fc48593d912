"""The SQL we send, by name: sql/read.sql and sql/write.sql."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

# A statement starts at its name, then says in a comment why it exists; so does a list of columns that several have.
NAME = re.compile(r"^-- (list )?([a-z_]+) --\n(?:-- .+\n)+", re.MULTILINE)
USE = re.compile(r"@([a-z_]+)@")


@cache
def load(file: str) -> dict[str, LiteralString]:
    """Every named statement of one file of the package's sql folder; one without a reason is not found.

    `@name@` in a statement stands for the list of that name, which stands before it in the file.

    Raises:
        ValueError: a name is there twice.
        KeyError: there is no list of a name before its use.
    """
    text = (files("chopsky_trace") / "sql" / file).read_text("utf-8")
    parts = NAME.split(text)[1:]
    statements: dict[str, LiteralString] = {}
    lists: dict[str, str] = {}
    for kind, name, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        if name in statements or name in lists:
            raise ValueError(f"sql/{file} has {name} twice")
        if kind:
            lists[name] = sql.strip()
            continue
        whole = USE.sub(lambda used: lists[used[1]], sql.strip().removesuffix(";"))
        # Shipped with the package, so as trustworthy as the code around it.
        statements[name] = cast("LiteralString", whole)
    return statements
