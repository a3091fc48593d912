"""What the examples share: Chef Chopsky's recipes, a retriever over them, and a chat model that needs no key."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool

RECIPES = {
    "Chickpea and spinach stew": "chickpeas, spinach, onion, garlic, cumin, tomatoes. Fry the onion, garlic and cumin. "
    "Add the tomatoes and chickpeas. Simmer for 15 minutes. Stir in the spinach.",
    "Shakshuka": "eggs, tomatoes, peppers, onion, paprika. Cook the vegetables for 20 minutes. Crack the eggs on top. "
    "Cover until they set.",
    "Spinach omelette": "eggs, spinach, butter. Wilt the spinach in the butter. Pour the beaten eggs over it. Fold.",
    "Tomato soup": "tomatoes, onion, garlic, stock, cream. Simmer all but the cream for 25 minutes. Blend. Stir the "
    "cream in.",
    "Hummus": "chickpeas, tahini, lemon, garlic. Blend with a little ice water until smooth.",
}

Script = Callable[[Sequence[BaseMessage]], AIMessage]
"""What a scripted model says to a prompt."""


def words(text: str) -> set[str]:
    """The lower-case words of a text that are long enough to mean something."""
    return {word for word in re.findall(r"[a-z]+", text.lower()) if len(word) > 3}


class RecipeRetriever(BaseRetriever):
    """Recipes that share the most words with the query, best first."""

    at_most: int = 2

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        wanted = words(query)
        scored = [(len(wanted & words(f"{name} {text}")), name, text) for name, text in RECIPES.items()]
        scored.sort(key=lambda item: -item[0])
        return [
            Document(page_content=f"{name}: {text}", metadata={"recipe": name, "score": score})
            for score, name, text in scored[: self.at_most]
            if score
        ]


def _tokens(message: BaseMessage) -> int:
    """About four characters a token, as English has it; a real provider counts exactly."""
    calls = message.tool_calls if isinstance(message, AIMessage) else ()
    return len(str(message.text)) // 4 + 4 + sum(len(str(call["args"])) // 4 + 8 for call in calls)


class ScriptedChef(BaseChatModel):
    """A chat model that follows a script instead of asking a provider: same messages in, same messages out.

    It reports what a real one reports (tool calls, streamed chunks, token usage), under a model name that has a price,
    so that tokens, cost and response times can be looked at without a key. Nothing is sent and nothing is paid.
    """

    script: Script
    priced_as: str = "gpt-4o-mini"
    pause_s: float = 0.0
    """Wait before each streamed chunk, so that streaming can be seen."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=self.priced_as, ls_model_type="chat")

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The same model with these tools in its calls' parameters."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        answer = self.script(messages)
        asked, said = sum(map(_tokens, messages)), _tokens(answer)
        answer.usage_metadata = UsageMetadata(input_tokens=asked, output_tokens=said, total_tokens=asked + said)
        answer.response_metadata = {
            "model_name": self.priced_as,
            "finish_reason": "tool_calls" if answer.tool_calls else "stop",
        }
        return answer

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages)
        pieces = [AIMessageChunk(content=piece) for piece in re.findall(r"\S+\s*", str(answer.text))]
        last = AIMessageChunk(
            content="",
            tool_call_chunks=[
                {
                    "type": "tool_call_chunk",
                    "id": call["id"],
                    "name": call["name"],
                    "args": json.dumps(call["args"]),
                    "index": place,
                }
                for place, call in enumerate(answer.tool_calls)
            ],
            usage_metadata=answer.usage_metadata,
            response_metadata=answer.response_metadata,
            chunk_position="last",
        )
        for message in [*pieces, last]:
            time.sleep(self.pause_s)
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(str(message.text), chunk=chunk)
            yield chunk


def chat_model(script: Script, *, pause_s: float = 0.0) -> tuple[BaseChatModel, str]:
    """A chat model and a sentence that says which: the real one where there is a key for it, else the scripted one."""
    if os.environ.get("OPENAI_API_KEY") and importlib.util.find_spec("langchain_openai"):
        from langchain_openai import ChatOpenAI

        paid = "OpenAI's gpt-4o-mini, with your OPENAI_API_KEY: these calls are paid."
        return ChatOpenAI(model="gpt-4o-mini", stream_usage=True), paid
    if os.environ.get("ANTHROPIC_API_KEY") and importlib.util.find_spec("langchain_anthropic"):
        from langchain_anthropic import ChatAnthropic

        paid = "Anthropic's claude-haiku-4-5, with your ANTHROPIC_API_KEY: these calls are paid."
        return ChatAnthropic(model_name="claude-haiku-4-5", timeout=60, stop=None), paid
    model = ScriptedChef(script=script, pause_s=pause_s)
    return model, f"scripted: nothing is sent or paid. Priced as {model.priced_as}, for show."


def is_scripted(model: BaseChatModel) -> bool:
    """Whether a model is the scripted one."""
    return isinstance(model, ScriptedChef)
