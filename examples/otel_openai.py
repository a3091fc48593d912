"""The OpenAI SDK with OpenTelemetry's own instrumentation: no framework, a loop by hand.

That instrumentation knows nothing of sessions and users: the application says so on a span of its own, and it holds for
the whole trace.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from uuid import uuid4

from landed import choose_database, show_session
from openai import OpenAI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from stand_in import MODEL, TOOLS, provider, recipe

from chopsky_trace import SupabaseSpanExporter

QUESTIONS = ["What do I need for hummus?", "And for tomato soup?"]


def turn(client: OpenAI, messages: list[Any]) -> str:
    """Ask until there is an answer."""
    while True:
        said = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0].message
        messages.append(said.model_dump(exclude_none=True))
        if not said.tool_calls:
            return said.content or ""
        for call in said.tool_calls:
            found = recipe(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": found})


def main() -> int:
    """Ask two questions, then show what landed. Exit code 1 where not everything was written."""
    # Off by default: without it there are tokens and times, but no messages.
    os.environ.setdefault("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    database = choose_database()
    exporter = SupabaseSpanExporter(project="chef-chopsky", environment="demo")
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    OpenAIInstrumentor().instrument(tracer_provider=traces)
    tracer = traces.get_tracer("chef")
    session_id = f"openai-{uuid4().hex[:8]}"
    messages: list[Any] = [{"role": "system", "content": "You are a cook. Look recipes up."}]
    with provider() as (arguments, which):
        print(f"Database: {database}\nModel: {which}\n")
        client = OpenAI(**arguments)
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            with tracer.start_as_current_span("turn", attributes={"session.id": session_id, "user.id": "ada"}):
                print(f"  you   {question}\n  chef  {turn(client, messages)}")
    traces.shutdown()
    if not exporter.force_flush():
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "", "--messages", "--tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
