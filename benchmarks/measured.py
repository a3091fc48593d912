"""The measured process: one contender, commands on stdin, answers on stdout, a JSON line each."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler

from benchmarks import machine
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.workloads import WORKLOADS, Run


class Counter(BaseCallbackHandler):
    """Counts callback runs, so that nobody has to be believed about them."""

    run_inline = True

    def __init__(self) -> None:
        self.runs = 0

    def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self.runs += 1

    on_chat_model_start = on_llm_start = on_tool_start = on_retriever_start = on_chain_start


def measure(run: Run, iterations: int, first: int, contender: Contender) -> dict[str, float]:
    """Run a workload and say what it took: the caller's thread, then the whole process until all is delivered."""
    callbacks = contender.callbacks()
    config: Any = {"callbacks": callbacks} if callbacks else {}
    gc.collect()
    waited, wall = machine.run_queue_wait_s(), time.perf_counter()
    process, thread = time.process_time(), time.thread_time()
    for number in range(first, first + iterations):
        run(number, config)
    thread = time.thread_time() - thread
    wall, waited = time.perf_counter() - wall, machine.run_queue_wait_s() - waited
    flushing = time.perf_counter()
    contender.flush()
    return {
        "caller_cpu_s": thread,
        "net_wall_s": max(0.0, wall - waited),
        "process_cpu_s": time.process_time() - process,
        "flush_s": time.perf_counter() - flushing,
    }


def serve(contender: Contender) -> None:
    """Answer commands until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anyone prints must not mix with the answers
    made: dict[str, Run] = {}
    for line in sys.stdin:
        command = json.loads(line)
        name = command["workload"]
        if name not in made:
            made[name] = WORKLOADS[name][1]()
        if command["do"] == "count":
            counter = Counter()
            made[name](0, {"callbacks": [counter]})
            answer: dict[str, Any] = {"runs": counter.runs}
        else:
            answer = measure(made[name], command["iterations"], command["first"], contender)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    contender.close()


if __name__ == "__main__":
    serve(CONTENDERS[sys.argv[1]]())
