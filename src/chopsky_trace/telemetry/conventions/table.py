"""The table: each concept, and the attributes that say it, the most trustworthy first, whatever the convention.

To read one more convention, add its names here. Beside them stand the words that their values use.

GenAI semantic conventions (up to 1.36, from 1.37, and coming), OpenInference, OpenLLMetry (old and new), LangSmith,
pydantic-ai and Logfire, OpenLIT, MLflow, Langfuse, LiteLLM, Vercel's AI SDK (6 and 7), Anthropic's SDK itself,
Google's ADK.
"""

from __future__ import annotations

from chopsky_trace.records import Kind

Names = tuple[str, ...]

# --- What a span is ---------------------------------------------------------------------------------------------------

_LANGCHAIN_KINDS: dict[str, Kind] = {
    "llm": "llm",
    "chain": "chain",
    "agent": "agent",
    "tool": "tool",
    "retriever": "retriever",
    "embedding": "embedding",
    "prompt": "prompt",
    "parser": "parser",
}
_OPERATIONS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "chat",
            "text_completion",
            "chat.completions",
            "text.completions",
            "chat_completion",
            "completion",
            "generate_content",
            "responses",
            "anthropic_messages",
            "acompletion",
            "atext_completion",
            "agenerate_content",
            "aresponses",
        ),
        "llm",
    ),
    **dict.fromkeys(("embeddings", "embedding", "aembedding", "aembeddings"), "embedding"),
    **dict.fromkeys(
        ("image_generation", "aimage_generation", "image", "generate_image", "text_to_image", "image_edit"), "image"
    ),
    **dict.fromkeys(("execute_tool", "tool", "call_tool"), "tool"),
    **dict.fromkeys(("invoke_agent", "agent", "handle_conversation_turn"), "agent"),
    **dict.fromkeys(("invoke_workflow", "workflow", "chain", "execute_task", "task", "agent_step", "plan"), "chain"),
    **dict.fromkeys(("retrieval", "retrieve", "retriever", "vector_db_retrieve", "vectordb"), "retriever"),
    "prompt": "prompt",
    "parser": "parser",
    # Whatever tokens these repeat were another call's: fetch_response, the memory operations, rerank.
    **dict.fromkeys(("fetch_response", "rerank", "arerank"), "other"),
}
MAKES_AN_AGENT = "create_agent"
"""An agent is made, by some in a trace of its own: no model is asked, and nothing is said."""
# The first that is there and says a known word decides. Values are compared in lower case, MLflow's without quotes.
KINDS: tuple[tuple[str, dict[str, Kind]], ...] = (
    # LangSmith calls a retriever's operation `embeddings` and a prompt's `chat`: its own kind goes first.
    ("langsmith.span.kind", _LANGCHAIN_KINDS),
    (
        "openinference.span.kind",
        {**_LANGCHAIN_KINDS, "reranker": "retriever", "guardrail": "chain", "evaluator": "chain", "unknown": "other"},
    ),
    (
        "langfuse.observation.type",
        {
            **_LANGCHAIN_KINDS,
            "generation": "llm",
            "span": "chain",
            "evaluator": "chain",
            "guardrail": "chain",
            "event": "other",
        },
    ),
    (
        "mlflow.spanType",
        {
            **_LANGCHAIN_KINDS,
            "chat_model": "llm",
            "task": "chain",
            "workflow": "chain",
            "unknown": "chain",
            "evaluator": "chain",
            "guardrail": "chain",
            "reranker": "retriever",
            "memory": "other",
        },
    ),
    (
        "ai.operationId",
        {
            **dict.fromkeys(
                (
                    "ai.generatetext.dogenerate",
                    "ai.streamtext.dostream",
                    "ai.generateobject.dogenerate",
                    "ai.streamobject.dostream",
                ),
                "llm",
            ),
            **dict.fromkeys(("ai.embed.doembed", "ai.embedmany.doembed"), "embedding"),
            "ai.generateimage.dogenerate": "image",
            "ai.toolcall": "tool",
            # Each of these has the calls that it made below it, and repeats their tokens.
            **dict.fromkeys(("ai.generatetext", "ai.streamtext", "ai.generateobject", "ai.streamobject"), "agent"),
            **dict.fromkeys(("ai.embed", "ai.embedmany", "ai.generateimage"), "chain"),
            **dict.fromkeys(("ai.rerank", "ai.rerank.dorerank"), "other"),
        },
    ),
    ("gen_ai.operation.name", _OPERATIONS),
    ("llm.request.type", {**_OPERATIONS, "rerank": "other", "unknown": "llm"}),
    ("traceloop.span.kind", {"workflow": "chain", "task": "chain", "agent": "agent", "tool": "tool"}),
)
# Which of them are there only where a span is about a model, an agent, a tool or retrieval.
GENAI_PREFIXES = (
    "gen_ai.",
    "llm.",
    "openinference.",
    "langsmith.",
    "langfuse.observation.",
    "mlflow.",
    "ai.",
    "pydantic_ai.",
    "litellm.",
    "embedding.",
    "retrieval.",
    "anthropic.",
    "gcp.vertex.agent.",
)
ABOUT_THE_TRACE = frozenset(
    (
        "gen_ai.conversation.id",
        "gen_ai.user",
        "gen_ai.user.id",
        "gen_ai.request.user",
        "gen_ai.agent.name",
        "gen_ai.agent.id",
        "gen_ai.agent.description",
        "gen_ai.workflow.name",
        "mlflow.trace.session",
        "mlflow.trace.user",
        "llm.user",
    )
)
"""What applications put on any span so that it is known of the whole trace."""
LOGFIRE_AGENTS = "logfire.openai_agents"
GENAI_SCOPES = (LOGFIRE_AGENTS, "pydantic-ai", "openlit.instrumentation.", "gcp.vertex.agent")
"""Instrumentors that leave some spans without any attribute, failed calls too."""
LITELLM = ("litellm", "openinference.instrumentation.litellm")
"""Whose models' names begin with whom to ask."""
RAW_REQUEST = "raw_gen_ai_request"
"""LiteLLM's second span of each call: what its provider was sent, and said."""
ADK_SCOPE, ADK_CALL = "gcp.vertex.agent", "call_llm"
"""Google's ADK says by their name alone which of its spans are calls."""
LLAMA_INDEX = "openinference.instrumentation.llama_index"
INTEGRATION, LANGCHAIN_AGENT = "langsmith.metadata.ls_integration", "langchain_create_agent"
"""LangSmith calls an agent's root a chain; LangChain says that it made an agent."""
AN_AGENT: Names = ("agent_name", "final_result", "pydantic_ai.all_messages", "all_messages_events")
"""pydantic-ai's agents: they repeat their calls' tokens, in old versions without saying what they are."""

