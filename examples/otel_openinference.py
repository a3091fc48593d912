"""The OpenAI SDK with OpenInference's instrumentation, whose context managers name session and user."""

from __future__ import annotations

import sys
from typing import Any
from uuid import uuid4

from landed import choose_database, show_session
from openai import OpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from otel_openai import QUESTIONS, turn
from stand_in import provider

from chopsky_trace import SupabaseSpanExporter


def main() -> int:
    """Ask two questions, then show what landed. Exit code 1 where not everything was written."""
    database = choose_database()
    exporter = SupabaseSpanExporter(project="chef-chopsky", environment="demo")
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    OpenAIInstrumentor().instrument(tracer_provider=traces)
    tracer = traces.get_tracer("chef")
    session_id = f"openinference-{uuid4().hex[:8]}"
    messages: list[Any] = [{"role": "system", "content": "You are a cook. Look recipes up."}]
    with provider() as (arguments, which):
        print(f"Database: {database}\nModel: {which}\n")
        client = OpenAI(**arguments)
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            # One trace a turn: without a span around it every call would be a trace of its own.
            with using_attributes(session_id=session_id, user_id="ada"), tracer.start_as_current_span("turn"):
                print(f"  you   {question}\n  chef  {turn(client, messages)}")
    traces.shutdown()
    if not exporter.force_flush():
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "", "--messages", "--tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
