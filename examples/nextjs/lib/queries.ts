// Every query of this example. Row level security shows a signed-in user their own rows, so none of them has to filter by
// user; columns are named, because a user is not granted all of them.
import type { RealtimeChannel, SupabaseClient } from "@supabase/supabase-js";

import type { Database, Tables } from "./database.types";

export type Client = SupabaseClient<Database>;
export type Conversation = Pick<
  Tables<"conversation_sessions">,
  "id" | "session_id" | "session_key" | "title" | "state" | "last_activity_at"
>;
type Said = Database["public"]["Functions"]["get_conversation_history"]["Returns"][number];
// Which of a function's columns may be null its types do not know.
export type Message = Pick<Said, "id" | "role" | "created_at"> & { content: string | null };
export type Thumbs = "up" | "down";
export type Feedback = Pick<Tables<"conversation_feedback">, "message_id" | "comment"> & { thumbs: Thumbs | null };
export type Usage = Pick<Tables<"user_usage">, "day" | "provider" | "model" | "calls" | "total_tokens">;

const CONVERSATION = "id, session_id, session_key, title, state, last_activity_at";
const SATISFACTION = "user_satisfaction";

/**
 * A page of the user's conversations that are not archived, the latest active first; `after` is the last one of the page
 * before. To say whose they are lets the database begin with theirs, instead of looking for them among everybody's latest.
 */
export async function listConversations(
  db: Client,
  userId: string,
  after?: Conversation,
  limit = 20,
): Promise<Conversation[]> {
  let query = db.from("conversation_sessions").select(CONVERSATION).eq("user_id", userId).eq("is_archived", false);
  if (after) {
    const at = `"${after.last_activity_at}"`;
    query = query.or(`last_activity_at.lt.${at},and(last_activity_at.eq.${at},id.lt.${after.id})`);
  }
  const { data } = await query
    .order("last_activity_at", { ascending: false })
    .order("id", { ascending: false })
    .limit(limit)
    .throwOnError();
  return data;
}

/** One conversation; null where there is none that the user may see. */
export async function getConversation(db: Client, id: string): Promise<Conversation | null> {
  const { data } = await db.from("conversation_sessions").select(CONVERSATION).eq("id", id).maybeSingle().throwOnError();
  return data;
}

/** The latest messages of a conversation, the earliest of them first. */
export async function getMessages(db: Client, id: string, limit = 50): Promise<Message[]> {
  const asked = { session_uuid: id, at_most: limit };
  const { data } = await db.rpc("get_conversation_history", asked, { get: true }).throwOnError();
  return data;
}

/** Calls `changed` whenever a message of the conversation is stored or filled; `live` says whether that works now. */
export function followMessages(
  db: Client,
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

export async function renameConversation(db: Client, id: string, title: string): Promise<void> {
  await db.from("conversation_sessions").update({ title }).eq("id", id).throwOnError();
}

export async function archiveConversation(db: Client, id: string): Promise<void> {
  await db.from("conversation_sessions").update({ is_archived: true }).eq("id", id).throwOnError();
}

/** Removes all that was said in a conversation, which stays; how many messages that were. */
export async function clearConversation(db: Client, id: string): Promise<number> {
  const { data } = await db.rpc("clear_conversation_session", { session_uuid: id }).throwOnError();
  return data;
}

/** Removes a conversation with all that was said in it. */
export async function removeConversation(db: Client, id: string): Promise<void> {
  await db.from("conversation_sessions").delete().eq("id", id).throwOnError();
}

/** What the user thought of these messages. */
export async function getFeedback(db: Client, messages: string[]): Promise<Feedback[]> {
  const { data } = await db
    .from("conversation_feedback")
    .select("message_id, thumbs, comment")
    .eq("key", SATISFACTION)
    .in("message_id", messages)
    .throwOnError();
  return data.map((one) => ({ ...one, thumbs: one.thumbs as Thumbs | null }));
}

/** Rates a message of the user's own; their last rating stands. */
export async function rateMessage(db: Client, messageId: string, thumbs: Thumbs, comment?: string): Promise<void> {
  await db.rpc("rate_message", { message_id: messageId, thumbs, comment }).throwOnError();
}

/** Takes the user's rating of a message back. */
export async function unrateMessage(db: Client, messageId: string): Promise<void> {
  await db.from("conversation_feedback").delete().eq("message_id", messageId).eq("key", SATISFACTION).throwOnError();
}

/** The user's own calls and tokens by day and model, the latest day first. */
export async function getUsage(db: Client, since: string): Promise<Usage[]> {
  const { data } = await db
    .from("user_usage")
    .select("day, provider, model, calls, total_tokens")
    .gte("day", since)
    // Rows without calls count messages.
    .gt("calls", 0)
    .order("day", { ascending: false })
    .order("calls", { ascending: false })
    .throwOnError();
  return data;
}
