"""What importing the package costs a process that already has langchain_core."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks import machine

SCRIPT = """
import json, sys, time
# By name: the packages themselves import nothing until asked.
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
wall, cpu, modules = time.perf_counter(), time.process_time(), set(sys.modules)
import chopsky_trace
first = time.perf_counter() - wall
from chopsky_trace import SupabaseTracer
second = time.perf_counter() - wall
print(json.dumps({"package": first, "tracer": second, "cpu": time.process_time() - cpu,
                  "modules": sorted(name for name in set(sys.modules) - modules)}))
"""


@dataclass(frozen=True, slots=True)
class ImportCost:
    """Medians over fresh processes, in milliseconds."""

    package_ms: float | None
    tracer_ms: float | None
    tracer_cpu_ms: float | None
    modules: int
    processes: int


def measure(processes: int) -> ImportCost:
    """Import in `processes` fresh interpreters."""
    taken = []
    for _ in range(processes + 1):
        run = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
        taken.append(json.loads(run.stdout))
    taken = taken[1:]  # the first compiles
    return ImportCost(
        package_ms=machine.median(each["package"] * 1e3 for each in taken),
        tracer_ms=machine.median(each["tracer"] * 1e3 for each in taken),
        tracer_cpu_ms=machine.median(each["cpu"] * 1e3 for each in taken),
        modules=len(taken[0]["modules"]),
        processes=len(taken),
    )


def sentence(cost: ImportCost) -> str:
    """The measurement, for people."""
    wall, cpu = machine.figure(cost.tracer_ms), machine.figure(cost.tracer_cpu_ms)
    return (
        f"`import chopsky_trace`: {machine.figure(cost.package_ms)} ms; with `SupabaseTracer`: {wall} ms ({cpu} CPU, "
        f"{cost.modules} modules); in a process that has langchain_core's prompts and runnables, "
        f"median of {cost.processes} fresh processes."
    )
