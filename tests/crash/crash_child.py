"""A process that writes records or runs chains, to be killed, forked, starved or cut off by the tests.

Usage: crash_child.py SCENARIO URL DATA_DIR NAME COUNT. Prints `accepted N` when it comes to it; where it is to be
killed, one byte for each accepted record or run. Settings come from the environment.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

import writer_records as records

from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer, writer_for

DEFAULTS = {
    "FLUSH_INTERVAL_S": "0.05",
    "SEGMENT_BYTES": "200_000",
    "CONNECT_TIMEOUT_S": "2",
    "SHUTDOWN_TIMEOUT_S": "20",
}


def put_all(writer: Writer, name: str, count: int, first: int = 0) -> int:
    return sum(writer.put(records.start(f"{name} {number}")) for number in range(first, first + count))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def call(name: str) -> list[bytes]:
    """A run with one model call in it, as a source tells it."""
    root, model = records.span_id(name), f"{name} model"
    cook: dict[str, Any] = {"kind": "llm", "provider": "openai", "model": "gpt-4o-mini", "run": root}
    usage = {"usage_metadata": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}
    return [
        records.start(name),
        records.start(model, parent=root, **cook),
        records.end(model, usage=usage, duration_ms=2.0, **cook),
        records.end(name),
    ]


def chain(name: str, count: int, session: str | None = None) -> int:
    """Runs of a LangChain chain, traced to wherever the environment says."""
    from crash import chains

    from chopsky_trace import SupabaseTracer

    return chains.run(SupabaseTracer(), name, count, session)


def until_killed(writer: Writer, name: str, count: int) -> None:
    for number in range(count):
        if writer.put(records.start(f"{name} {number}")):
            os.write(1, b"+")
    signal.pause()


def paced_until_killed(writer: Writer, name: str, count: int) -> None:
    for number in range(count):
        if writer.put(records.start(f"{name} {number}")):
            os.write(1, b"+")
        time.sleep(0.0005)
    signal.pause()


def flush(writer: Writer, name: str, count: int) -> None:
    accepted = put_all(writer, name, count)
    say("accepted", accepted, "flushed", writer.flush(60.0))


def leave(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count))


def os_exit(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count))
    os._exit(0)


def store_leftovers(writer: Writer, name: str, count: int) -> None:
    say("accepted", put_all(writer, name, count), "flushed", writer.flush(60.0, leftovers=True))


def fork(writer: Writer, name: str, count: int) -> None:
    """Two children after first use: one exits as a program does, one as multiprocessing does."""
    accepted = put_all(writer, f"{name} before", count)
    epoch = writer.epoch
    writer.flush(30.0)
    accepted += put_all(writer, f"{name} between", count)
    children: list[int] = []
    for child in range(2):
        pid = os.fork()
        if pid == 0:
            done = put_all(writer, f"{name} child {child}", count)
            say("accepted", done, "epoch", writer.epoch != epoch)
            if child:
                os._exit(0)
            sys.exit(0)
        children.append(pid)
    accepted += put_all(writer, f"{name} after", count)
    for pid in children:
        os.waitpid(pid, 0)
    say("accepted", accepted, "flushed", writer.flush(30.0))


def orphan(writer: Writer, name: str, count: int) -> None:
    """The parent dies of SIGKILL while its forked child lives on: the child must not hold on to the parent's files."""
    accepted = put_all(writer, name, count)
    if os.fork() == 0:
        # It never writes: else its own thread would be the heir.
        sys.stdin.read()
        os._exit(0)
    say("accepted", accepted)
    os.kill(os.getpid(), signal.SIGKILL)


def runs_until_killed(writer: Writer, name: str, count: int) -> None:
    """A byte for each run of the chain that has ended."""
    chain(f"{name} first", 1)
    # While a thread imports modules, Python forgets that it was interrupted, and exits with 1.
    writer.flush(60.0)
    for number in range(count):
        chain(f"{name} {number}", 1)
        os.write(1, b"+")
    signal.pause()


def leave_runs(_writer: Writer, name: str, count: int) -> None:
    chain(name, count)


def threads(_writer: Writer, name: str, count: int) -> None:
    """Eight threads; the main one leaves while they run, and Python waits for them."""
    chain(f"{name} main", 1)
    for number in range(8):
        threading.Thread(target=chain, args=(f"{name} {number}", count)).start()


def daemon_thread(writer: Writer, name: str, count: int) -> None:
    """The interpreter shuts down while a thread of its own goes on tracing."""
    enough = threading.Event()

    def go_on() -> None:
        number = 0
        while writer.put(records.start(f"{name} {number}")):
            os.write(1, b"+")
            number += 1
            if number == count:
                enough.set()
            time.sleep(0.0005)

    threading.Thread(target=go_on, daemon=True).start()
    enough.wait()


