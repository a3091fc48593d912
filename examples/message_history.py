"""RunnableWithMessageHistory: the history is sent again with every turn, and each message is stored once.

LangChain deprecates the class in favour of LangGraph's checkpointers (see langgraph_agent.py); many still have it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from uuid import uuid4

from kitchen import RECIPES, chat_model, words
from landed import choose_database, show_session
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.chat_history import BaseChatMessageHistory, InMemoryChatMessageHistory
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables.history import RunnableWithMessageHistory

from chopsky_trace import SupabaseTracer

TURNS = ["I have eggs and spinach.", "And some butter, too.", "So what shall I cook?", "Thanks!", "Thanks!"]
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "You are Chef Chopsky. Be brief."),
        MessagesPlaceholder("history"),
        ("human", "{question}"),
    ]
)


def build_chain(model: BaseChatModel) -> RunnableWithMessageHistory:
    """Question in, message out; one history per session_id of `configurable`."""
    histories: dict[str, BaseChatMessageHistory] = {}

    def history(session_id: str) -> BaseChatMessageHistory:
        return histories.setdefault(session_id, InMemoryChatMessageHistory())

    return RunnableWithMessageHistory(
        PROMPT | model, history, input_messages_key="question", history_messages_key="history"
    )


def script(messages: Sequence[BaseMessage]) -> AIMessage:
    """What the scripted model says: it needs the earlier turns to name a dish."""
    last = str(messages[-1].text)
    named = words(" ".join(str(message.text) for message in messages if isinstance(message, HumanMessage)))
    if last.startswith("So"):
        best = max(RECIPES, key=lambda name: len(words(RECIPES[name].partition(".")[0]) & named))
        return AIMessage(f"Make the {best.lower()}.")
    return AIMessage("You are welcome." if last.startswith("Thanks") else "Noted.")


def main() -> int:
    """Five turns, the last two alike, then what landed. Exit code 1 where not everything was written."""
    database = choose_database()
    warnings.simplefilter("ignore", LangChainDeprecationWarning)
    model, which = chat_model(script)
    chain = build_chain(model)
    session_id = f"history-{uuid4().hex[:8]}"
    tracer = SupabaseTracer(project="chef-chopsky", environment="demo", user_id="ada", tags=["example"])
    print(f"Database: {database}\nModel: {which}\n")
    for turn in TURNS:
        # No session for the tracer: it takes session_id from `configurable`.
        answer = chain.invoke({"question": turn}, {"callbacks": [tracer], "configurable": {"session_id": session_id}})
        print(f"  you   {turn}\n  chef  {answer.text}")
    if not tracer.flush(30):
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "--messages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
