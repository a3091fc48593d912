"""Ends of LangChain runs -> records."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns, time_ns
from typing import Any, cast
from uuid import UUID

import orjson

from chopsky_trace.records import FORMAT, Kind, Status
from chopsky_trace.sources import langchain_fields as fields
from chopsky_trace.sources.langchain_messages import answer_of
from chopsky_trace.sources.langchain_out import Out
from chopsky_trace.sources.langchain_runs import SOURCE, OpenSpan
from chopsky_trace.sources.memory import Root, Told, answer_refs

MISSING: Any = object()
"""No inputs were given, which is not the same as None."""


class Ends(Out):
    """What is known when a span ends."""

    def end(
        self,
        kind: Kind,
        run_id: UUID,
        status: Status,
        outputs: Any = None,
        error: str | None = None,
        inputs: Any = MISSING,
    ) -> None:
        """A chain, tool or retriever ended; `inputs` where LangChain tells them only now."""
        key = run_id.int
        span = self._closing(key, run_id, kind)
        if span is None:
            return
        root = span.root
        with root.lock:
            try:
                if span.deferred is not None and inputs is not MISSING:
                    self._late_inputs(span, inputs)
                if span.is_top and root.interrupted and status == "completed":
                    status = "interrupted"
                record = self._end_record(span, status, error)
                told = Told()
                try:
                    self._outputs(record, span, told, outputs, status)
                except Exception as trouble:
                    self._unreadable(record, "outputs", trouble)
                self._finish(record, span, told, status)
            finally:
                self.runs.closed(key, root)

    def end_model(
        self, run_id: UUID, status: Status, results: Sequence[Any], facts: dict[str, Any], error: str | None = None
    ) -> None:
        """A model call ended: its generations, and what it says of usage and model."""
        key = run_id.int
        span = self._closing(key, run_id, "llm")
        if span is None:
            return
        self.runs.waiting.discard(key)
        root = span.root
        with root.lock:
            try:
                record = self._end_record(span, status, error)
                told = Told()
                try:
                    self._facts(record, span, told, facts)
                except Exception as trouble:
                    self._unreadable(record, "metadata", trouble)
                try:
                    if results and self.options.with_outputs:
                        self._said(record, span, told, results)
                    elif results and self.options.with_shapes:
                        record["outputs"] = self.full.shape(results[0])
                except Exception as trouble:
                    self._unreadable(record, "outputs", trouble)
                self._finish(record, span, told, status)
            finally:
                self.runs.closed(key, root)

    def _closing(self, key: int, run_id: UUID, kind: Kind) -> OpenSpan | None:
        runs = self.runs
        span = runs.open.pop(key, None)
        if span is None and key not in runs.ended:
            # Its start was before our time: the end stands alone.
            span_hex = run_id.hex
            root = runs.roots.get(span_hex) or runs.new_root(span_hex, time_ns() // 1000, self.epoch())
            span = OpenSpan(span_hex, root, kind, 0, False)
        return span

    def _finish(self, record: dict[str, Any], span: OpenSpan, told: Told, status: Status) -> None:
        root = span.root
        if span.events:
            record["events"] = [orjson.Fragment(encoded) for encoded, _ in span.events]
            for _, mentioned in span.events:
                told.bodies[:0] = mentioned.bodies
                told.refs[:0] = mentioned.refs
        self._emit(root, record, told)
        if status == "failed" and not root.sampled and not root.failed:
            root.failed = True
            self._release(root)

    def _end_record(self, span: OpenSpan, status: Status, error: str | None) -> dict[str, Any]:
        root = span.root
        seen = time_ns()
        if seen < span.seen + 2:
            seen = span.seen + 2
        record: dict[str, Any] = {
            "v": FORMAT,
            "t": "end",
            "id": span.hex,
            "run": root.id,
            "seen": seen,
            "source": SOURCE,
            "kind": span.kind,
            "status": status,
        }
        if span.seen:
            # One clock for the length, so that a jump of the other cannot make it negative.
            elapsed = monotonic_ns() - span.mono
            record["at"] = (span.seen + elapsed) // 1000
            record["duration_ms"] = elapsed / 1e6
            record["started"] = span.seen // 1000
            if span.first_token is not None:
                record["first_token_ms"] = (span.first_token - span.mono) / 1e6
        else:
            record["at"] = seen // 1000
        if error:
            record["error"] = self._error(error)
        return record

    def _error(self, error: str) -> Any:
        if not self.options.with_content:
            return error.split(":", 1)[0]
        if self.options.redactor is not None:
            error = self.options.redactor.text(error)
        return self.full.plain(error)

    def _late_inputs(self, span: OpenSpan, inputs: Any) -> None:
        """The start again, whole, now that its inputs are known: the later start replaces the first."""
        record = cast("dict[str, Any]", span.deferred)
        told = Told()
        record.pop("bodies", None)
        record.pop("messages", None)
        record["seen"] = span.seen + 1
        if self.options.with_inputs:
            self._inputs(record, span, told, inputs)
            self._emit(span.root, record, told)

    def _outputs(self, record: dict[str, Any], span: OpenSpan, told: Told, outputs: Any, status: Status) -> None:
        if not self.options.with_outputs:
            if outputs is not None and self.options.with_shapes:
                record["outputs"] = self.full.shape(outputs)
            return
        if outputs is not None:
            record["outputs"] = self.full.payload(span.root, told, outputs)
        if span.is_top and status == "completed":
            self._answer(span.root, told, outputs)

    def _answer(self, root: Root, told: Told, outputs: Any) -> None:
        """Which messages the user was answered: the root's output, else what its last call said."""
        answer = answer_of(self.full, root, told, outputs)
        if answer:
            answer_refs(root, told, answer)
            return
        for body, said_by, n in root.last_output:
            told.refs.append({"body": body, "place": "out", "n": n, "position": n, "internal": False, "span": said_by})

    def _said(self, record: dict[str, Any], span: OpenSpan, told: Told, results: Sequence[Any]) -> None:
        root = span.root
        ids: list[str] = []
        root.last_output = []
        for n, result in enumerate(results):
            if isinstance(result, str):
                entry = self.full.body(root, told, "assistant", result)
            else:
                entry = self.full.entry(root, told, result)
            root.said(told, entry, span.hex, n, internal=not span.shown)
            root.last_output.append((entry.id, span.hex, n))
            ids.append(entry.id)
        record["output_bodies"] = ids
        if span.node is not None:
            root.extend(span.node, span.hex, ids[0])

    def _facts(self, record: dict[str, Any], span: OpenSpan, told: Told, facts: dict[str, Any]) -> None:
        """Which model answered, what it used, why it stopped."""
        if span.provider:
            record["provider"] = span.provider
        if span.model:
            record["model_requested"] = span.model
        response = fields.response_of(facts)
        record.update(fields.answer_facts(facts, response))
        if fields.is_cache_hit(facts, span.hex):
            record["cached"] = True
        record["usage"] = fields.usage_of(facts, response)
        if response and self.options.with_content:
            kept = self._without_secrets({k: v for k, v in response.items() if k not in fields.NOT_RESPONSE_METADATA})
            if kept:
                record["metadata"] = self.full.payload(span.root, told, {"response": kept})
