"""A database with what a real application leaves: turns through the tracer, and rows written by hand."""

from __future__ import annotations

from contextlib import suppress

import psycopg
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from read_rows import agent_turn

from chopsky_trace import SupabaseTracer
from chopsky_trace.database.connect import Connection

QUESTIONS = ("What is for dinner?", "Is there any left?")


def fill(url: str, name: str = "filled") -> None:
    """Two turns of a chain in one session and one that fails, an agent's turn, a message by hand, a price.

    Args:
        url: of a migrated database.
        name: of what is made; the same name twice adds nothing but the traced turns.
    """
    tracer = SupabaseTracer(database_url=url, user_id=f"user {name}", session_id=f"session {name}")
    usage = {"input_tokens": 30, "output_tokens": 5, "total_tokens": 35}
    answers = [
        AIMessage(f"Soup, {turn}.", usage_metadata=usage, response_metadata={"model_name": "gpt-4o-mini"})
        for turn in range(len(QUESTIONS))
    ]
    model = GenericFakeChatModel(messages=iter(answers))
    chain = ChatPromptTemplate([("system", "You are a cook."), ("human", "{question}")]) | model
    for question in QUESTIONS:
        chain.invoke({"question": question}, config={"callbacks": [tracer], "metadata": {"dish": "soup"}})
    broken = RunnableLambda(lambda _: 1 / 0) | model
    with suppress(ZeroDivisionError):
        broken.invoke("?", config={"callbacks": [tracer]})
    assert tracer.flush(60)
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        agent_turn(connection, name, user_id=f"agent {name}", session_id=f"agent session {name}")
        connection.execute(
            "insert into public.conversation_messages (role, content, user_id, token_count)"
            " values ('user', 'Hi', %s, 1)",
            [f"user {name}"],
        )
        connection.execute(
            "insert into public.model_prices (provider, model, input_mtok, note) values ('openai', %s, 1.5, 'mine')",
            [f"model {name}"],
        )


def contents(connection: Connection) -> dict[str, dict[str, list[str]]]:
    """Every table's columns, each with its sorted values, but for the ledger's."""
    tables = connection.execute(
        "select c.relname::text, array_agg(a.attname::text order by a.attnum) from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> 'chopsky_migrations'"
        " group by c.relname"
    ).fetchall()
    found: dict[str, dict[str, list[str]]] = {}
    for table, columns in tables:
        found[table] = {}
        for column in columns:
            values = connection.execute(f"select to_jsonb({column}) #>> '{{}}' from public.{table}".encode()).fetchall()
            found[table][column] = sorted(str(value) for (value,) in values)
    return found
