"""What the API's tests ask with: tokens, users, conversations."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
from jsonschema import Draft202012Validator
from read_rows import at, call, ident, ingest, message, run, span

from chopsky_trace.database.connect import Connection
from chopsky_trace.server.openapi import document

READ, ADMIN, INGEST = "read-token-for-tests", "admin-token-for-tests", "ingest-token-for-tests"
ORIGIN = "https://app.example"
SECRET = "a-secret-for-tests-that-is-long-enough"
ANN, BEN, EVE = "11111111-aaaa-4aaa-8aaa-000000000001", "11111111-aaaa-4aaa-8aaa-000000000002", "eve"


def user(sub: str, tenant: str | None = None, role: str | None = None, **claims: Any) -> str:
    """A signed-in user's token as Supabase's Auth makes it."""
    about = {"tenant_id": tenant, "chopsky_role": role}
    made = {"sub": sub, "role": "authenticated", "aud": "authenticated", "exp": time.time() + 600}
    return jwt.encode(made | {"app_metadata": about} | claims, SECRET, "HS256")


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def turn(connection: Connection, name: str, second: float = 0, **scope: Any) -> None:
    """A run with a question, a call that costs, and its answer."""
    ingest(
        connection,
        span(name, name, second=second),
        call(name, "ask", parent=name, second=second),
        message(name, f"{name} is told", "system", second, is_internal=True),
        message(name, f"{name} asks", "user", second),
        message(name, f"{name} hears", "assistant", second + 1, span_id=ident(name, "ask"), cost="0.000123"),
        runs=[run(name, started_at=at(second), **scope)],
    )


def matches(schema: str, answered: httpx.Response) -> Any:
    """What was answered, which is as the document says."""
    assert answered.status_code == 200, answered.text
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document("")["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answered.json())
    return answered.json()


def problem(answered: httpx.Response) -> tuple[int, str]:
    """Status and detail of an answer that is a problem, as the document says."""
    assert answered.headers["content-type"] == "application/problem+json", answered.text
    whole = {"$ref": "#/components/schemas/Problem", "components": document("")["components"]}
    Draft202012Validator(whole).validate(answered.json())
    assert answered.json()["status"] == answered.status_code
    return answered.status_code, answered.json()["detail"]


def said(page: dict[str, Any]) -> list[str]:
    """The texts of a page's messages."""
    return [one["content"] for one in page["messages"]]