def cancelled(_writer: Writer, name: str, count: int) -> None:
    """Runs that are cancelled while the model answers, in one piece and streamed, beside runs that end."""
    from crash import chains

    from chopsky_trace import SupabaseTracer

    tracer = SupabaseTracer()

    async def one(number: int, *, hangs: bool) -> None:
        made, cook = chains.chain(hangs=hangs)
        config: Any = chains.told(tracer, f"{name} {'hangs' if hangs else 'ends'} {number}")
        asked = {"question": f"{number}?"}

        async def stream() -> None:
            async for _ in made.astream(asked, config):
                pass

        task = asyncio.create_task(stream() if number % 2 else made.ainvoke(asked, config))
        if not hangs:
            await task
            return
        await asyncio.to_thread(cook.begun.wait)
        task.cancel()
        await asyncio.wait([task])

    async def main() -> None:
        await asyncio.gather(*(one(n, hangs=hangs) for n in range(count) for hangs in (False, True)))

    asyncio.run(main())


def closed_loop(_writer: Writer, name: str, count: int) -> None:
    """The event loop is closed with runs under way, and the process ends."""
    from crash import chains

    from chopsky_trace import SupabaseTracer

    tracer = SupabaseTracer()
    loop = asyncio.new_event_loop()
    made, cook = chains.chain(hangs=True)
    ended, _ = chains.chain()

    async def begin() -> None:
        for number in range(count):
            await ended.ainvoke({"question": f"{number}?"}, chains.told(tracer, f"{name} ends {number}"))
        tasks.append(asyncio.create_task(made.ainvoke({"question": "?"}, chains.told(tracer, f"{name} hangs 0"))))
        await asyncio.to_thread(cook.begun.wait)

    tasks: list[asyncio.Task[str]] = []
    loop.run_until_complete(begin())
    loop.close()


def put_runs(writer: Writer, name: str, count: int) -> int:
    return sum(writer.put(line) for number in range(count) for line in call(f"{name} {number}"))


def spawned(name: str, count: int) -> None:
    settings = Settings.from_env()
    put_runs(writer_for(Target(settings.database_url or "", "test"), settings), name, count)


def multiprocess(name: str, count: int, method: str) -> None:
    # Nothing is written before the children end.
    os.environ["CHOPSKY_TRACE_FLUSH_INTERVAL_S"] = "1000"
    context = multiprocessing.get_context(method)
    children = [context.Process(target=spawned, args=(f"{name} {n}", count)) for n in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def by_fork(_writer: Writer, name: str, count: int) -> None:
    multiprocess(name, count, "fork")


def by_spawn(_writer: Writer, name: str, count: int) -> None:
    multiprocess(name, count, "spawn")


def by_forkserver(_writer: Writer, name: str, count: int) -> None:
    multiprocess(name, count, "forkserver")


def clocks(_writer: Writer, name: str, count: int) -> None:
    """The clock jumps by an hour, forth and back, at every look at it."""
    real, looks = time.time_ns, iter(range(10**9))
    time.time_ns = lambda: real() + (3_600_000_000_000 if next(looks) % 2 else 0)
    chain(name, count)


def full_disk(writer: Writer, name: str, count: int) -> None:
    """No file may grow beyond a fraction of a segment: what does not fit goes elsewhere."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    say("accepted", put_all(writer, name, count), "memory", writer.stats()["memory_records"])


class Obedient:
    """Does what the lines on stdin say, and answers each with a line of JSON."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def run(self, name: str, count: str) -> int:
        return put_runs(self.writer, name, int(count))

    def chain(self, name: str, count: str, session: str | None = None) -> int:
        return chain(name, int(count), session)

    def put(self, name: str, count: str) -> int:
        return put_all(self.writer, name, int(count))

    def end(self, name: str, count: str) -> int:
        return sum(self.writer.put(records.end(f"{name} {number}")) for number in range(int(count)))

    def poison(self, name: str) -> bool:
        return self.writer.put(records.refused(name))

    def flush(self, seconds: str) -> bool:
        return self.writer.flush(float(seconds))

    def store_all(self) -> bool:
        """What dead processes left, too."""
        return self.writer.flush(60.0, leftovers=True)

    def close(self, seconds: str) -> bool:
        return self.writer.close(float(seconds))

    def stats(self) -> dict[str, Any]:
        return self.writer.stats()

    def memory(self) -> int:
        """Peak of resident memory, in kilobytes."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def obey(writer: Writer, _name: str, _count: int) -> None:
    servant = Obedient(writer)
    for line in sys.stdin:
        command, *words = json.loads(line)
        say(json.dumps(getattr(servant, command)(*words)))


SCENARIOS = {
    function.__name__: function
    for function in (
        until_killed,
        paced_until_killed,
        flush,
        leave,
        os_exit,
        store_leftovers,
        fork,
        orphan,
        runs_until_killed,
        leave_runs,
        threads,
        daemon_thread,
        cancelled,
        closed_loop,
        by_fork,
        by_spawn,
        by_forkserver,
        clocks,
        full_disk,
        obey,
    )
}

if __name__ == "__main__":
    scenario, url, data_dir, name, count = sys.argv[1:]
    given = DEFAULTS | {"DATABASE_URL": url, "DATA_DIR": data_dir}
    for key, value in given.items():
        os.environ.setdefault(f"CHOPSKY_TRACE_{key}", value)
    SCENARIOS[scenario](writer_for(Target(url, "test"), Settings.from_env()), name, int(count))
