"use client";

import Link from "next/link";
import { useCallback, useEffect, useState } from "react";

import { Thumbs } from "@/components/Thumbs";
import {
  type Conversation,
  type Message,
  type Thumbs as Value,
  followMessages,
  getConversation,
  getFeedback,
  getMessages,
} from "@/lib/queries";
import { supabase } from "@/lib/supabase";
import { useUser } from "@/lib/useUser";

const POLL_MS = 3_000;

/** What was said, with what is being said: by Realtime, and by asking again and again while that does not work. */
export function Transcript({ id }: { id: string }) {
  const user = useUser();
  const [conversation, setConversation] = useState<Conversation | null>();
  const [messages, setMessages] = useState<Message[]>([]);
  const [thumbs, setThumbs] = useState<Record<string, Value | null>>({});
  const [isLive, setIsLive] = useState(false);

  // All of the latest messages, not only the newest: a reply grows, and an earlier turn may arrive late.
  const refresh = useCallback(() => {
    getMessages(supabase, id).then(setMessages, console.error);
  }, [id]);

  useEffect(() => {
    getConversation(supabase, id).then(setConversation, console.error);
    refresh();
  }, [id, refresh]);

  useEffect(() => {
    if (!conversation) return;
    const channel = followMessages(supabase, conversation, refresh, setIsLive);
    return () => {
      supabase.removeChannel(channel);
    };
  }, [conversation, refresh]);

  useEffect(() => {
    if (isLive) {
      // What was said before it was.
      refresh();
      return;
    }
    const timer = setInterval(refresh, POLL_MS);
    return () => clearInterval(timer);
  }, [isLive, refresh]);

  const shown = messages.map((message) => message.id).join();
  useEffect(() => {
    if (!shown) return;
    getFeedback(supabase, shown.split(",")).then(
      (found) => setThumbs(Object.fromEntries(found.map((one) => [one.message_id, one.thumbs]))),
      console.error,
    );
  }, [shown]);

  if (conversation === null) return <p>There is no such conversation.</p>;
  return (
    <main>
      <Link href="/">All conversations</Link>
      <h1>{conversation?.title ?? conversation?.session_id}</h1>
      {messages.map((message) => (
        <article key={message.id}>
          <strong>{message.role === "user" ? "You" : "Assistant"}</strong>
          <p style={{ whiteSpace: "pre-wrap" }}>{message.content}</p>
          {user && message.role === "assistant" && (
            <Thumbs
              messageId={message.id}
              value={thumbs[message.id] ?? null}
              rated={(value) => setThumbs({ ...thumbs, [message.id]: value })}
            />
          )}
        </article>
      ))}
    </main>
  );
}
