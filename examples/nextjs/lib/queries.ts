// Every query of this example. Row level security shows a signed-in user their own rows, so none of them has to filter by
// user; columns are named, because a user is not granted all of them.
import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";

export type Conversation = {
  id: string;
  session_id: string;
  session_key: string;
  title: string | null;
  state: string;
  last_activity_at: string;
};
export type Message = {
  id: string;
  conversation_run_id: string | null;
  role: "user" | "assistant";
  content: string | null;
  created_at: string;
};
export type Thumbs = "up" | "down";
export type Feedback = { message_id: string; thumbs: Thumbs | null; comment: string | null };
export type Usage = { day: string; provider: string | null; model: string | null; calls: number; total_tokens: number | null };

const CONVERSATION = "id, session_id, session_key, title, state, last_activity_at";

/** What a query gave, or its error thrown. */
function taken<T>(answer: { data: unknown; error: { message: string } | null }): T {
  if (answer.error) throw new Error(answer.error.message);
  return answer.data as T;
}

/**
 * A page of the user's conversations that are not archived, the latest active first; `after` is the last one of the page
 * before. To say whose they are lets the database begin with theirs, instead of looking for them among everybody's latest.
 */
export async function listConversations(
  db: SupabaseClient,
  userId: string,
  after?: Conversation,
  limit = 20,
): Promise<Conversation[]> {
  let query = db.from("conversation_sessions").select(CONVERSATION).eq("user_id", userId).eq("is_archived", false);
  if (after) {
    const at = `"${after.last_activity_at}"`;
    query = query.or(`last_activity_at.lt.${at},and(last_activity_at.eq.${at},id.lt.${after.id})`);
  }
  return taken(
    await query
      .order("last_activity_at", { ascending: false })
      .order("id", { ascending: false })
      .limit(limit),
  );
}

/** One conversation; null where there is none that the user may see. */
export async function getConversation(db: SupabaseClient, id: string): Promise<Conversation | null> {
  return taken(await db.from("conversation_sessions").select(CONVERSATION).eq("id", id).maybeSingle());
}

/** The latest messages of a conversation, the earliest of them first. */
export async function getMessages(db: SupabaseClient, id: string, limit = 50): Promise<Message[]> {
  return taken(await db.rpc("get_conversation_history", { session_uuid: id, at_most: limit }, { get: true }));
}

/** Calls `changed` whenever a message of the conversation is stored or filled; `live` says whether that works now. */
export function followMessages(
  db: SupabaseClient,
  conversation: Conversation,
  changed: () => void,
  live: (works: boolean) => void,
): RealtimeChannel {
  const filter = `session_key=eq.${conversation.session_key}`;
  return db
    .channel(`messages-${conversation.id}`)
    .on("postgres_changes", { event: "*", schema: "public", table: "conversation_messages", filter }, changed)
    .subscribe((status) => live(status === "SUBSCRIBED"));
}

export async function renameConversation(db: SupabaseClient, id: string, title: string): Promise<void> {
  taken(await db.from("conversation_sessions").update({ title }).eq("id", id));
}

export async function archiveConversation(db: SupabaseClient, id: string): Promise<void> {
  taken(await db.from("conversation_sessions").update({ is_archived: true }).eq("id", id));
}

/** Removes a conversation with all that was said in it. */
export async function removeConversation(db: SupabaseClient, id: string): Promise<void> {
  taken(await db.from("conversation_sessions").delete().eq("id", id));
}

/** What the user thought of these messages. */
export async function getFeedback(db: SupabaseClient, messages: string[]): Promise<Feedback[]> {
  return taken(
    await db
      .from("conversation_feedback")
      .select("message_id, thumbs, comment")
      .eq("key", "user_satisfaction")
      .in("message_id", messages),
  );
}

/** Rates a message; the last rating of a user stands. */
export async function rateMessage(
  db: SupabaseClient,
  userId: string,
  messageId: string,
  thumbs: Thumbs,
  comment: string | null = null,
): Promise<void> {
  const feedback = { message_id: messageId, user_id: userId, key: "user_satisfaction", thumbs, comment };
  taken(await db.from("conversation_feedback").upsert(feedback, { onConflict: "target_id,user_id,key" }));
}

/** The user's own calls and tokens by day and model, the latest day first. */
export async function getUsage(db: SupabaseClient, since: string): Promise<Usage[]> {
  return taken(
    await db
      .from("user_usage")
      .select("day, provider, model, calls, total_tokens")
      .gte("day", since)
      // Rows without calls count messages.
      .gt("calls", 0)
      .order("day", { ascending: false })
      .order("calls", { ascending: false }),
  );
}
