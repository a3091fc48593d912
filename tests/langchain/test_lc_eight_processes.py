"""Eight processes write at once, to sessions of their own and to shared ones: no deadlock, exact totals."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from lc_support import Store, run_script

FORKED = """
import os, sys
from lc_support import *
import chopsky_trace
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.output_parsers import StrOutputParser
tracer = chopsky_trace.SupabaseTracer()
prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{q}")])
chain = prompt | ScriptedChat(replies=[answer_last]) | StrOutputParser()
chain.invoke({"q": "before the fork"}, {"callbacks": [tracer], "metadata": {"session_id": "leader"}})
gate = os.pipe()
children = []
for number in range(8):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(gate[1])
            os.read(gate[0], 1)
            for turn in range(25):
                session = f"shared {turn % 3}" if turn % 2 else f"own {number}"
                metadata = {"session_id": session, "user_id": "ada"}
                chain.invoke({"q": f"p{number} t{turn}"}, {"callbacks": [tracer], "metadata": metadata})
                if turn % 5 == 0:
                    tracer.flush(10)
            status = 0 if tracer.flush(30) else 2
        finally:
            os._exit(status)
    children.append(pid)
os.close(gate[0])
os.close(gate[1])
assert tracer.flush(20)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert codes == [0] * 8, codes
"""


@pytest.mark.timeout(120)
def test_eight_processes_at_once(store: Store, database_url: str, tmp_path: Any) -> None:
    (before,) = store.rows("select deadlocks from pg_stat_database where datname = current_database()")
    done = run_script(
        FORKED, {"CHOPSKY_TRACE_DATABASE_URL": database_url, "CHOPSKY_TRACE_DATA_DIR": str(tmp_path / "eight")}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = store.runs()
    assert len(runs) == 201
    assert {run["status"] for run in runs} == {"completed"}
    assert {(run["total_tokens_used"], run["total_cost"], run["total_messages"]) for run in runs} == {
        (120, Decimal("0.000027"), 2)
    }
    assert len(store.spans()) == 804
    assert sorted(
        store.rows("select content from conversation_messages where role = 'user' and user_id = 'ada'"), key=str
    ) == sorted(({"content": f"p{number} t{turn}"} for number in range(8) for turn in range(25)), key=str)
    sessions = {
        row["session_id"]: row["runs"]
        for row in store.rows("select session_id, count(*) as runs from conversation_runs group by 1")
    }
    assert {name: count for name, count in sessions.items() if name.startswith("own")} == {
        f"own {number}": 13 for number in range(8)
    }
    assert sum(count for name, count in sessions.items() if name.startswith("shared")) == 96
    store.connection.execute("select pg_stat_clear_snapshot()")
    (after,) = store.rows("select deadlocks from pg_stat_database where datname = current_database()")
    assert after["deadlocks"] == before["deadlocks"]
    # PostgreSQL's words: Python 3.12 and newer warn of deadlocks at every fork.
    assert "deadlock detected" not in done.stderr


ONE_TRACE = """
import os, sys
from uuid import UUID, uuid5
import genai_prices, orjson, psycopg
from chopsky_trace.database.write import write_batch
from chopsky_trace.enrich.batch import Builder
from chopsky_trace.settings import Settings
space = UUID(int=7)
usage = {"usage_metadata": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}}
def tell(number):
    roots = [uuid5(space, f"root {n}").hex for n in range(6)]
    if number % 2:
        roots.reverse()
    builder = Builder()
    with psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None) as connection:
        for turn in range(10):
            lines = []
            for root in roots:
                span = uuid5(space, f"{root} {number} {turn}").hex
                at = 1_790_000_000_000_000 + number * 1000 + turn
                common = {"v": 1, "run": root, "seen": at, "source": "langchain", "at": at}
                call = {"kind": "llm", "provider": "openai", "model": "gpt-4o-mini"}
                lines.append({**common, "t": "start", "id": root, "parent": None, "kind": "chain", "name": "shared",
                              "scope": {"session_id": "one"}})
                lines.append({**common, **call, "t": "start", "id": span, "parent": root, "name": "m"})
                lines.append({**common, **call, "t": "end", "id": span, "status": "completed", "started": at,
                              "duration_ms": 2.0, "usage": usage})
            write_batch(connection, builder.build([orjson.dumps(line) for line in lines]).payload)
children = []
for number in range(8):
    pid = os.fork()
    if pid == 0:
        try:
            tell(number)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    children.append(pid)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
assert codes == [0] * 8, codes
"""


@pytest.mark.timeout(120)
def test_eight_processes_in_one_trace(store: Store, database_url: str) -> None:
    """Every process tells some spans of the same runs: the totals are exact whatever order they arrive in."""
    done = run_script(f"import sys\nsys.argv.append({database_url!r})\n" + ONE_TRACE, {})
    assert done.returncode == 0, done.stderr[-3000:]
    runs = store.runs()
    assert [(run["total_tokens_used"], run["total_cost"], run["average_response_time"]) for run in runs] == [
        (9600, Decimal("0.00216"), Decimal(2))
    ] * 6
    assert len(store.spans()) == 6 + 480
