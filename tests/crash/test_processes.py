"""Processes, threads and event loops end in every way there is: what was accepted is stored once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest
from crash.children import (
    CHAIN,
    CHAIN_SPANS,
    HERE,
    PATHS,
    Child,
    assert_whole,
    findings,
    names,
    numbered,
    obedient,
    runs,
    soon,
    waiting,
)
from crash.proxy import free_port

pytestmark = pytest.mark.crash
AT_THE_END = {"CHOPSKY_TRACE_FLUSH_INTERVAL_S": "1000"}
"""Nothing is written before somebody flushes, or the process comes to its end."""


def store_leftovers(url: str, data: Path) -> None:
    """What the next process does, whatever it does itself."""
    heir = obedient(url, data)
    heir.do("store_all")
    heir.leave()


def test_ctrl_c(database_url: str, tmp_path: Path) -> None:
    """Runs that had ended are stored when the process is gone; the one under way says that it was interrupted."""
    child = Child("runs_until_killed", database_url, tmp_path, "run", 3_000)
    seen = child.wait_for(5)
    child.process.send_signal(signal.SIGINT)
    ended = seen + child.finish(-signal.SIGINT, loud=True).count("+")
    stored = runs(database_url)
    whole = {name for name, totals in stored.items() if totals == CHAIN}
    assert whole >= {f"run {n} 0" for n in ("first", *range(ended))}
    assert ended + 1 <= len(stored) <= ended + 2
    assert findings(database_url) == []
    assert waiting(tmp_path) == 0


def test_an_end_without_flush(database_url: str, tmp_path: Path) -> None:
    child = Child("leave_runs", database_url, tmp_path, "run", 20)
    assert child.finish() == child.errors == ""
    assert_whole(database_url, chains=numbered("run", 20))
    assert waiting(tmp_path) == 0


def test_threads_that_outlive_the_main_one(database_url: str, tmp_path: Path) -> None:
    child = Child("threads", database_url, tmp_path, "run", 5)
    assert child.finish() == child.errors == ""
    assert_whole(database_url, chains={name for n in range(8) for name in numbered(f"run {n}", 5)} | {"run main 0"})
    assert waiting(tmp_path) == 0


def test_a_thread_that_traces_while_the_interpreter_shuts_down(database_url: str, tmp_path: Path) -> None:
    """What comes after the exit handler is in the journal, for the next process."""
    accepted = len(Child("daemon_thread", database_url, tmp_path, "run", 500, shutdown_timeout_s=1).finish())
    assert accepted >= 500
    store_leftovers(database_url, tmp_path)
    stored = names(database_url)
    assert len(stored) == len(set(stored))
    # The thread may have been stopped between a record and its acknowledgement.
    assert numbered("run", accepted) <= set(stored) <= numbered("run", accepted + 1)
    assert findings(database_url) == []
    assert waiting(tmp_path) == 0


def test_runs_cancelled_on_an_event_loop(database_url: str, tmp_path: Path) -> None:
    """In the middle of ainvoke and of astream: they have an end, and those beside them are whole."""
    child = Child("cancelled", database_url, tmp_path, "run", 6)
    assert child.finish() == child.errors == ""
    stored = runs(database_url)
    assert stored.keys() == numbered("run ends", 6) | numbered("run hangs", 6)
    assert {totals[:2] for name, totals in stored.items() if "ends" in name} == {("completed", 15)}
    assert {totals[:2] for name, totals in stored.items() if "hangs" in name} == {("abandoned", None)}
    with psycopg.connect(database_url) as connection:
        open_spans = connection.execute(
            "select name, count(*) from conversation_spans where end_version is null group by name"
        ).fetchall()
    # LangChain tells nobody of the end of a model that is cancelled in ainvoke: the reaper marks it in time.
    assert open_spans == [("Cook", 3)]
    assert findings(database_url) == []


def test_an_event_loop_closed_with_a_run_under_way(database_url: str, tmp_path: Path) -> None:
    Child("closed_loop", database_url, tmp_path, "run", 4).finish(loud=True)
    stored = runs(database_url)
    assert stored.keys() == numbered("run ends", 4) | {"run hangs 0"}
    assert {stored[name] for name in numbered("run ends", 4)} == {CHAIN}
    assert findings(database_url) == []
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(database_url: str, tmp_path: Path, method: str) -> None:
    """Nobody flushes, and the parent writes nothing: what the children leave is stored when they are gone."""
    child = Child(f"by_{method}", database_url, tmp_path, "run", 3)
    assert child.finish() == child.errors == ""
    assert_whole(database_url, {name for part in range(2) for name in numbered(f"run {part}", 3)})
    assert waiting(tmp_path) == 0


def test_two_processes_in_one_session(database_url: str, tmp_path: Path) -> None:
    pair = [obedient(database_url, tmp_path) for _ in range(2)]
    for turn in range(3):
        for number, child in enumerate(pair):
            child.do("chain", f"p{number} t{turn}", 4, "kitchen")
    for child in pair:
        child.leave()
    assert_whole(database_url, chains={name for n in range(2) for t in range(3) for name in numbered(f"p{n} t{t}", 4)})
    with psycopg.connect(database_url) as connection:
        sessions = connection.execute(
            "select session_id, (select count(*) from conversation_runs r where r.session_id = s.session_id)"
            " from conversation_sessions s"
        ).fetchall()
        assert sessions == [("kitchen", 24)]
        said = connection.execute(
            "select count(*), count(distinct content) from conversation_messages where role in ('user', 'assistant')"
        ).fetchone()
        assert said == (48, 48)


def test_a_clock_that_jumps(database_url: str, tmp_path: Path) -> None:
    """An hour forth and back at every look: times may be wrong, nothing else is."""
    assert Child("clocks", database_url, tmp_path, "run", 6).finish() == ""
    assert_whole(database_url, chains=numbered("run", 6))


@contextmanager
def server(url: str, data: Path, *command: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server program of Python's, with our settings."""
    env = {"CHOPSKY_TRACE_DATABASE_URL": url, "CHOPSKY_TRACE_DATA_DIR": str(data), "PYTHONPATH": PATHS}
    with (data / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], env=os.environ | env | more, stdout=log, stderr=log, cwd=HERE
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def ask(port: int, name: str) -> int:
    """The process that answered."""
    with urlopen(f"http://127.0.0.1:{port}/{name}", timeout=60) as response:
        return int(response.read())


