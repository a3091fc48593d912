"""An application that keeps its conversations itself, with the tracer beside it: each message is stored once.

The store has what was said, titles and states; the tracer adds calls, tokens, cost and times to the same conversation.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from kitchen import chat_model
from landed import choose_database, show_session
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from chopsky_trace import AsyncConversationStore, SupabaseTracer

GREETING = "Chef Chopsky here. What is in your pantry?"
TURNS = ["Eggs and spinach.", "No butter.", "Thanks!"]


def script(messages: Sequence[BaseMessage]) -> AIMessage:
    """What the scripted model says."""
    said = [str(message.text) for message in messages]
    if said[-1].startswith("Thanks"):
        return AIMessage("You are welcome.")
    return AIMessage("Fry it in olive oil." if "No butter." in said else "Make a spinach omelette.")


async def answer(store: AsyncConversationStore, model: BaseChatModel, tracer: SupabaseTracer, conversation: str) -> str:
    """Ask the model with the conversation so far, and keep what it says."""
    history = [(row["role"], row["content"]) for row in await store.get_messages(conversation, limit=20)]
    # The same session and user as the conversation's: what the tracer records belongs to it.
    metadata = {"session_id": conversation, "user_id": "ada"}
    said = await model.ainvoke(history, {"callbacks": [tracer], "metadata": metadata})
    await store.add_message(conversation, "assistant", said.text, metadata={"shown_in": "web"})
    return said.text


async def talk() -> int:
    """Three turns, then what is stored. Exit code 1 where not everything was written."""
    print(f"Database: {choose_database()}")
    model, which = chat_model(script)
    print(f"Model: {which}\n")
    tracer = SupabaseTracer(project="chef-chopsky", environment="demo", tags=["example"])
    store = AsyncConversationStore(ttl_hours=24)
    conversation = await store.create_conversation(user_id="ada", title="Dinner", metadata={"channel": "web"})
    await store.add_message(conversation, "assistant", GREETING)
    await store.move(conversation, "gathering")
    for turn in TURNS:
        await store.add_message(conversation, "user", turn)
        print(f"  you   {turn}\n  chef  {await answer(store, model, tracer, conversation)}")
    await store.complete(conversation)
    if not await asyncio.to_thread(tracer.flush, 30):
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    exported = await store.export_conversation(conversation)
    print(f"\n{json.dumps(exported, indent=2)}\n")
    for listed in await store.get_user_conversations("ada", limit=1):
        print(f"Latest of ada's: {listed['title']}, {listed['state']}, until {listed['expires_at']:%Y-%m-%d %H:%M}")
    await store.close()
    show_session(conversation, "--messages")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(talk()))
