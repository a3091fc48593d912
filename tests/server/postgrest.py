"""An HTTP server that asks the database what PostgREST would, for the queries of the example in Next.js.

It knows what these use of PostgREST's URLs: select, eq, in, gte, or, order, limit; insert with on_conflict; functions.
As there, a request is one transaction on a connection of `authenticator`, with the role and the claims of the token,
read only for GET; errors are answered as there.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import jwt
import psycopg
from psycopg import sql
from server.api_requests import SECRET

OPERATORS = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
Composed = sql.Composed | sql.SQL
BEGIN = """
select set_config('search_path', 'public, extensions', true), set_config('role', %s, true),
    set_config('request.jwt.claims', %s, true), set_config('statement_timeout', '8s', true)
"""


def columns(text: str) -> Composed:
    """`id, title` as SQL."""
    if text == "*":
        return sql.SQL("*")
    return sql.SQL(", ").join(sql.Identifier(name.strip()) for name in text.split(","))


def condition(column: str, told: str) -> Composed:
    """`title`, `eq.soup` as SQL."""
    operator, _, value = told.partition(".")
    if operator == "in":
        found = [item.strip('"') for item in value.removeprefix("(").removesuffix(")").split(",")]
        return sql.SQL("{} in ({})").format(sql.Identifier(column), sql.SQL(", ").join(map(sql.Literal, found)))
    marked = sql.Literal(value.strip('"'))
    return sql.SQL("{} {} {}").format(sql.Identifier(column), sql.SQL(OPERATORS[operator]), marked)


def alternatives(told: str) -> Composed:
    """`(a.lt."1",and(a.eq."1",b.lt.2))` as SQL."""
    parts = re.findall(r'and\((?:"[^"]*"|[^")])*\)|(?:"[^"]*"|[^",(])+', told.removeprefix("(").removesuffix(")"))
    found: list[Composed] = []
    for part in parts:
        if part.startswith("and("):
            inner = re.findall(r'(?:"[^"]*"|[^",])+', part.removeprefix("and(").removesuffix(")"))
            found.append(sql.SQL("({})").format(sql.SQL(" and ").join(condition(*one.split(".", 1)) for one in inner)))
        else:
            found.append(condition(*part.split(".", 1)))
    return sql.SQL("({})").format(sql.SQL(" or ").join(found))


def where(query: dict[str, str]) -> Composed:
    """The filters of a query."""
    found = [
        alternatives(told) if name == "or" else condition(name, told)
        for name, told in query.items()
        if name not in ("select", "order", "limit", "on_conflict", "columns")
    ]
    return sql.SQL(" where {}").format(sql.SQL(" and ").join(found)) if found else sql.SQL("")


def ordered(query: dict[str, str]) -> Composed:
    """Order and limit of a query."""
    made: list[Composed] = [sql.SQL("")]
    if "order" in query:
        named = [one.split(".") for one in query["order"].split(",")]
        terms = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(rest[0])) for name, *rest in named]
        made.append(sql.SQL("order by {}").format(sql.SQL(", ").join(terms)))
    if "limit" in query:
        made.append(sql.SQL("limit {}").format(sql.Literal(int(query["limit"]))))
    return sql.SQL(" ").join(made)


def statement(method: str, path: str, query: dict[str, str], body: Any) -> Composed:
    """What PostgREST runs."""
    name = path.removeprefix("/rest/v1/")
    if name.startswith("rpc/"):
        arguments = body if method == "POST" else query
        given = [sql.SQL("{} => {}").format(sql.Identifier(key), sql.Literal(told)) for key, told in arguments.items()]
        call = sql.SQL("select * from public.{}({})")
        return call.format(sql.Identifier(name.removeprefix("rpc/")), sql.SQL(", ").join(given))
    table = sql.SQL("public.{}").format(sql.Identifier(name))
    if method == "GET":
        return sql.SQL("select {} from {}{}{}").format(
            columns(query.get("select", "*")), table, where(query), ordered(query)
        )
    if method == "DELETE":
        return sql.SQL("delete from {}{}").format(table, where(query))
    names = sql.SQL(", ").join(map(sql.Identifier, body))
    source = sql.SQL("select {} from json_populate_record(null::{}, {})").format(
        names, table, sql.Literal(json.dumps(body))
    )
    if method == "PATCH":
        return sql.SQL("update {} set ({}) = ({}){}").format(table, names, source, where(query))
    kept = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(one)) for one in body)
    conflict = sql.SQL(" on conflict ({}) do update set {}").format(columns(query["on_conflict"]), kept)
    return sql.SQL("insert into {} ({}) {}{}").format(table, names, source, conflict)


def answered(url: str, method: str, target: str, body: Any, token: str) -> tuple[int, Any]:
    """Status and JSON of one request."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if method in ("PATCH", "DELETE") and not query:
        # As Supabase's safeupdate.
        return 400, {"code": "21000", "message": f"{method} requires a WHERE clause", "details": None, "hint": None}
    claims = jwt.decode(token, SECRET, ["HS256"], audience="authenticated")
    try:
        with psycopg.connect(url) as connection:
            connection.read_only = method == "GET"
            connection.execute(BEGIN, [claims["role"], json.dumps(claims)])
            asked = statement(method, unquote(parts.path), query, body)
            if method != "GET" and "/rpc/" not in parts.path:
                connection.execute(asked)
                return 201 if method == "POST" else 204, None
            source = sql.SQL("with pgrst_source as ({}) select coalesce(json_agg(s), '[]') from pgrst_source s")
            found = connection.execute(source.format(asked)).fetchone()
            assert found is not None
            rows, name = found[0], parts.path.rpartition("/rpc/")[2]
            # A function that returns one value is that value.
            return 200, rows[0][name] if [list(row) for row in rows] == [[name]] else rows
    except psycopg.Error as error:
        said = error.diag
        told = {"code": said.sqlstate, "message": said.message_primary, "details": said.message_detail}
        return 403 if said.sqlstate == "42501" else 400, told | {"hint": said.message_hint}


@contextmanager
def postgrest(url: str) -> Iterator[str]:
    """It runs; its address, as a Supabase project's."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers["authorization"].removeprefix("Bearer ")
            status, told = answered(url, self.command, self.path, body, token)
            content = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
