"""A worker process: answers within the trace whose `traceparent` it is given."""

from __future__ import annotations

import sys

from opentelemetry.propagate import extract
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_spans import ask

from chopsky_trace import SupabaseSpanExporter

exporter = SupabaseSpanExporter()
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(exporter))
tracer = provider.get_tracer("worker")
with tracer.start_as_current_span("answer", context=extract({"traceparent": sys.argv[1]})):
    ask(tracer, "Are you there?", "Here.")
provider.shutdown()
sys.exit(0 if exporter.force_flush() else 1)
