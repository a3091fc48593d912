"""An agent's two turns with LangChain's callback and LangSmith's OpenTelemetry mode, which is a whole process's."""

from __future__ import annotations

import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from chopsky_trace import SupabaseSpanExporter, SupabaseTracer

exporter = SupabaseSpanExporter()
traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(traces)

# LangSmith takes the provider that is there when its client is made.
from langchain_core.tracers.langchain import wait_for_all_tracers  # noqa: E402
from test_both_ways import hold  # noqa: E402

tracer = SupabaseTracer()
hold(sys.argv[1], tracer)
wait_for_all_tracers()
traces.shutdown()
sys.exit(0 if exporter.force_flush() and tracer.flush(20) else 1)