# --- Which model, which answer ----------------------------------------------------------------------------------------

PROVIDER: Names = (
    "gen_ai.provider.name",
    "langsmith.metadata.ls_provider",
    "gen_ai.system",
    "llm.provider",
    "ai.model.provider",
    "llm.system",
    "mlflow.llm.provider",
    "langfuse.observation.metadata.ls_provider",
    "traceloop.association.properties.ls_provider",
    "error.llm_provider",
    "embedding.provider",
    # Whose API's form it was: an address, where there is one, corrects it.
    "mlflow.message.format",
)
LANGFUSE_OPENAI = "OpenAI-"
"""How the names of spans begin that Langfuse's wrapper of OpenAI's SDK makes; they do not say the provider."""
ADDRESS: Names = ("gen_ai.openai.api_base", "server.address")
"""Where the call went: a gateway or another vendor behind OpenAI's interface."""
MODEL_REQUESTED: Names = (
    "gen_ai.request.model",
    "llm.request.model_name",
    "ai.model.id",
    "langsmith.metadata.ls_model_name",
    "langfuse.observation.metadata.ls_model_name",
    "model",
    "litellm.provider.model",
    "model_name",
)
MODEL: Names = (
    "gen_ai.response.model",
    "ai.response.model",
    "llm.response.model_name",
    "llm.model_name",
    "langfuse.observation.model.name",
    "mlflow.llm.model",
    "embedding.model_name",
)
NAMED_WITH_MODEL = ("chat", "text_completion", "generate_content", "embeddings")
"""Operations that a span's name may begin with, before the model's name."""
RESPONSE_ID: Names = ("gen_ai.response.id", "ai.response.id", "response_id")
FINISH_REASON: Names = (
    "gen_ai.response.finish_reasons",
    "gen_ai.response.finish_reason",
    "ai.response.finishReason",
    "llm.finish_reason",
    "anthropic.message.stop_reason",
    "gen_ai.completion.0.finish_reason",
    "llm.completions.0.finish_reason",
)
OUTPUT_MESSAGES = "gen_ai.output.messages"
FINISH_REASONS = {
    **dict.fromkeys(
        ("stop", "end_turn", "stop_sequence", "stop_sequences", "end", "eos", "eos_token", "complete"),
        "stop",
    ),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "max_length", "token_limit"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call", "function_calls"), "tool_calls"),
    **dict.fromkeys(
        ("content_filter", "content_filtered", "guardrail_intervened", "safety", "refusal", "blocklist"),
        "content_filter",
    ),
}
"""What providers and instrumentors call them, in lower case with underscores -> one vocabulary. Others stay."""
OUTPUT_PAYLOADS: Names = (
    "output.value",
    "mlflow.spanOutputs",
    "gen_ai.completion",
    "langfuse.observation.output",
    "gcp.vertex.agent.llm_response",
    "response",
)
"""Attributes that hold a provider's or LangChain's whole answer: what has no attribute of its own may be in there."""
FIRST_TOKEN: tuple[tuple[str, float], ...] = (
    ("gen_ai.response.time_to_first_chunk", 1000.0),
    ("gen_ai.client.operation.time_to_first_chunk", 1000.0),
    ("ai.response.msToFirstChunk", 1.0),
    ("gen_ai.server.time_to_first_token", 1000.0),
    ("gen_ai.latency.time_to_first_token", 1000.0),
    ("llm.latency.time_to_first_token", 1000.0),
)
"""And how many milliseconds its unit has."""
FIRST_TOKEN_TIME: Names = ("langfuse.observation.completion_start_time",)
FIRST_TOKEN_EVENTS = frozenset(
    (
        "First Token Stream Event",
        "gen_ai.content.completion.chunk",
        "llm.content.completion.chunk",
        "mlflow.chunk.item.0",
        "ai.stream.firstChunk",
    )
)
CHUNK_EVENT, CHUNK = "mlflow.chunk.item.0", "mlflow.chunk.value"
"""MLflow's first chunk of a stream: all that is told of the answer where it broke off."""

