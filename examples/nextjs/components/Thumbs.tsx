"use client";

import { type Thumbs as Value, rateMessage, unrateMessage } from "@/lib/queries";
import { supabase } from "@/lib/supabase";

type Props = { messageId: string; value: Value | null; rated: (value: Value | null) => void };

export function Thumbs({ messageId, value, rated }: Props) {
  function rate(thumbs: Value) {
    if (thumbs === value) {
      unrateMessage(supabase, messageId).then(() => rated(null), console.error);
    } else {
      rateMessage(supabase, messageId, thumbs).then(() => rated(thumbs), console.error);
    }
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
