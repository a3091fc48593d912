"""What is compared: nothing, a handler that does nothing, LangSmith's tracer, and ours. Each with its defaults."""

from __future__ import annotations

import os
from typing import Any


class Contender:
    """No callbacks at all: the floor."""

    def callbacks(self) -> list[Any]:
        """What goes into `config["callbacks"]`."""
        return []

    def flush(self) -> None:
        """Return when everything traced so far is delivered."""

    def close(self) -> None:
        """The end."""


class Empty(Contender):
    """A handler without a method of its own: what LangChain asks for having a callback."""

    def __init__(self) -> None:
        from langchain_core.callbacks import BaseCallbackHandler

        self.handler = BaseCallbackHandler()

    def callbacks(self) -> list[Any]:
        return [self.handler]


class LangSmith(Contender):
    """LangSmith's tracer and client, posting compressed multipart to the sink as to the hosted service."""

    def __init__(self) -> None:
        from langchain_core.tracers import LangChainTracer
        from langsmith import Client

        self.client = Client(api_url=os.environ["BENCH_SINK_URL"], api_key="not-a-key")
        self.handler = LangChainTracer(client=self.client, project_name="bench")

    def callbacks(self) -> list[Any]:
        return [self.handler]

    def flush(self) -> None:
        self.client.flush()

    def close(self) -> None:
        self.client.cleanup()


class Ours(Contender):
    """SupabaseTracer: journal on disk, worker thread, PostgreSQL."""

    def __init__(self) -> None:
        from chopsky_trace import SupabaseTracer

        self.handler = SupabaseTracer(os.environ["BENCH_DATABASE_URL"])

    def callbacks(self) -> list[Any]:
        return [self.handler]

    def flush(self) -> None:
        if not self.handler.flush(60.0):
            raise RuntimeError(f"not everything was written within a minute: {self.handler.stats()}")

    def close(self) -> None:
        self.handler.close(10.0)


CONTENDERS: dict[str, type[Contender]] = {"none": Contender, "empty": Empty, "langsmith": LangSmith, "ours": Ours}