# --- Usage ------------------------------------------------------------------------------------------------------------

# Where each count goes: (whole or part, names). Wholes include their parts in nearly all conventions.
WHOLES: tuple[tuple[str, Names], ...] = (
    (
        "input_tokens",
        (
            "gen_ai.usage.input_tokens",
            "ai.usage.inputTokens",
            "gen_ai.usage.prompt_tokens",
            "llm.token_count.prompt",
            "ai.usage.promptTokens",
            "ai.usage.tokens",
            "llm.usage.prompt_tokens",
        ),
    ),
    (
        "output_tokens",
        (
            "gen_ai.usage.output_tokens",
            "ai.usage.outputTokens",
            "gen_ai.usage.completion_tokens",
            "llm.token_count.completion",
            "ai.usage.completionTokens",
            "llm.usage.completion_tokens",
        ),
    ),
    (
        "total_tokens",
        (
            "gen_ai.usage.total_tokens",
            "ai.usage.totalTokens",
            "llm.usage.total_tokens",
            "llm.token_count.total",
        ),
    ),
)
INPUT_PARTS: tuple[tuple[str, Names], ...] = (
    (
        "cache_read",
        (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_read_input_tokens",
            "gen_ai.usage.cached_tokens",
        ),
    ),
    (
        "cache_creation",
        (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.cache_creation_input_tokens",
        ),
    ),
    ("ephemeral_5m_input_tokens", ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",)),
    ("ephemeral_1h_input_tokens", ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",)),
    (
        "audio",
        (
            "gen_ai.usage.audio.input_tokens",
            "llm.token_count.prompt_details.audio",
            "gen_ai.usage.details.input_audio_tokens",
        ),
    ),
    ("image", ("gen_ai.usage.image.input_tokens",)),
    ("video", ("gen_ai.usage.video.input_tokens",)),
)
OUTPUT_PARTS: tuple[tuple[str, Names], ...] = (
    (
        "reasoning",
        (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
        ),
    ),
    (
        "audio",
        (
            "gen_ai.usage.audio.output_tokens",
            "llm.token_count.completion_details.audio",
            "gen_ai.usage.details.output_audio_tokens",
        ),
    ),
    ("image", ("gen_ai.usage.image.output_tokens",)),
    ("video", ("gen_ai.usage.video.output_tokens",)),
)
OPENLLMETRY_LANGCHAIN = "opentelemetry.instrumentation.langchain"
USAGE_OBJECTS: Names = ("langsmith.metadata.usage_metadata", "mlflow.chat.tokenUsage")
"""Usage as JSON, wholes including parts, in LangChain's shape or flat."""
PROVIDER_USAGE: Names = ("gen_ai.usage.raw", "metadata.usage_object")
"""What the provider itself said, as JSON or a Python repr."""
LANGFUSE_USAGE = "langfuse.observation.usage_details"
COST: Names = (
    "operation.cost",
    "gen_ai.cost.total_cost",
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    "llm.cost.total",
)
COST_OBJECTS: Names = ("langfuse.observation.cost_details", "mlflow.llm.cost")
SERVICE_TIER: Names = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "anthropic.response.service_tier",
    "gen_ai.response.service_tier",
)

# --- Parameters -------------------------------------------------------------------------------------------------------

PARAMS = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.top_k": "top_k",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.reasoning_effort": "reasoning_effort",
    "gen_ai.request.encoding_formats": "encoding_format",
    "gen_ai.request.tool_choice": "tool_choice",
    "gen_ai.request.stream": "stream",
    "gen_ai.is_streaming": "stream",
    "llm.is_streaming": "stream",
    "gen_ai.openai.request.service_tier": "service_tier",
    "openai.request.service_tier": "service_tier",
    "gen_ai.openai.request.response_format": "response_format",
    "gen_ai.openai.request.seed": "seed",
    "gen_ai.request.previous_response.id": "previous_response_id",
    "gen_ai.embeddings.dimension.count": "dimensions",
    "llm.top_k": "top_k",
    "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
    "llm.chat.stop_sequences": "stop",
    "ai.settings.temperature": "temperature",
    "ai.settings.maxOutputTokens": "max_tokens",
    "ai.settings.maxTokens": "max_tokens",
    "ai.settings.topP": "top_p",
    "ai.settings.topK": "top_k",
    "ai.settings.seed": "seed",
    "ai.settings.stopSequences": "stop",
    "ai.settings.frequencyPenalty": "frequency_penalty",
    "ai.settings.presencePenalty": "presence_penalty",
    "ai.prompt.toolChoice": "tool_choice",
    "langsmith.metadata.ls_temperature": "temperature",
    "langsmith.metadata.ls_max_tokens": "max_tokens",
    "langsmith.metadata.ls_stop": "stop",
    "langsmith.metadata.tool_choice": "tool_choice",
    "langsmith.metadata.top_p": "top_p",
    "langsmith.metadata.seed": "seed",
    "langsmith.metadata.reasoning_effort": "reasoning_effort",
    "langsmith.metadata.reasoning": "reasoning",
    "langsmith.metadata.parallel_tool_calls": "parallel_tool_calls",
    "langfuse.observation.metadata.ls_temperature": "temperature",
    "langfuse.observation.metadata.ls_max_tokens": "max_tokens",
}
"""As LangChain's invocation parameters are called."""
REQUEST_PARAMS = frozenset(
    (
        "temperature",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "stop_sequences",
        "frequency_penalty",
        "presence_penalty",
        "n",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "tool_choice",
        "parallel_tool_calls",
        "previous_response_id",
        "dimensions",
        "encoding_format",
        "stream",
        "thinking",
        "tools",
        "conversation",
    )
)
"""Of a provider's request that is told whole (MLflow; also attributes of these very names, as JSON): its parameters."""
PARAM_OBJECTS: Names = (
    "llm.invocation_parameters",
    "embedding.invocation_parameters",
    "langfuse.observation.model.parameters",
)
NOT_PARAMS = frozenset(("model", "model_name", "_type", "messages", "input", "prompt", "system", "instructions"))
REQUEST_FORM = "mlflow.message.format"
"""Where it is there, the first of these is a provider's request."""
REQUEST_PAYLOADS: Names = ("mlflow.spanInputs", "request_data", "gcp.vertex.agent.llm_request")
TOOLS: Names = ("gen_ai.tool.definitions", "mlflow.chat.tools", "ai.prompt.tools")
# Flat lists: what stands before the number, and what after it.
TOOL_SCHEMA = ("llm.tools.", ".tool.json_schema")
TOOL_FUNCTION = ("llm.request.functions.", ("name", "description", "parameters"))
OPENLIT_DEFAULTS: dict[str, object] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "seed": 0,
    "max_tokens": -1,
    "stop": [],
}
"""What OpenLIT writes where the application said nothing."""

