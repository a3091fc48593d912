"use client";

import Link from "next/link";
import { useEffect, useState } from "react";

import { Usage } from "@/components/Usage";
import { type Conversation, archiveConversation, listConversations } from "@/lib/queries";
import { supabase } from "@/lib/supabase";
import { useUser } from "@/lib/useUser";

const PAGE = 20;

export default function Conversations() {
  const [conversations, setConversations] = useState<Conversation[]>([]);
  const [hasMore, setHasMore] = useState(false);
  const userId = useUser()?.id;

  function show(page: Conversation[], before: Conversation[]) {
    setConversations([...before, ...page]);
    setHasMore(page.length === PAGE);
  }
  useEffect(() => {
    if (userId) listConversations(supabase, userId, undefined, PAGE).then((page) => show(page, []), console.error);
  }, [userId]);

  async function more() {
    if (userId) show(await listConversations(supabase, userId, conversations.at(-1), PAGE), conversations);
  }
  async function archive(id: string) {
    await archiveConversation(supabase, id);
    setConversations(conversations.filter((one) => one.id !== id));
  }

  return (
    <main>
      <h1>Conversations</h1>
      <ul>
        {conversations.map((one) => (
          <li key={one.id}>
            <Link href={`/conversations/${one.id}`}>{one.title ?? one.session_id}</Link>{" "}
            <small>{new Date(one.last_activity_at).toLocaleString()}</small>{" "}
            <button onClick={() => archive(one.id)}>Archive</button>
          </li>
        ))}
      </ul>
      {hasMore && <button onClick={more}>More</button>}
      <Usage />
    </main>
  );
}
