"use client";

import { type FormEvent, type ReactNode, useState } from "react";

import { supabase } from "@/lib/supabase";
import { useUser } from "@/lib/useUser";

/** Its children for who is signed in; for others a form that sends a link by mail. */
export function SignIn({ children }: { children: ReactNode }) {
  const user = useUser();
  const [told, setTold] = useState("");
  if (user === undefined) return null;
  if (user) return children;

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const email = String(new FormData(event.currentTarget).get("email"));
    const { error } = await supabase.auth.signInWithOtp({ email });
    setTold(error ? error.message : "Look into your mail.");
  }

  return (
    <form onSubmit={send}>
      <input name="email" type="email" required placeholder="you@example.com" /> <button>Sign in</button> {told}
    </form>
  );
}
