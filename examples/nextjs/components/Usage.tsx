"use client";

import { useEffect, useState } from "react";

import { type Usage as Row, getUsage } from "@/lib/queries";
import { supabase } from "@/lib/supabase";

const DAYS = 30;

/** The user's own usage of the last days, by model. */
export function Usage() {
  const [rows, setRows] = useState<Row[]>([]);
  useEffect(() => {
    const since = new Date(Date.now() - DAYS * 86_400_000).toISOString().slice(0, 10);
    getUsage(supabase, since).then(setRows, console.error);
  }, []);
  const byModel = new Map<string, { calls: number; tokens: number }>();
  for (const row of rows) {
    const name = row.model ?? "unknown model";
    const sum = byModel.get(name) ?? { calls: 0, tokens: 0 };
    byModel.set(name, { calls: sum.calls + row.calls, tokens: sum.tokens + (row.total_tokens ?? 0) });
  }
  return (
    <section>
      <h2>Your last {DAYS} days</h2>
      <ul>
        {[...byModel].map(([name, sum]) => (
          <li key={name}>
            {name}: {sum.calls.toLocaleString()} calls, {sum.tokens.toLocaleString()} tokens
          </li>
        ))}
      </ul>
    </section>
  );
}
