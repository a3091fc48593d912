"""Ends of LangChain runs -> records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns, time_ns
from typing import Any, cast
from uuid import UUID

from orjson import Fragment

from chopsky_trace.enrich.answers import facts_of
from chopsky_trace.enrich.usage import whole_stream
from chopsky_trace.records import FORMAT, Kind, Status
from chopsky_trace.sources.langchain.lengths import lengths_of
from chopsky_trace.sources.langchain.messages import as_returned
from chopsky_trace.sources.langchain.out import Out
from chopsky_trace.sources.langchain.runs import SOURCE, OpenSpan
from chopsky_trace.sources.langchain.turns import answer_of
from chopsky_trace.telling.memory import Draft, Spent, answer_refs

ANSWERED = ("completed", "interrupted")
MISSING: Any = object()
"""No inputs were given, which is not the same as None."""


class Ends(Out):
    """What is known when a span ends."""

    run_ended: Callable[[], None] | None = None
    """Called when a run's own span has ended."""

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
        runs = self.runs
        span = runs.open.pop(key, None) or self._unopened(key, kind)
        if span is None:
            return
        root = span.root
        with root.lock:
            try:
                if span.deferred is not None and inputs is not MISSING:
                    self._late_inputs(span, inputs)
                if root.interrupted and status == "completed" and (span.is_top or span.interrupted):
                    status = "interrupted"
                draft = self._ended(span, status, error)
                try:
                    if outputs is not None:
                        if self.with_outputs:
                            given = as_returned(root, outputs) if kind == "tool" else outputs
                            draft["outputs"] = self.full.payload(root, draft, given)
                        elif self.options.with_shapes:
                            draft["outputs"] = self.full.shape(outputs)
                    if span.is_top and self.with_outputs and status in ANSWERED:
                        self._answer(draft, span, outputs, status)
                except Exception as trouble:
                    self._unreadable(draft, "outputs", trouble)
                if span.is_top and root.unsized:
                    # What no model was given.
                    root.size(draft, list(root.unsized), 0, None)
                self._finish(draft, span, status)
            finally:
                runs.closed(key, root)
        if self.run_ended is not None and span.is_top:
            self.run_ended()

    def end_model(
        self, run_id: UUID, status: Status, results: Sequence[Any], said: Mapping[str, Any], error: str | None = None
    ) -> None:
        """A model call ended: its generations, and what it says of usage and model."""
        key = run_id.int
        runs = self.runs
        span = runs.open.pop(key, None) or self._unopened(key, "llm")
        if span is None:
            return
        runs.waiting.discard(key)
        root = span.root
        with root.lock:
            try:
                draft = self._ended(span, status, error)
                if span.sizes is not None:
                    self._size(draft, span, status)
                try:
                    self._says(draft, span, said)
                except Exception as trouble:
                    self._unreadable(draft, "metadata", trouble)
                if span.asked is not None and not said.get("usage_metadata") and not _is_told_with_another(span, said):
                    self._measure(draft, span.asked, results)
                try:
                    if results and self.with_outputs:
                        self._said(draft, span, results, said)
                    elif results and self.options.with_shapes:
                        draft["outputs"] = self.full.shape(results[0])
                except Exception as trouble:
                    self._unreadable(draft, "outputs", trouble)
                self._finish(draft, span, status)
            finally:
                runs.closed(key, root)
        if self.run_ended is not None and span.is_top:
            self.run_ended()

    @staticmethod
    def _size(draft: Draft, span: OpenSpan, status: Status) -> None:
        """The sizes of what came with its prompt; those of a refused call wait for the next try of the same prompt."""
        assert span.sizes is not None
        if status == "failed" and span.first_token is None and span.node is not None and not span.is_top:
            span.node.waiting = span.sizes
        else:
            span.root.size(draft, *span.sizes)

    def _measure(self, draft: Draft, asked: tuple[Any, Any], results: Sequence[Any]) -> None:
        """What its tokens can be estimated from, in the worker."""
        try:
            draft["lengths"] = lengths_of(asked, results)
        except Exception as trouble:
            self.lost_field("lengths", trouble)

    def _unopened(self, key: int, kind: Kind) -> OpenSpan | None:
        """For an end that stands alone, because its start was before our time; None for one told twice."""
        runs = self.runs
        if key in runs.ended:
            return None
        span = OpenSpan()
        span.hex = span_hex = key.to_bytes(16).hex()
        span.root = runs.roots.get(span_hex) or self._new_root(span_hex, time_ns() // 1000)
        span.kind = kind
        span.parent = None
        span.is_top = False
        span.seen = span.mono = 0
        return span

    def _finish(self, draft: Draft, span: OpenSpan, status: Status) -> None:
        root = span.root
        if span.events:
            self._add_events(draft, span.events)
        self._emit(root, draft)
        if status == "failed" and not root.sampled:
            self._release(root)

    @staticmethod
    def _add_events(draft: Draft, events: list[tuple[bytes, Draft]]) -> None:
        draft["events"] = [Fragment(encoded) for encoded, _ in events]
        for _, mentioned in events:
            draft["bodies"][:0] = mentioned["bodies"]
            draft["messages"][:0] = mentioned["messages"]
            if "contents" in mentioned:
                draft["contents"] = [*mentioned["contents"], *draft.get("contents", ())]

    def _ended(self, span: OpenSpan, status: Status, error: str | None) -> Draft:
        began = span.seen
        draft: Draft = {
            "v": FORMAT,
            "t": "end",
            "id": span.hex,
            "run": span.root.id,
            # One clock for the length, so that a jump of the other cannot make it negative; and after its start, told
            # once or twice, in any case.
            "seen": began + max(monotonic_ns() - span.mono, 2) if began else time_ns(),
            "began": began,
            "source": SOURCE,
            "kind": span.kind,
            "status": status,
            "bodies": [],
            "messages": [],
        }
        if span.first_token is not None:
            draft["first_token_ms"] = (span.first_token - span.mono) / 1e6
        if error:
            draft["error"] = self._error(error)
        return draft

    def _error(self, error: str) -> Any:
        if not self.options.with_content:
            return error.split(":", 1)[0]
        if self.options.redactor is not None:
            error = self.options.redactor.text(error)
        return self.full.plain(error)

    def _late_inputs(self, span: OpenSpan, inputs: Any) -> None:
        """The start again, whole, now that its inputs are known: the later start replaces the first."""
        draft = cast("Draft", span.deferred)
        draft["bodies"] = []
        draft["messages"] = []
        draft.pop("contents", None)
        draft["seen"] = span.seen + 1
        if self.with_inputs:
            self._inputs(draft, span, inputs)
            self._emit(span.root, draft)

    def _answer(self, draft: Draft, span: OpenSpan, outputs: Any, status: Status) -> None:
        """Which messages the user was answered: the root's output, else what its last call said.

        An interrupted graph gives back its state: of that the messages are what the user has read by then.
        """
        root = span.root
        answer, given = answer_of(self.full, root, draft, outputs, texts=not span.interrupted)
        if answer:
            answer_refs(root, draft, answer, given)
        if answer or status != "completed":
            return
        refs = draft["messages"]
        for body, said_by, n in root.last_output:
            refs.append({"body": body, "place": "out", "n": n, "position": n, "internal": False, "span": said_by})

    def _said(self, draft: Draft, span: OpenSpan, results: Sequence[Any], said: Mapping[str, Any]) -> None:
        root = span.root
        ids: list[str] = []
        root.last_output = []
        for n, result in enumerate(results):
            if isinstance(result, str):
                entry = self.full.body(root, draft, "assistant", result)
            else:
                entry = self.full.entry(root, draft, result)
            root.said(draft, entry, span.hex, n, internal=not span.shown)
            root.last_output.append((entry.id, span.hex, n))
            ids.append(entry.id)
        draft["output_bodies"] = ids
        if span.node is not None:
            # Of several choices the usage is that of all.
            root.extend(span.node, span.hex, ids[0], _spent(span, said) if len(ids) == 1 else None)

    def _says(self, draft: Draft, span: OpenSpan, said: Mapping[str, Any]) -> None:
        """What the answer says of its model, usage and why it stopped: read where there is time for it."""
        self._asked(draft, span)
        if not said:
            return
        if span.last_chunk is not None:
            said = {**said, "last_chunk": span.last_chunk}
        if self.options.with_content and self.options.redactor is None and span.root.sampled:
            draft["said"] = self._open_payload(span.root, draft, said)
            return
        said = self._without_secrets(said)
        # Names and numbers are no content; of the rest there is what may be kept, redacted.
        draft.update(facts_of(self.full.plain(said), span.hex))
        rest = draft.pop("metadata", None)
        if rest and self.options.with_content:
            draft["metadata"] = self.full.payload(span.root, draft, rest)


def _is_told_with_another(span: OpenSpan, said: Mapping[str, Any]) -> bool:
    """Of a text model's several prompts LangChain gives the usage of all to the first, an empty one to the others."""
    overall: Any = said.get("llm_output")
    return span.first_token is None and overall.__class__ is dict and overall.get("token_usage") == {}


def _spent(span: OpenSpan, said: Mapping[str, Any]) -> Spent | None:
    """What this call's prompt and answer take in a prompt that goes on from them: reasoning is not sent again.

    None where that cannot be told. What LangChain adds up or counts beside is put right as the worker does it.
    """
    usage: Any = said.get("usage_metadata")
    last = span.last_chunk
    if last is not None:
        usage = whole_stream(usage, last)
    if usage.__class__ is not dict:
        return None
    given: Any = usage.get("input_tokens")
    got: Any = usage.get("output_tokens")
    if given.__class__ is not int or got.__class__ is not int or not given:
        return None
    details: dict[str, Any] | None = usage.get("output_token_details")
    if details:
        # A service tier may stand before the name.
        reasoning = sum([count for name, count in details.items() if name.endswith("reasoning") and count])
        beside = usage.get("total_tokens", 0) - given - got
        if reasoning and beside != reasoning:
            # Beside the output it has to be taken out of nothing; counted twice it has to go twice.
            got -= reasoning * (2 if beside == -reasoning else 1)
    return (span.model, span.tools, given + got) if got >= 0 else None
