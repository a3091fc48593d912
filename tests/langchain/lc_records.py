"""Records made by hand, and all ways for them to arrive."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID, uuid5

import psycopg
from lc_conversations import clear, tables

from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.writer.delivery import Delivery

SPACE = UUID("5c0ffee0-0000-4000-8000-000000000000")
MOMENT = 1_790_000_000_000_000


def hexid(name: str) -> str:
    return uuid5(SPACE, name).hex


def body(text: str, role: str) -> dict[str, Any]:
    return {"id": hexid(f"{role} {text}"), "core": [role, text, None, None, None]}


def store_all(
    connection: psycopg.Connection[Any],
    lines: list[bytes],
    chance: random.Random | None,
    builders: int,
    by_copy: Delivery | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Write the lines: as they are in one batch, or in any order, batching and duplication by several writers.

    Args:
        by_copy: writes the rows that may be new by COPY.
    """
    clear(connection)
    made = [Builder() for _ in range(builders)]
    if chance is None:
        batches = [lines]
    else:
        given_lines = lines + [line for line in lines if chance.random() < 0.4]
        chance.shuffle(given_lines)
        batches = []
        while given_lines:
            size = chance.randint(1, len(given_lines))
            batches.append(given_lines[:size])
            given_lines = given_lines[size:]
    for batch in batches:
        builder = (chance or random).choice(made)
        if by_copy is None:
            write_batch(connection, builder.build(batch).payload)
        else:
            by_copy.send(builder.build(batch, packed=True))
            by_copy.collect()
    return tables(connection)
