"""Made-up traces in which model calls are seen once, twice or three times, and what is true of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

import orjson

SPACE = UUID("7d1c1d8e-9f3b-4e6d-8a43-0c8f5f3f2a10")
MOMENT = 1_790_000_000_000_000
MS = 1_000

LANGCHAIN: dict[str, Any] = {"source": "langchain"}
FRAMEWORK: dict[str, Any] = {"source": "otel", "instrumentor": "openinference.langchain"}
OTHER_FRAMEWORK: dict[str, Any] = {"source": "otel", "instrumentor": "ai"}
PROVIDER: dict[str, Any] = {"source": "otel", "instrumentor": "opentelemetry.openai", "is_provider": True}
NATIVE: dict[str, Any] = {"source": "otel", "instrumentor": "com.anthropic.sdk", "is_provider": True}


def hexid(*names: object) -> str:
    return uuid5(SPACE, "/".join(map(str, names))).hex


def body(text: str, role: str) -> dict[str, Any]:
    return {"id": hexid("body", role, text), "core": [role, text, None, None, None]}


def usage(given: int, out: int, **more: Any) -> dict[str, Any]:
    told = {"input_tokens": given, "output_tokens": out, "total_tokens": given + out, **more}
    return {"usage_metadata": told}


@dataclass
class World:
    """Records, and what they tell of: the calls' tokens, how many there were."""

    records: list[dict[str, Any]] = field(default_factory=list)
    tokens: int = 0
    calls: int = 0
    corrects: bool = False

    @property
    def lines(self) -> list[bytes]:
        return [orjson.dumps(record) for record in self.records]

    def counts(self, tokens: int, calls: int = 1) -> None:
        """So many calls truly used so many tokens."""
        self.tokens += tokens
        self.calls += calls

    def trace(self, name: str, who: dict[str, Any], **start: Any) -> tuple[str, str]:
        """A trace with a root that is no call; returns run and root."""
        run = hexid("run", name)
        root = run if who is LANGCHAIN else hexid("root", name)
        self.span(name, root, run, None, "chain", who, 0, 600_000, **start)
        return run, root

    def span(
        self,
        name: str,
        id: str,
        run: str,
        parent: str | None,
        kind: str,
        who: dict[str, Any],
        begin_ms: float,
        end_ms: float,
        start: dict[str, Any] | None = None,
        end: dict[str, Any] | None = None,
    ) -> str:
        begin, over = (MOMENT + int(ms * MS) for ms in (begin_ms, end_ms))
        common = {"v": 1, "id": id, "run": run, "kind": kind, "source": who["source"]}
        mine = {key: value for key, value in who.items() if key != "source"}
        first = {**common, **mine, "t": "start", "parent": parent, "seen": begin * 1000, "at": begin, "name": name}
        if who["source"] == "otel":
            first["native_id"] = id[:16]
        last = {**common, "t": "end", "seen": over * 1000, "at": over, "started": begin, "status": "completed"}
        self.records += [first | (start or {}), last | {"duration_ms": end_ms - begin_ms} | (end or {})]
        return id

    def call(
        self,
        name: str,
        run: str,
        parent: str | None,
        who: dict[str, Any],
        begin_ms: float,
        end_ms: float,
        *,
        tokens: dict[str, Any] | None,
        response: str | None = None,
        said: str | None = None,
        asked: str | None = None,
        kind: str = "llm",
        **end: Any,
    ) -> str:
        """A model call with its prompt and answer, as far as they are told."""
        names = {"provider": "openai", "model": "gpt-4o-mini"}
        start: dict[str, Any] = dict(names)
        if asked is not None:
            told = body(asked, "user")
            start |= {"prompt": {"bodies": [told["id"]]}, "bodies": [told]}
            start["messages"] = [{"body": told["id"], "place": "own", "n": 0, "position": 0, "internal": False}]
        last: dict[str, Any] = {**names, "model_requested": "gpt-4o-mini"} | end
        if tokens is not None:
            last["usage"] = tokens
        if response is not None:
            last["response_id"] = response
        if said is not None:
            answer = body(said, "assistant")
            last |= {"output_bodies": [answer["id"]], "bodies": [answer]}
            last["messages"] = [{"body": answer["id"], "place": "out", "n": 0, "position": 0, "internal": False}]
        id = self.span(name, hexid("call", name), run, parent, kind, who, begin_ms, end_ms, start, last)
        if self.corrects:
            # What was said of its end first was wrong.
            first = self.records[-1]
            wrong = {"usage": usage(1, 1), "response_id": "wrong", "seen": first["seen"] - 1, "finish_reason": "length"}
            self.records.append(first | wrong)
        return id
