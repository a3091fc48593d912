"""A RAG chain: retriever | prompt | model | parser.

The transcript has the question and the answer; the prompt stuffed with recipes is internal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from uuid import uuid4

from kitchen import RecipeRetriever, chat_model
from landed import choose_database, show_session
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from chopsky_trace import SupabaseTracer

QUESTIONS = ["What do I need for hummus?", "How long does tomato soup take?"]
PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer in one sentence, and only from the recipes you are given."),
        ("human", "Recipes:\n{recipes}\n\nQuestion: {question}"),
    ]
)


def as_text(documents: Sequence[Document]) -> str:
    """The documents as the prompt has them, a line each."""
    return "\n".join(document.page_content for document in documents)


def build_chain(model: BaseChatModel) -> Runnable[str, str]:
    """Question in, answer out."""
    found = {"recipes": RecipeRetriever() | RunnableLambda(as_text), "question": RunnablePassthrough()}
    return (found | PROMPT | model | StrOutputParser()).with_config(run_name="recipe_rag")


def script(messages: Sequence[BaseMessage]) -> AIMessage:
    """What the scripted model says: from the best recipe of the prompt."""
    recipes, _, question = str(messages[-1].text).removeprefix("Recipes:\n").partition("\n\nQuestion: ")
    best = recipes.partition("\n")[0]
    name, _, text = best.partition(": ")
    ingredients, _, steps = text.partition(". ")
    if minutes := re.search(r"(\d+) minutes", steps) if question.startswith("How long") else None:
        return AIMessage(f"{name} takes about {minutes[1]} minutes.")
    return AIMessage(f"For {name.lower()} you need {ingredients}.")


def main() -> int:
    """Ask two questions, then show what landed. Exit code 1 where not everything was written."""
    database = choose_database()
    model, which = chat_model(script)
    chain = build_chain(model)
    session_id = f"rag-{uuid4().hex[:8]}"
    tracer = SupabaseTracer(
        project="chef-chopsky", environment="demo", user_id="ada", session_id=session_id, tags=["example"]
    )
    print(f"Database: {database}\nModel: {which}\n")
    for question in QUESTIONS:
        print(f"  you   {question}\n  chef  {chain.invoke(question, {'callbacks': [tracer]})}")
    if not tracer.flush(30):
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "--messages", "--tree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
