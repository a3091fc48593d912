-- One row per message of a conversation, stored once however often the history is sent again.
create table public.conversation_messages (
    id uuid primary key default gen_random_uuid(),
    body_id uuid,
    conversation_run_id uuid references public.conversation_runs (id) on delete cascade,
    span_id uuid,
    session_id text,
    tenant_id text,
    user_id text,
    sequence integer,
    role text not null check (role in ('user', 'assistant', 'system', 'tool')),
    content text,
    parts jsonb,
    tool_calls jsonb,
    tool_call_id text,
    name text,
    is_internal boolean not null default false,
    token_count integer check (token_count >= 0),
    token_count_source text check (token_count_source in ('reported', 'computed', 'estimated', 'unknown')),
    response_time_ms numeric(14, 3) check (response_time_ms >= 0),
    cost numeric(24, 10) check (cost >= 0 and cost <> 'NaN'),
    model text,
    provider text,
    metadata jsonb not null default '{}',
    -- the application's own, beside what was said
    action_taken text,
    questions_asked jsonb,
    delegation_plan jsonb,
    -- How messages come to be stored once: see "Messages" in docs/design.md.
    session_key uuid,
    is_history boolean not null default false,
    occurrence integer not null default 0,
    position integer not null default 0,
    version text collate "C",
    -- Not now(): rows of one transaction keep their order.
    created_at timestamptz not null default clock_timestamp()
);
comment on table public.conversation_messages is 'One message of a conversation, stored once. conversation_run_id is the run that brought it in; NULL for rows written by hand outside a run.';
comment on column public.conversation_messages.body_id is 'Hash of role, content, tool calls, tool_call_id and name: equal bodies have equal ids. Prompts refer to bodies.';
comment on column public.conversation_messages.sequence is 'Place within the run, from 1: by created_at, position, id.';
comment on column public.conversation_messages.content is 'The text, as a person reads it.';
comment on column public.conversation_messages.parts is 'The content as the provider had it, where it was more than one text.';
comment on column public.conversation_messages.is_internal is 'True for what the user neither said nor was answered: system prompts, stuffed prompts, tool traffic, intermediate answers.';
comment on column public.conversation_messages.token_count is 'The message''s own size in tokens, set once: its call''s output tokens, or what the input grew by; NULL where it cannot be known.';
comment on column public.conversation_messages.token_count_source is 'reported: by the call. computed: a share, by length, of what the call''s input grew by. estimated: from the length. unknown: the call reported none.';
comment on column public.conversation_messages.cost is 'USD. The first output message of a model call carries the call''s cost, others 0; NULL where the price is unknown.';
comment on column public.conversation_messages.action_taken is 'What the application did upon it; set by the application, as questions_asked and delegation_plan.';
comment on column public.conversation_messages.is_history is 'Known only from a prompt or payload, not from the run that said it; goes when its owner arrives.';

create index idx_conversation_messages_conversation_run_id_created_at on public.conversation_messages (conversation_run_id, created_at);
-- One index for "this body in this session" and "this body anywhere": a system prompt that all sessions share must not
-- make the first question read all of them.
create index idx_conversation_messages_body_id_session_key on public.conversation_messages (body_id, session_key);
-- Rows whose body is still on its way, or was lost: few, and looked for with every batch.
create index idx_conversation_messages_session_key_bare on public.conversation_messages (session_key)
    where body_id is not null and content is null and parts is null and tool_calls is null;
create index idx_conversation_messages_user_id_created_at on public.conversation_messages (user_id, created_at desc) where user_id is not null;
create index idx_messages_session_id on public.conversation_messages (session_id, created_at) where session_id is not null;

revoke all on table public.conversation_messages from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_messages to service_role;
grant select (
    id, conversation_run_id, session_id, tenant_id, user_id, sequence, role, content, parts, name, is_internal,
    response_time_ms, action_taken, questions_asked, session_key, created_at
) on table public.conversation_messages to authenticated;

alter table public.conversation_messages enable row level security;
create policy conversation_messages_read on public.conversation_messages for select to authenticated using (
    not is_internal and role in ('user', 'assistant') and ((
        user_id = (select (select auth.jwt()) ->> 'sub')
        and (tenant_id is null or tenant_id = (select public.chopsky_tenant_id()))
    ) or tenant_id = (select case when public.chopsky_reads_tenant() then public.chopsky_tenant_id() end))
);
create policy conversation_messages_service on public.conversation_messages for all to service_role using (true) with check (true);
