"""Whether time grows with a conversation's length: on the caller's thread, and in the worker."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from uuid import uuid4

import psycopg
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from benchmarks import machine, synthetic
from benchmarks.server import Server
from chopsky_trace.database.connect import connect
from chopsky_trace.database.migrate import migrate
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings, Target
from chopsky_trace.sources.langchain.events import Recorder
from chopsky_trace.sources.langchain.runs import Runs
from chopsky_trace.telling.options import Options

SEEN = 600
"""Messages of the longest history whose cost on the caller's thread is measured."""
SESSIONS = (10, 1_000)
"""Messages of the sessions that a turn is added to."""
WINDOW = 10
"""Messages of the history that each turn sends again."""
REPEATS = 40


class Records:
    """Takes records as a writer does, and keeps them."""

    def __init__(self) -> None:
        self.epoch = 0
        self.lines: list[bytes] = []
        self.recorder = Recorder(
            Runs(1_000),
            self,
            Options(
                scope={},
                tags=(),
                metadata={},
                redactor=None,
                with_content=True,
                hide_inputs=False,
                hide_outputs=False,
                sample_rate=1.0,
                max_string=4_000_000,
            ),
            self._unreadable,
        )

    def put(self, record: bytes, /) -> bool:
        self.lines.append(record)
        return True

    def _unreadable(self, name: str, error: Exception) -> None:
        raise error


def caller_us() -> float:
    """Microseconds of the caller's CPU that each message already seen adds to a model call: the slope over 600."""
    return statistics.median(_slope() for _ in range(7))


def _slope() -> float:
    records = Records()
    recorder = records.recorder
    root = uuid4()
    history: list[BaseMessage] = [HumanMessage("How long is a piece of string?")]
    recorder.start("chain", root, None, "loop", None, None, {"messages": list(history)})
    points: list[tuple[int, float]] = []
    while len(history) < SEEN:
        span = uuid4()
        answer = AIMessage(f"Twice half its length, for the {len(history)}th time.")
        prompt = list(history)
        began = time.thread_time()
        recorder.start_model(span, root, "model", None, None, prompt, "openai", synthetic.MODEL, None)
        recorder.end_model(span, "completed", [answer], {"generations": 1})
        points.append((len(history), time.thread_time() - began))
        records.lines.clear()
        history += [answer, HumanMessage(f"And now, {len(history)}?")]
    # Medians of stretches of ten calls, so that what interrupts one does not count.
    stretches = [points[start : start + 10] for start in range(0, len(points) - 9, 10)]
    xs = [statistics.mean(x for x, _ in each) for each in stretches]
    ys = [statistics.median(y for _, y in each) * 1e6 for each in stretches]
    return statistics.linear_regression(xs, ys).slope


def worker_ms(server: Server) -> dict[int, float]:
    """Milliseconds of CPU, client's and server's, that storing a turn takes, by the messages its session has."""
    url = server.create("bench_growth")
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
    settings = Settings()
    taken: dict[int, list[float]] = {size: [] for size in SESSIONS}
    history: dict[int, list[BaseMessage]] = {size: [] for size in SESSIONS}
    with connect(Target(url, "benchmark"), settings, application_name="benchmark") as connection:
        pid = connection.info.backend_pid
        for size in SESSIONS:
            while len(history[size]) < size:
                write_batch(connection, Builder().build(_turn(str(size), history[size])).payload)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("vacuum analyze")
        for _ in range(REPEATS):
            for size in SESSIONS:
                lines = _turn(str(size), history[size])
                before, client = machine.process_run_s(pid), time.thread_time()
                write_batch(connection, Builder().build(lines).payload)
                spent = time.thread_time() - client + machine.process_run_s(pid) - before
                taken[size].append(spent * 1000)
    server.drop("bench_growth")
    return {size: statistics.median(each) for size, each in taken.items()}


def _turn(session: str, history: list[BaseMessage]) -> Sequence[bytes]:
    """A turn of a session as its records: a new run, which sends the last few messages again."""
    records = Records()
    recorder = records.recorder
    root, span = uuid4(), uuid4()
    question = HumanMessage(synthetic.text(200, f"question {session} {len(history)}"))
    answer = AIMessage(synthetic.text(400, f"answer {session} {len(history)}"))
    recorder.start("chain", root, None, "turn", {"session_id": session}, None, {"question": question.content})
    prompt = [*history[-WINDOW:], question]
    recorder.start_model(span, root, "model", None, None, prompt, "openai", synthetic.MODEL, None)
    recorder.end_model(span, "completed", [answer], {"generations": 1})
    recorder.end("chain", root, "completed", answer.content)
    history += [question, answer]
    return records.lines


def sentence(caller: float, worker: dict[int, float]) -> str:
    """Both, in words."""
    few, many = SESSIONS
    return (
        f"As a conversation grows: each message already seen in a run adds {caller:.2f} us of CPU to a model call on\n"
        f"the caller's thread (slope over {SEEN} messages); storing a turn that sends {WINDOW} messages again takes\n"
        f"{worker[few]:.2f} ms of CPU, client and PostgreSQL together, in a session of {few} messages and\n"
        f"{worker[many]:.2f} ms in one of {many:,} (medians of {REPEATS}, in turns)."
    )
