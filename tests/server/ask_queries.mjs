// Asks the example's queries with the real client: one call a line of its input, [token, name, ...arguments].
import { createInterface } from "node:readline";

import { createClient } from "@supabase/supabase-js";

import * as queries from "./built/queries.js";

const clients = new Map();

function client(token) {
  if (!clients.has(token)) {
    // A client that is given its token, as one that signed in has it. Node before 22 has no WebSocket, and none is opened.
    const realtime = { transport: globalThis.WebSocket ?? class {} };
    const options = { accessToken: async () => token, realtime };
    clients.set(token, createClient(process.env.SUPABASE_URL, "publishable", options));
  }
  return clients.get(token);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [token, name, ...given] = JSON.parse(line);
  try {
    const answer = await queries[name](client(token), ...given.map((one) => one ?? undefined));
    console.log(JSON.stringify({ answer: answer ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
