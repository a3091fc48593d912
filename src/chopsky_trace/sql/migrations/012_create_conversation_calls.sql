-- One row per model call, with its run's names and what follows from its times: a view, so that there is nothing to keep in step.
create view public.conversation_calls with (security_invoker = true) as
select
    s.id, s.conversation_run_id, r.session_id, r.user_id, r.tenant_id, r.project, r.environment, s.parent_span_id, s.kind, s.name,
    s.source, s.provider, s.model, s.model_requested, s.status, s.started_at, s.ended_at, s.response_time_ms,
    s.time_to_first_token_ms,
    case when s.kind = 'llm' and not c.cache_hit then round(s.output_tokens::numeric * 1000 / nullif(c.writing_ms, 0), 3) end as output_tokens_per_second,
    s.input_tokens, s.output_tokens, s.total_tokens, s.cache_read_tokens, s.cache_write_tokens, s.reasoning_tokens, s.audio_tokens,
    s.usage_source, s.cost, s.cost_source, c.cache_hit, s.finish_reason, s.error, s.duplicate_of
from public.conversation_spans s
join public.conversation_runs r on r.id = s.conversation_run_id
cross join lateral (
    select
        coalesce(s.usage_details @> '{"cache_hit": true}', false) as cache_hit,
        -- Streamed: from the first token on. Clocks of somebody else's may say that it came after the end.
        greatest(s.response_time_ms - coalesce(s.time_to_first_token_ms, 0), 0) as writing_ms
) c
where s.kind in ('llm', 'embedding', 'image');

comment on view public.conversation_calls is 'One row per model call: its run, model, times, tokens and cost. A retry or fallback is a call of its own. For totals leave out rows with duplicate_of.';
comment on column public.conversation_calls.id is 'The span''s id.';
comment on column public.conversation_calls.conversation_run_id is 'The run that the call was made in.';
comment on column public.conversation_calls.session_id is 'The run''s.';
comment on column public.conversation_calls.user_id is 'The run''s.';
comment on column public.conversation_calls.tenant_id is 'The run''s.';
comment on column public.conversation_calls.project is 'The run''s.';
comment on column public.conversation_calls.environment is 'The run''s.';
comment on column public.conversation_calls.parent_span_id is 'The span that made the call; NULL where the call is the root.';
comment on column public.conversation_calls.kind is 'llm, embedding or image.';
comment on column public.conversation_calls.name is 'The span''s name.';
comment on column public.conversation_calls.source is 'Who told of the call.';
comment on column public.conversation_calls.provider is 'Who served the model.';
comment on column public.conversation_calls.model is 'The model that answered.';
comment on column public.conversation_calls.model_requested is 'The model that was asked for.';
comment on column public.conversation_calls.status is 'active, completed, failed, interrupted or abandoned.';
comment on column public.conversation_calls.started_at is 'The client''s clock.';
comment on column public.conversation_calls.ended_at is 'The client''s clock; NULL while the call is under way.';
comment on column public.conversation_calls.response_time_ms is 'Milliseconds from start to end.';
comment on column public.conversation_calls.time_to_first_token_ms is 'Milliseconds to the first streamed chunk that carried content, reasoning or data of a tool call. NULL where nothing was streamed.';
comment on column public.conversation_calls.output_tokens_per_second is 'output_tokens / (response_time_ms - time_to_first_token_ms) where it was streamed, else output_tokens / response_time_ms, times 1000. NULL where a part is unknown, the interval is 0, a cache answered, or nothing is written (embeddings).';
comment on column public.conversation_calls.input_tokens is 'The whole: cached tokens are part of it. NULL = unknown.';
comment on column public.conversation_calls.output_tokens is 'The whole: reasoning tokens are part of it. NULL = unknown.';
comment on column public.conversation_calls.total_tokens is 'Input and output. NULL = unknown.';
comment on column public.conversation_calls.cache_read_tokens is 'Part of input_tokens.';
comment on column public.conversation_calls.cache_write_tokens is 'Part of input_tokens.';
comment on column public.conversation_calls.reasoning_tokens is 'Part of output_tokens.';
comment on column public.conversation_calls.audio_tokens is 'In input and output.';
comment on column public.conversation_calls.usage_source is 'reported, computed, estimated or unknown.';
comment on column public.conversation_calls.cost is 'USD. NULL = unknown.';
comment on column public.conversation_calls.cost_source is 'reported, computed, estimated or unknown.';
comment on column public.conversation_calls.cache_hit is 'LangChain''s own cache answered: the tokens are those of the first call, the cost is 0.';
comment on column public.conversation_calls.finish_reason is 'Why the model stopped, in the provider''s words.';
comment on column public.conversation_calls.error is 'Why the call failed.';
comment on column public.conversation_calls.duplicate_of is 'The span that carries the numbers, where one call was seen by two sources or a span sums the calls below it.';

revoke all on table public.conversation_calls from public, anon, authenticated, service_role;
grant select on table public.conversation_calls to service_role;