# --- Who and where ----------------------------------------------------------------------------------------------------

SESSION: Names = (
    "session.id",
    "langfuse.session.id",
    "gen_ai.conversation.id",
    "mlflow.trace.session",
    "session_id",
    "conversation_id",
    "thread_id",
    "group_id",
    "gcp.vertex.agent.session_id",
)
USER: Names = (
    "user.id",
    "langfuse.user.id",
    "enduser.id",
    "gen_ai.user.id",
    "gen_ai.user",
    "mlflow.trace.user",
    "user_id",
    "gen_ai.request.user",
    "llm.user",
    "user",
)
TENANT: Names = ("tenant.id", "tenant_id")
ENVIRONMENT: Names = ("deployment.environment.name", "deployment.environment", "langfuse.environment")
PROJECT: Names = ("langsmith.trace.session_name",)
RESOURCE_PROJECT: Names = ("openinference.project.name", "service.name")
SCOPE_ATTRIBUTES = frozenset((*SESSION, *USER, *TENANT, *ENVIRONMENT, *PROJECT))
SCOPE_KEYS: dict[str, Names] = {
    "session_id": (
        "thread_id",
        "session_id",
        "conversation_id",
        "langfuse_session_id",
        "threadId",
        "sessionId",
        "conversationId",
        "chatId",
        "chat_id",
    ),
    "user_id": ("user_id", "langfuse_user_id", "userId"),
    "tenant_id": ("tenant_id", "langfuse_tenant_id", "tenantId"),
}
"""The application's own metadata: what it calls these there."""
SCOPE_NAMES = frozenset(key for keys in SCOPE_KEYS.values() for key in keys)
METADATA_PREFIXES: Names = (
    "langsmith.metadata.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "ai.settings.context.",
    "metadata.",
)
NOTHING = frozenset(("", "[]", "{}", "null"))
"""What LiteLLM writes of metadata that was not given."""
JSON_METADATA: Names = ("langfuse.trace.metadata.", "langfuse.observation.metadata.")
"""Of these, each value is JSON."""
METADATA_OBJECTS: Names = ("metadata", "langfuse.trace.metadata", "langfuse.observation.metadata")
NOT_METADATA = frozenset(
    (
        # In columns of their own, or the framework's placement of the span.
        *("ls_provider", "ls_model_name", "ls_model_type", "lc_versions", "ls_integration", "usage_metadata"),
        *("langgraph_path", "langgraph_triggers", "langgraph_checkpoint_ns", "checkpoint_ns", "is_langchain_root"),
        *("ls_temperature", "ls_max_tokens", "ls_stop", "_type", "model", "model_name", "model_kwargs", "stream"),
        *("streaming", "temperature", "max_tokens", "max_retries", "top_p", "seed", "stop", "tools", "tool_choice"),
        *("parallel_tool_calls", "reasoning", "reasoning_effort", "tool_call_id", "tags", "usage_object"),
        *("requester_custom_headers", "user_api_key", "user_api_key_hash", "used_client_oauth_token"),
    )
)
SECRET_PREFIXES = ("LANGSMITH_", "LANGCHAIN_", "user_api_key_auth")
"""Environment variables of the application, and what may hold keys."""
TAGS: Names = ("tag.tags", "langfuse.trace.tags", "langfuse.observation.metadata.tags", "langsmith.span.tags")
AGENT_NAME: Names = ("gen_ai.agent.name", "agent_name", "agent.name")
TOOL_NAME: Names = ("gen_ai.tool.name", "tool.name", "ai.toolCall.name", "tool_name", "traceloop.entity.name")

