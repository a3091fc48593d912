"""The API's OpenAPI document, made of what the API itself reads its requests by."""

from __future__ import annotations

from typing import Any

from chopsky_trace import __version__
from chopsky_trace.server.endpoints import ENDPOINTS, Endpoint
from chopsky_trace.server.problems import MEDIA_TYPE
from chopsky_trace.server.schemas import SCHEMAS, ref

PROBLEMS = {
    400: "A parameter or a field of the body is unknown or has no such value",
    401: "No valid token",
    403: "The token may not do this",
    404: "There is nothing of this id, or nothing that may be read",
    409: "The id stands for several conversations, or the conversation is under a legal hold",
    408: "The body came too slowly",
    413: "The body is too long",
    415: "The body is not application/json",
    503: "The database cannot be asked now; Retry-After says when to come back",
}
ID = {
    "name": "id", "in": "path", "required": True, "schema": {"type": "string"},
    "description": "A conversation's id, or the application's own name for it; a run's or a feedback's id.",
}  # fmt: skip


def document(base: str) -> dict[str, Any]:
    """OpenAPI 3.1 of all paths.

    Args:
        base: the path that the API is mounted at.
    """
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chopsky-trace", "version": __version__,
            "description": "Reads conversations and runs. A token of the server's reads all of them; a signed-in user"
            " of Supabase reads their own, and of these no calls or internal messages, and costs only where"
            " `chopsky-trace costs on` grants them: columns that they may not read are absent.",
        },
        "servers": [{"url": base or "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "A token with the scope read, ingest (gives feedback), admin; or a user's JWT.",
                },
            },
            "responses": {
                f"Problem{status}": {"description": about, "content": {MEDIA_TYPE: {"schema": ref("Problem")}}}
                for status, about in PROBLEMS.items()
            },
        },
    }  # fmt: skip


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    has_id = "{id}" in endpoint.path
    answers: dict[str, Any] = {
        "200": {"description": "OK", "content": {"application/json": {"schema": ref(endpoint.schema)}}}
    }
    for status in PROBLEMS:
        if (has_id or status not in (404, 409)) and (endpoint.takes or status not in (408, 413, 415)):
            answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    if endpoint.takes:
        # What it names may be missing.
        answers["404"] = {"$ref": "#/components/responses/Problem404"}
    body = (
        {"required": True, "content": {"application/json": {"schema": ref(endpoint.takes)}}} if endpoint.takes else None
    )
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [*([ID] if has_id else []), *(parameter.openapi() for parameter in endpoint.parameters)],
        "responses": answers,
    } | ({"requestBody": body} if body else {})
