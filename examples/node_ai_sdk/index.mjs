// Chef Chopsky in Node: the Vercel AI SDK with a tool and a streamed answer, its spans posted to `chopsky-trace serve`.
//
//   chopsky-trace serve          in another terminal
//   npm install && npm start
//
// With OPENAI_API_KEY the model is a real one, and its calls are paid; without, a scripted one.
// OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS say where to post, if not to this machine's port 4318.
import { randomUUID } from "node:crypto";

import { openai } from "@ai-sdk/openai";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { MockLanguageModelV3, convertArrayToReadableStream } from "ai/test";
import { z } from "zod";

// Not the OTLP exporter that NodeSDK would make of the environment: this one reads the same variables, and sends JSON.
const sdk = new NodeSDK({
  serviceName: "chef-chopsky",
  traceExporter: new OTLPTraceExporter(),
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();

const PANTRY = ["chickpeas", "onion", "garlic", "cumin"];
const SYSTEM = "You are Chef Chopsky. See what is there with check_pantry. Be brief.";
const QUESTION = "Do I have everything for a chickpea stew?";
const THANKS = "Thanks! And how long does it take?";

const checkPantry = tool({
  description: "Say which of these ingredients are missing.",
  inputSchema: z.object({ ingredients: z.array(z.string()) }),
  execute: async ({ ingredients }) => ({ missing: ingredients.filter((one) => !PANTRY.includes(one)) }),
});

/** What a scripted model answers with: usage and finish reason as a provider's would be. */
function finished(reason, inputTokens, outputTokens) {
  return {
    finishReason: { unified: reason, raw: reason === "tool-calls" ? "tool_calls" : reason },
    usage: {
      inputTokens: { total: inputTokens, noCache: inputTokens, cacheRead: 0, cacheWrite: 0 },
      outputTokens: { total: outputTokens, text: outputTokens, reasoning: 0 },
    },
  };
}

/** A model that needs no key: it looks into the pantry, then says what is missing. */
function scripted() {
  const call = {
    type: "tool-call",
    toolCallId: "call_pantry",
    toolName: "check_pantry",
    input: JSON.stringify({ ingredients: ["chickpeas", "onion", "spinach"] }),
  };
  const about = { modelId: "gpt-4o-mini", timestamp: new Date() };
  return new MockLanguageModelV3({
    provider: "openai.chat",
    modelId: "gpt-4o-mini",
    doGenerate: [
      { content: [call], response: { ...about, id: "scripted-1" }, warnings: [], ...finished("tool-calls", 90, 20) },
      {
        content: [{ type: "text", text: "Nearly. You still need spinach." }],
        response: { ...about, id: "scripted-2" },
        warnings: [],
        ...finished("stop", 130, 8),
      },
    ],
    doStream: async () => ({
      stream: convertArrayToReadableStream([
        { type: "stream-start", warnings: [] },
        { type: "response-metadata", ...about, id: "scripted-3" },
        { type: "text-start", id: "1" },
        { type: "text-delta", id: "1", delta: "About " },
        { type: "text-delta", id: "1", delta: "25 minutes." },
        { type: "text-end", id: "1" },
        { type: "finish", ...finished("stop", 150, 6) },
      ]),
    }),
  });
}

const model = process.env.OPENAI_API_KEY ? openai.chat("gpt-4o-mini") : scripted();
const sessionId = `kitchen-${randomUUID()}`;
const telemetry = (functionId) => ({ isEnabled: true, functionId, metadata: { sessionId, userId: "ada" } });

const messages = [{ role: "user", content: QUESTION }];
const first = await generateText({
  model,
  system: SYSTEM,
  messages,
  tools: { check_pantry: checkPantry },
  stopWhen: stepCountIs(3),
  experimental_telemetry: telemetry("stew"),
});
console.log(`> ${QUESTION}\n${first.text}`);

messages.push(...first.response.messages, { role: "user", content: THANKS });
const second = streamText({ model, system: SYSTEM, messages, experimental_telemetry: telemetry("time") });
process.stdout.write(`> ${THANKS}\n`);
for await (const piece of second.textStream) process.stdout.write(piece);
console.log();

// Posts what is left. With OTEL_LOG_LEVEL=warn the exporter says what was not taken, and why.
await sdk.shutdown();
console.log(`Session ${sessionId}: chopsky-trace show ${sessionId}`);
