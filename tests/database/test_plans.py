"""What the benchmark of reading asks is answered by index, without looking at more than the answer needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks import questions
from fix_postgres import Server, ensure_template, worker_name

from chopsky_trace.database import costs
from chopsky_trace.database.connect import Connection

MESSAGES = 20_000


@pytest.fixture
def filled(postgres_server: Server) -> Iterator[Connection]:
    """A database of its own: other tests' plans are not to be those for so many rows."""
    name = f"filled_{worker_name()}"
    postgres_server.create(name, "shim", ensure_template(postgres_server))
    with postgres_server.admin(name) as admin:
        costs.show(admin, shown=True)
        questions.fill(admin, MESSAGES, lambda _: None)
        yield admin
    postgres_server.drop(name)


@pytest.mark.slow
def test_every_question_is_answered_by_index(filled: Connection):
    # Small tables are read whole where that is cheaper; what is asked here is whether they have to be.
    filled.execute("set enable_seqscan = off")
    values = questions.pick(filled)[0]
    for question in questions.QUESTIONS:
        seen = questions.look(filled, question, values)
        assert seen.whole == [], question
        assert seen.pages <= question.limit_pages, question
        assert seen.discarded <= seen.kept + 20, question
