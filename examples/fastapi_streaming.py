"""A streaming endpoint that takes user and tenant from a Supabase JWT, so that every run lands under who asked.

Run as a script it serves itself on loopback, lets 50 users ask at once, all in a session they call "1", and shows what
landed.
As a service: SUPABASE_JWT_SECRET=... uvicorn fastapi_streaming:app
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import uuid4

import httpx
import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from kitchen import chat_model
from landed import choose_database, show_users
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from pydantic import BaseModel

import chopsky_trace
from chopsky_trace import SupabaseTracer

SECRET = "SUPABASE_JWT_SECRET"
PROMPT = ChatPromptTemplate.from_messages([("system", "You are Chef Chopsky. Be brief."), ("human", "{question}")])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the verified token says."""

    user_id: str
    tenant_id: str | None


class Question(BaseModel):
    """The body of a request."""

    text: str
    session_id: str


def caller(bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> Caller:
    """The caller of a request with a valid token; 401 for any other.

    This verifies HS256, with Supabase's shared JWT secret; for asymmetric signing keys use PyJWT's PyJWKClient.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            bearer.credentials,
            os.environ[SECRET],
            algorithms=["HS256"],
            audience="authenticated",
            options={"require": ["exp", "sub", "aud"]},
        )
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Sign in again.", headers={"WWW-Authenticate": "Bearer"}) from None
    # app_metadata is the server's word; user_metadata is the user's own, so never a tenant from there.
    tenant_id = (claims.get("app_metadata") or {}).get("tenant_id")
    return Caller(user_id=claims["sub"], tenant_id=tenant_id)


def script(messages: Sequence[BaseMessage]) -> AIMessage:
    """What the scripted model says: it repeats the caller's own spice, so that a crossed answer would show."""
    spice = re.search(r"spice is (\S+?)\.", str(messages[-1].text))
    return AIMessage(f"Then I would season everything with {spice[1]} today." if spice else "Tell me your spice.")


def build_chain() -> Runnable[dict[str, Any], str]:
    """Question in, text out; the tracer knows nobody, the request's context does."""
    model, _ = chat_model(script, pause_s=0.002)
    tracer = SupabaseTracer(project="chef-chopsky", environment="demo", tags=["example"])
    return (PROMPT | model | StrOutputParser()).with_config(run_name="chat", callbacks=[tracer])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Refuses to start without a secret, and writes what is left before the process goes."""
    if not os.environ.get(SECRET):
        raise RuntimeError(f"Set {SECRET} to your project's JWT secret.")
    app.state.chain = build_chain()
    yield
    await chopsky_trace.aflush(10)


app = FastAPI(lifespan=lifespan)


async def speak(question: Question, who: Caller) -> AsyncIterator[str]:
    """The answer, piece by piece. The context is entered here, where the chain runs, not where the request arrived."""
    with chopsky_trace.context(user_id=who.user_id, tenant_id=who.tenant_id, session_id=question.session_id):
        async for piece in app.state.chain.astream({"question": question.text}):
            yield piece


@app.post("/chat")
async def chat(question: Question, who: Annotated[Caller, Depends(caller)]) -> StreamingResponse:
    """Streams the answer as plain text."""
    return StreamingResponse(speak(question, who), media_type="text/plain; charset=utf-8")


def token(user_id: str, tenant_id: str) -> str:
    """A token as Supabase Auth would issue it."""
    claims = {
        "sub": user_id,
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 300,
        "app_metadata": {"tenant_id": tenant_id},
    }
    return jwt.encode(claims, os.environ[SECRET], algorithm="HS256")


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The application on a free loopback port; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            raise RuntimeError("The server did not start.")
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def ask(client: httpx.AsyncClient, user_id: str, tenant_id: str, spice: str) -> str:
    """One user's question and the streamed answer."""
    pieces: list[str] = []
    body = {"text": f"My secret spice is {spice}. What now?", "session_id": "1"}
    headers = {"Authorization": f"Bearer {token(user_id, tenant_id)}"}
    async with client.stream("POST", "/chat", json=body, headers=headers) as response:
        response.raise_for_status()
        async for piece in response.aiter_text():
            pieces.append(piece)
    return "".join(pieces)


async def everyone(users: int) -> dict[str, str]:
    """Lets that many users, of five tenants, ask at once; returns each user's spice."""
    spices = {str(uuid4()): f"spice-{secrets.token_hex(4)}" for _ in range(users)}
    limits = httpx.Limits(max_connections=users)
    async with (
        served() as address,
        httpx.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as client,
    ):
        answers = await asyncio.gather(
            *(ask(client, user, f"kitchen-{place % 5}", spice) for place, (user, spice) in enumerate(spices.items()))
        )
    crossed = sum(spice not in answer for spice, answer in zip(spices.values(), answers, strict=True))
    print(f"{users} users asked at once over HTTP; {crossed} got an answer that was not theirs.")
    return spices


def main() -> int:
    """Serve, ask, show. Exit code 1 where not everything was written, or anything crossed."""
    print(f"Database: {choose_database()}")
    if not os.environ.get(SECRET):
        print(f"{SECRET} is not set; using a random secret for this run.")
        os.environ[SECRET] = secrets.token_hex(32)
    spices = asyncio.run(everyone(50))
    if not chopsky_trace.flush(30):
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    return show_users(spices)


if __name__ == "__main__":
    sys.exit(main())
