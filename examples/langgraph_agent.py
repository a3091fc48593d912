"""Chef Chopsky: a LangGraph agent with two tools and a retriever, three turns of one session. `make demo` runs this.

It records into the database that CHOPSKY_TRACE_DATABASE_URL names, or into an embedded PostgreSQL, then shows what
landed.
With OPENAI_API_KEY or ANTHROPIC_API_KEY the model is a real one; without, a scripted one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from kitchen import RecipeRetriever, chat_model, is_scripted, words
from landed import choose_database, show_next_steps, show_session
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import tools_condition

from chopsky_trace import SupabaseTracer

SYSTEM = (
    "You are Chef Chopsky. Look recipes up with find_recipes, never invent one; see what is there with check_pantry. "
    "Be brief."
)
PANTRY = {"chickpeas", "onion", "garlic", "cumin", "eggs", "butter", "lemon"}
TURNS = [
    "What can I cook tonight with chickpeas and spinach?",
    "Do I have everything for the stew?",
    "Then give me the steps, and what to buy.",
]


def kitchen_tools() -> list[BaseTool]:
    """The agent's two tools; the pantry cannot be reached at first, and answers when it is asked again."""
    retriever = RecipeRetriever()
    asked: list[list[str]] = []

    @tool
    def find_recipes(query: str) -> str:
        """Find recipes for ingredients or the name of a dish."""
        return "\n".join(document.page_content for document in retriever.invoke(query)) or "No such recipe."

    @tool
    def check_pantry(ingredients: list[str]) -> str:
        """Say which of these ingredients are in the pantry and which are missing."""
        asked.append(ingredients)
        if len(asked) == 1:
            raise ConnectionError("the pantry's door sensor did not answer")
        there = [item for item in ingredients if item in PANTRY]
        missing = [item for item in ingredients if item not in PANTRY]
        return f"There: {', '.join(there) or 'nothing'}. Missing: {', '.join(missing) or 'nothing'}."

    return [find_recipes, check_pantry]


def build_agent(model: BaseChatModel) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The model speaks; what it asks of tools is tried up to three times; a checkpointer keeps the thread."""
    tools = kitchen_tools()
    chef = model.bind_tools(tools)
    by_name = {
        each.name: each.with_retry(
            retry_if_exception_type=(ConnectionError,), wait_exponential_jitter=False, stop_after_attempt=3
        )
        for each in tools
    }

    def speak(state: MessagesState) -> dict[str, list[BaseMessage]]:
        return {"messages": [chef.invoke([SystemMessage(SYSTEM), *state["messages"]])]}

    def use_tools(state: MessagesState) -> dict[str, list[BaseMessage]]:
        last = state["messages"][-1]
        calls = last.tool_calls if isinstance(last, AIMessage) else []
        return {"messages": [by_name[call["name"]].invoke({**call, "type": "tool_call"}) for call in calls]}

    graph = StateGraph(MessagesState)
    graph.add_node("chef", speak)
    graph.add_node("tools", use_tools)
    graph.add_edge(START, "chef")
    graph.add_conditional_edges("chef", tools_condition)
    graph.add_edge("tools", "chef")
    return graph.compile(checkpointer=InMemorySaver(), name="chef_chopsky")


def script(messages: Sequence[BaseMessage]) -> AIMessage:
    """What the scripted chef says: it decides from the last message and answers from what the tools returned."""
    last = messages[-1]
    found = next(
        (str(m.text) for m in reversed(messages) if isinstance(m, ToolMessage) and m.name == "find_recipes"), ""
    )
    name, _, text = found.partition("\n")[0].partition(": ")
    ingredients, _, steps = text.partition(". ")
    if isinstance(last, ToolMessage):
        if last.name == "find_recipes":
            return AIMessage(f"{name}!\nYou need {ingredients}.")
        missing = str(last.text).rpartition("Missing: ")[2].rstrip(".")
        return AIMessage(f"Nearly. You still need {missing}; the rest is in the pantry.")
    if "have" in words(str(last.text)):
        return _call("check_pantry", ingredients=ingredients.split(", "))
    if "steps" in words(str(last.text)):
        told = next(str(m.text) for m in reversed(messages[:-1]) if isinstance(m, AIMessage) and "still need" in m.text)
        buy = re.sub(r".*still need (.*?);.*", r"\1", told)
        lines = [f"{number}. {step}." for number, step in enumerate(steps.rstrip(".").split(". "), 1)]
        return AIMessage("\n".join([*lines, f"To buy: {buy}. Enjoy!"]))
    return _call("find_recipes", query=" ".join(sorted({"chickpeas", "spinach"} & words(str(last.text)))))


def _call(name: str, **args: Any) -> AIMessage:
    return AIMessage(
        "", tool_calls=[{"name": name, "args": args, "id": f"call_{uuid4().hex[:12]}", "type": "tool_call"}]
    )


def indented(text: str) -> str:
    """A text whose further lines stand below the first."""
    return text.replace("\n", "\n        ")


def converse(agent: CompiledStateGraph[Any, Any, Any, Any], config: RunnableConfig) -> None:
    """Three turns: two answered at once, the last one streamed."""
    for turn in TURNS[:-1]:
        print(f"  you   {turn}")
        answer = agent.invoke({"messages": [HumanMessage(turn)]}, config)["messages"][-1]
        print(f"  chef  {indented(str(answer.text))}")
    print(f"  you   {TURNS[-1]}\n  chef  ", end="")
    for chunk, _ in agent.stream({"messages": [HumanMessage(TURNS[-1])]}, config, stream_mode="messages"):
        print(indented(str(chunk.text)), end="", flush=True)
    print()


def main() -> int:
    """Talk, then show what landed. Exit code 1 where not everything was written."""
    database = choose_database()
    model, which = chat_model(script, pause_s=0.01)
    session_id = f"kitchen-{uuid4().hex[:8]}"
    tags = ["demo", "scripted"] if is_scripted(model) else ["demo"]
    tracer = SupabaseTracer(project="chef-chopsky", environment="demo", user_id="ada", tags=tags)
    print(f"Database: {database}\nModel: {which}\n")
    converse(build_agent(model), {"callbacks": [tracer], "configurable": {"thread_id": session_id}})
    if not tracer.flush(30):
        print("Not everything is written yet; `chopsky-trace status` says why.", file=sys.stderr)
        return 1
    show_session(session_id, "", "--tree")
    show_next_steps()
    return 0


if __name__ == "__main__":
    sys.exit(main())
