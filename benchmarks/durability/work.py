"""The process that is killed, forked, starved and overrun.

It says `ready` on stdout and waits for a line on stdin before it begins. Each callback run that has ended is a line in
the file `made`, written after the contender was told of the end; what else is to be known is a JSON line in `told`.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler, CallbackManager
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from benchmarks import synthetic
from benchmarks.contenders import Contender, LangSmith, Ours
from benchmarks.durability import MARK, TRACES

CHILD_S = 25.0
"""How long a forked child may take for what takes two seconds."""


class OpenTelemetry(Contender):
    """The SDK's batch processor and OTLP/HTTP exporter, fed by OpenInference's LangChain instrumentation."""

    def __init__(self) -> None:
        from openinference.instrumentation.langchain import LangChainInstrumentor
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.provider = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=os.environ["BENCH_SINK_URL"] + TRACES)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        LangChainInstrumentor().instrument(tracer_provider=self.provider)

    def flush(self) -> None:
        self.provider.force_flush()


CONTENDERS: dict[str, type[Contender]] = {"ours": Ours, "LangSmith": LangSmith, "OpenTelemetry": OpenTelemetry}


class Recorder(BaseCallbackHandler):
    """Writes down what has ended. Lines of several processes and threads do not mix: each is one append."""

    run_inline = True

    def __init__(self, path: str) -> None:
        self._made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._marks: dict[UUID, str] = {}

    def on_chain_start(self, *args: Any, run_id: UUID, metadata: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self._marks[run_id] = (metadata or {})[MARK]

    on_chat_model_start = on_chain_start

    def on_chain_end(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        os.write(self._made, f"{self._marks.pop(run_id)}\n".encode())

    on_chain_error = on_llm_end = on_llm_error = on_chain_end


class Chat(synthetic.InstantChat):
    """Answers at once; never, when it is asked to hang."""

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        if "hang" in str(messages[-1].content):
            await asyncio.Event().wait()
        return self._generate(messages)


class Work:
    """A contender and things to do with it."""

    def __init__(self, contender: Contender, made: str, told: str) -> None:
        self.contender = contender
        self._recorder = Recorder(made)
        self._told = Path(told)
        prompt = ChatPromptTemplate.from_messages([("system", synthetic.text(300, "system")), ("human", "{question}")])
        self.chain: Runnable[Any, str] = prompt | Chat(reply=synthetic.text(200, "reply")) | StrOutputParser()

    def tell(self, **what: object) -> None:
        """Write something down for whoever started this process."""
        with self._told.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def config(self, mark: str) -> RunnableConfig:
        """The contender, and the recorder after it (an instrumentation puts itself before it)."""
        manager = CallbackManager(handlers=[])
        for handler in (*self.contender.callbacks(), self._recorder):
            manager.add_handler(handler, inherit=True)
        return {"callbacks": manager, "metadata": {MARK: mark}}

    def asked(self, number: int) -> dict[str, str]:
        return {"question": f"{number}: {synthetic.text(300, f'question {number % 64}')}"}

    def invoke(self, count: int, *, name: str = "chain", rate: float = 0.0) -> None:
        """Chains, as quickly as possible or so many a second."""
        began = time.perf_counter()
        for number in range(count):
            if rate:
                time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            self.chain.invoke(self.asked(number), self.config(f"{name}-{number}"))

    # What can be asked for.

    def paced(self, count: int, rate: float = 25.0) -> None:
        self.invoke(count, rate=rate)

    def full_speed(self, count: int) -> None:
        self.invoke(count)

    def leave_by_sigterm(self, count: int) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self.invoke(count, rate=25.0)

    def os_exit(self, count: int) -> None:
        self.invoke(count)
        os._exit(0)

    def multiprocess(self, count: int) -> None:
        """Two children after first use, which was not flushed. They end without Python's exit handlers."""
        self.invoke(10, name="parent")
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=self.child, args=(count, number)) for number in range(2)]
        for child in children:
            child.start()
        ends_at = time.monotonic() + CHILD_S
        for child in children:
            child.join(max(0.0, ends_at - time.monotonic()))
            if child.is_alive():
                self.tell(hung=child.name)
                child.kill()
                child.join()

    def fork(self, count: int) -> None:
        """The same by `os.fork`; they end as programs do."""
        self.invoke(10, name="parent")
        children = list[int]()
        for number in range(2):
            if not (child := os.fork()):
                self.child(count, number)
                sys.exit(0)
            children.append(child)
        ends_at = time.monotonic() + CHILD_S
        for child in children:
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > ends_at:
                    self.tell(hung=child)
                    os.kill(child, signal.SIGKILL)
                    ends_at += 1.0
                time.sleep(0.05)

    def child(self, count: int, number: int) -> None:
        self.invoke(count, name=f"child{number}", rate=25.0)

    def threads(self, count: int) -> None:
        """Eight of them; the main one leaves while they run, and Python waits for them."""
        for number in range(8):
            work = {"name": f"thread{number}"}
            threading.Thread(target=self.invoke, args=(count,), kwargs=work).start()

    def cancelled(self, count: int) -> None:
        """Half of the chains are cancelled while the model answers."""

        async def one(number: int) -> None:
            hangs = number % 2
            asked = {"question": "hang"} if hangs else self.asked(number)
            with suppress(TimeoutError):
                chain = self.chain.ainvoke(asked, self.config(f"chain-{number}"))
                await asyncio.wait_for(chain, 2.0 if hangs else None)

        async def main() -> None:
            await asyncio.gather(*(one(number) for number in range(count)))

        asyncio.run(main())

    def batch(self, count: int) -> None:
        """An `invoke` before it and one after it."""
        self.invoke(1, name="before")
        self.chain.batch([self.asked(number) for number in range(count)], self.config("batch-0"))
        self.invoke(1, name="after")

    def odd(self, count: int) -> None:
        """Each odd object between three good runs and three, flushed before the next."""
        from benchmarks.durability.odd import ODD

        step = RunnableLambda(lambda _: "fine").with_config(run_name="step")
        for name, make in list(ODD.items())[:count]:
            for number in range(3):
                step.invoke({"value": number}, self.config(f"good-{name} {number}"))
            try:
                step.invoke({"value": make()}, self.config(f"odd-{name}"))
            except Exception as error:
                self.tell(raised=f"{name}: {type(error).__name__}")
            for number in range(3, 6):
                step.invoke({"value": number}, self.config(f"good-{name} {number}"))
            self.contender.flush()

    def measured(self, count: int) -> None:
        """At full speed; memory after a tenth and at the end."""
        self.invoke(count // 10, name="first")
        before = resident_kb()
        self.invoke(count - count // 10)
        self.tell(before_kb=before, after_kb=resident_kb(), chains=count - count // 10)

    def measured_until_killed(self, count: int) -> None:
        self.measured(count)
        os._exit(0)

    def later(self, count: int) -> None:
        """The next process: it works a little, and stays until it may go."""
        self.invoke(count, name="later")
        sys.stdin.read()


def resident_kb() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("the system does not tell how much memory a process has")


def main(contender: str, scenario: str, count: int, made: str, told: str) -> None:
    """Get ready (first use, and a flush), and do it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anyone prints must not mix with the answers
    work = Work(CONTENDERS[contender](), made, told)
    if scenario != "later":
        work.invoke(1, name="warm")
        work.contender.flush()
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    getattr(work, scenario)(count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