# --- Errors -----------------------------------------------------------------------------------------------------------

ERROR_TYPE: Names = ("error.type", "exception.type")
ERROR_MESSAGE: Names = ("error.message", "langfuse.observation.status_message", "exception.message")
DATA_ATTRIBUTES = frozenset((*METADATA_OBJECTS, *PARAM_OBJECTS, "hidden_params", "request_data"))
"""Texts that are objects with names of the application's choice, secrets' names among them."""
CONTENT_PREFIXES = (
    *("gen_ai.input", "gen_ai.output", "gen_ai.prompt", "gen_ai.completion", "gen_ai.system_instructions"),
    *("gen_ai.tool", "gen_ai.retrieval", "gen_ai.task", "llm.input_messages", "llm.output_messages", "llm.prompts"),
    *(
        "input.value",
        "output.value",
        "retrieval.",
        "embedding.",
        "reranker.",
        "ai.prompt",
        "ai.response",
        "ai.toolCall",
    ),
    *("ai.value", "traceloop.entity", "mlflow.spanInputs", "mlflow.spanOutputs", "langfuse.observation.input"),
    *("langfuse.observation.output", "pydantic_ai.", "events", "final_result", "raw_input"),
    *("gcp.vertex.agent.llm_re", "gcp.vertex.agent.tool_", "gcp.vertex.agent.data"),
)
"""How the attributes begin that hold what was said: content, of which nothing is taken out unless asked for."""
