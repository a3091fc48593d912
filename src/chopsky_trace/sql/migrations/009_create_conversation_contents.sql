-- Long texts, documents and media that payloads and messages refer to: {"$text": id}, {"$document": id} and
-- {"$media": id, ...} stand for them, however often a run repeats them. id = the first 128 bits of the SHA-256 of the content.
create table public.conversation_contents (
    conversation_run_id uuid not null references public.conversation_runs (id) on delete cascade,
    id uuid not null,
    kind text not null,
    text text,
    document jsonb,
    media_type text,
    size_bytes bigint not null,
    -- NULL unless the writer was told to keep media
    data bytea,
    created_at timestamptz not null default now(),
    primary key (conversation_run_id, id)
);
comment on table public.conversation_contents is 'Long texts and documents once per run, media once per session; payloads hold a reference to them.';
comment on column public.conversation_contents.kind is 'text, document or media.';
comment on column public.conversation_contents.size_bytes is 'Of the text in UTF-8, of the document as JSON, of the media decoded.';
comment on column public.conversation_contents.data is 'The media itself, only where CHOPSKY_TRACE_KEEP_MEDIA was on.';
create index idx_conversation_contents_id on public.conversation_contents (id);

revoke all on table public.conversation_contents from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_contents to service_role;
alter table public.conversation_contents enable row level security;
create policy conversation_contents_service on public.conversation_contents for all to service_role using (true) with check (true);

create function public.chopsky_write_contents(contents json) returns void
language sql set search_path = ''
as $$
    with given as (
        select
            r.id as run_id, r.session_key, g.*,
            -- Media that the session has need not be kept again: every turn sends the history's images anew.
            row_number() over (
                partition by case when g.kind = 'media' then r.session_key else r.id end, g.id order by g.data is null, r.id
            ) as place
        from json_to_recordset(contents) as g (
            conversation_run_id uuid, id uuid, kind text, text text, document jsonb, media_type text, size_bytes bigint, data text
        )
        -- A run that has joined another is a span of it now.
        join public.conversation_runs r on r.id = coalesce(
            (select n.id from public.conversation_runs n where n.id = g.conversation_run_id),
            (select s.conversation_run_id from public.conversation_spans s where s.id = g.conversation_run_id)
        )
    )
    insert into public.conversation_contents as c (conversation_run_id, id, kind, text, document, media_type, size_bytes, data)
    select g.run_id, g.id, g.kind, g.text, g.document, g.media_type, g.size_bytes, decode(g.data, 'base64')
    from given g
    where g.place = 1 and (g.kind <> 'media' or not exists (
        select 1
        from public.conversation_contents o
        join public.conversation_runs q on q.id = o.conversation_run_id
        where o.id = g.id and q.session_key = g.session_key and q.id <> g.run_id and (g.data is null or o.data is not null)
    ))
    order by g.run_id, g.id
    on conflict (conversation_run_id, id) do update
    set data = excluded.data
    where c.data is null and excluded.data is not null
$$;
revoke all on function public.chopsky_write_contents(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_contents(json) to service_role;

-- What a run's reference stands for: the run's own content, else media of the same session, kept or known there once.
create function public.chopsky_content(run_id uuid, content_id uuid) returns setof public.conversation_contents
language sql stable set search_path = ''
as $$
    select c.*
    from public.conversation_runs r
    join public.conversation_contents c on c.id = content_id
    join public.conversation_runs q on q.id = c.conversation_run_id
    where r.id = run_id and (q.id = r.id or (c.kind = 'media' and q.session_key = r.session_key))
    order by (c.kind = 'media' and c.data is null), q.id = r.id desc, q.id
    limit 1
$$;
comment on function public.chopsky_content(uuid, uuid) is 'The content that a reference of this run stands for, if it is stored.';
revoke all on function public.chopsky_content(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_content(uuid, uuid) to service_role;

-- How long lists of body ids begin. A session that sends its whole history with every turn would else repeat them all each
-- time. A row's id follows from its bodies and the rows before it, so equal beginnings are one row, whoever comes first.
create table public.conversation_prefixes (
    id uuid primary key,
    extends uuid,
    length integer not null,
    bodies uuid[] not null,
    created_at timestamptz not null default now()
);
comment on table public.conversation_prefixes is 'The beginning of a long list of body ids, 64 at a time; prompts and payloads name the last row of theirs. Ids only, no content.';
comment on column public.conversation_prefixes.id is 'The first 128 bits of the SHA-256 of what it extends, if anything, and its bodies, in hex.';
comment on column public.conversation_prefixes.extends is 'The row whose list comes before these bodies.';
comment on column public.conversation_prefixes.length is 'Of the list that ends with these bodies.';

revoke all on table public.conversation_prefixes from public, anon, authenticated, service_role;
grant select, insert, update, delete on table public.conversation_prefixes to service_role;
alter table public.conversation_prefixes enable row level security;
create policy conversation_prefixes_service on public.conversation_prefixes for all to service_role using (true) with check (true);

create function public.chopsky_write_prefixes(prefixes json) returns void
language plpgsql set search_path = ''
as $$
begin
    insert into public.conversation_prefixes (id, extends, length, bodies)
    select g.id, g.extends, g.length, g.bodies
    from json_to_recordset(prefixes) as g (id uuid, extends uuid, length integer, bodies uuid[])
    order by g.id
    on conflict (id) do nothing;
end
$$;
revoke all on function public.chopsky_write_prefixes(json) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_write_prefixes(json) to service_role;

create function public.chopsky_prefix_bodies(prefix_id uuid) returns uuid[]
language sql stable set search_path = ''
as $$
    with recursive node (extends, length, bodies) as (
        select p.extends, p.length, p.bodies from public.conversation_prefixes p where p.id = prefix_id
        union all
        select p.extends, p.length, p.bodies
        from node n
        -- Always a shorter one: no ring.
        join public.conversation_prefixes p on p.id = n.extends and p.length < n.length
    )
    select array_agg(b.body_id order by n.length, b.place)
    from node n
    cross join lateral unnest(n.bodies) with ordinality as b (body_id, place)
    having count(*) = max(n.length)
$$;
comment on function public.chopsky_prefix_bodies(uuid) is 'The body ids that a list begins with, in order; NULL where a row of it is missing.';
revoke all on function public.chopsky_prefix_bodies(uuid) from public, anon, authenticated, service_role;
grant execute on function public.chopsky_prefix_bodies(uuid) to service_role;
