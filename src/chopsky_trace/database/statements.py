"""The SQL we send, by name: sql/read.sql and sql/write.sql."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

# A statement starts at its name, then says in a comment why it exists.
NAME = re.compile(r"^-- ([a-z_]+) --\n(?:-- .+\n)+", re.MULTILINE)


@cache
def load(file: str) -> dict[str, LiteralString]:
    """Every named statement of one file of the package's sql folder; one without a reason is not found.

    Raises:
        ValueError: a name is there twice.
    """
    text = (files("chopsky_trace") / "sql" / file).read_text("utf-8")
    parts = NAME.split(text)[1:]
    statements: dict[str, LiteralString] = {}
    for name, sql in zip(parts[::2], parts[1::2], strict=True):
        if name in statements:
            raise ValueError(f"sql/{file} has the statement {name} twice")
        # Shipped with the package, so as trustworthy as the code around it.
        statements[name] = cast("LiteralString", sql.strip().removesuffix(";"))
    return statements
