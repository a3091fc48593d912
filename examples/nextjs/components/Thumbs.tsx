"use client";

import { type Thumbs as Value, rateMessage } from "@/lib/queries";
import { supabase } from "@/lib/supabase";

type Props = { userId: string; messageId: string; value: Value | null; rated: (value: Value) => void };

export function Thumbs({ userId, messageId, value, rated }: Props) {
  function rate(thumbs: Value) {
    rateMessage(supabase, userId, messageId, thumbs).then(() => rated(thumbs), console.error);
  }
  return (
    <span>
      {(["up", "down"] as const).map((thumbs) => (
        <button
          key={thumbs}
          aria-label={`thumbs ${thumbs}`}
          aria-pressed={value === thumbs}
          onClick={() => rate(thumbs)}
          style={{ border: "none", background: "none", opacity: value === thumbs ? 1 : 0.4 }}
        >
          {thumbs === "up" ? "👍" : "👎"}
        </button>
      ))}
    </span>
  );
}
