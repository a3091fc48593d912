"""A pydantic-ai agent with a tool, traced by pydantic-ai's own instrumentation."""

from __future__ import annotations

import sys
from uuid import uuid4

from landed import choose_database, show_session
from openai import AsyncOpenAI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_ai import Agent, InstrumentationSettings
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from stand_in import MODEL, provider, recipe

from chopsky_trace import SupabaseSpanExporter

QUESTIONS = ["What do I need for hummus?", "And for tomato soup?"]


def main() -> int:
    """Ask two questions, then show what landed. Exit code 1 where not everything was written."""
    database = choose_database()
    exporter = SupabaseSpanExporter(project="chef-chopsky", environment="demo", user_id="ada")
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(exporter))
    session_id = f"pydantic-ai-{uuid4().hex[:8]}"
    with provider() as (arguments, which):
        print(f"Database: {database}\nModel: {which}\n")
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=AsyncOpenAI(**arguments)))
        agent = Agent(
            model,
            name="chef",
            instructions="You are a cook. Look recipes up.",
            tools=[recipe],
            capabilities=[Instrumentation(settings=InstrumentationSettings(tracer_provider=traces))],
        )
        history = None
        for question in QUESTIONS:
            # Without a conversation id of ours pydantic-ai makes one up.
            done = agent.run_sync(question, message_history=history, conversation_id=session_id)
            history = done.all_messages()
            print(f"  you   {question}\n  chef  {done.output}")
    traces.shutdown()
    if not exporter.force_flush():
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "", "--messages", "--tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