def answers(port: int) -> bool:
    try:
        ask(port, "first")
    except OSError:
        return False
    return True


def asked(port: int, count: int) -> set[str]:
    """Many requests at once."""
    wanted = {f"request-{number}" for number in range(count)}
    assert soon(lambda: answers(port))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: ask(port, name), wanted))
    return {f"{name} 0" for name in wanted | {"first"}}


def test_gunicorn_with_preload(database_url: str, tmp_path: Path) -> None:
    """The tracer is used before the fork. Workers that end in order have stored all."""
    port = free_port()
    command = [
        "gunicorn",
        "--preload",
        "-w",
        "2",
        "-b",
        f"127.0.0.1:{port}",
        "--no-control-socket",
        "crash.served:wsgi",
    ]
    with server(database_url, tmp_path, *command, **AT_THE_END, AT_IMPORT="1") as process:
        expected = asked(port, 12)
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "server.log").read_text()
    assert_whole(database_url, chains=expected | {"import 0"})
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize(("application", "workers"), [("flushed", ["--workers", "2"]), ("asgi", [])])
def test_uvicorn(database_url: str, tmp_path: Path, application: str, workers: list[str]) -> None:
    """With the middleware all is stored when it has ended; without it what is left is the next process's."""
    port = free_port()
    command = ["uvicorn", *workers, "--port", str(port), f"crash.served:{application}"]
    with server(database_url, tmp_path, *command, **AT_THE_END) as process:
        expected = asked(port, 12)
        process.terminate()
        process.wait(60)
    if application == "asgi":
        assert waiting(tmp_path) > 0
        store_leftovers(database_url, tmp_path)
    assert_whole(database_url, chains=expected)
    assert waiting(tmp_path) == 0


@pytest.mark.parametrize("at_import", [{"AT_IMPORT": "1"}, {}], ids=["used before the fork", "in tasks only"])
def test_celery_prefork(database_url: str, tmp_path: Path, at_import: dict[str, str]) -> None:
    """Its children end without Python's exit handlers, and its parent may write nothing."""
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    extra = AT_THE_END | at_import | {"TASKS": str(tasks)}
    order = "from crash.broker import kitchen; [kitchen.send_task('cook', [f'task {n}']) for n in range(8)]"
    sent = subprocess.run(
        [sys.executable, "-c", order],
        env=os.environ | {"PYTHONPATH": PATHS, "TASKS": str(tasks)},
        capture_output=True,
        text=True,
    )
    assert sent.returncode == 0, sent.stderr
    command = ["celery", "-A", "crash.served:kitchen", "worker", "-c", "2", "--without-gossip", "--without-mingle"]
    with server(database_url, tmp_path, *command, **extra) as process:
        # What it has taken and not begun it would give back.
        records = 2 * CHAIN_SPANS * (8 + len(at_import))
        assert soon(lambda: waiting(tmp_path) == records), (tmp_path / "server.log").read_text()
        process.terminate()
        assert process.wait(60) == 0, (tmp_path / "server.log").read_text()
    assert_whole(database_url, chains={f"task {n} 0" for n in range(8)} | ({"import 0"} if at_import else set()))
    assert waiting(tmp_path) == 0
