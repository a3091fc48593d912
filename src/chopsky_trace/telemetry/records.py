"""Readings -> records: a span's start and end, and what settles who said what when a trace is complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chopsky_trace.telemetry.calls import Calls
from chopsky_trace.telemetry.conventions import table
from chopsky_trace.telemetry.conventions.native import NativeSpan
from chopsky_trace.telemetry.conventions.reading import Reading
from chopsky_trace.telemetry.spans import CALL_KINDS
from chopsky_trace.telemetry.traces import Known, Trace
from chopsky_trace.telling.memory import (
    Draft,
    Root,
    answer_refs,
    question_refs,
)

APART = frozenset((*table.METADATA_OBJECTS, *table.TAGS))


class Records(Calls):
    """Makes the records of spans, and puts them."""

    def other(self, trace: Trace, native: NativeSpan, reading: Reading) -> None:
        """A span that is about no model, of a trace that is."""
        known = trace.spans[native.span_id] = Known(trace.id_of(native.span_id), native, reading)
        start = self._begun(trace, native, reading, known.hex)
        reading.metadata = _attributes(native, reading)
        self._describe(start, trace.root, native, reading)
        self._emit(trace.root, start)
        if native.end:
            self._emit(trace.root, self._ended(trace, native, reading, known.hex))

    def began(self, trace: Trace, native: NativeSpan, reading: Reading) -> None:
        """A GenAI span that is under way: its end will tell the rest."""
        start = self._begun(trace, native, reading, trace.id_of(native.span_id))
        # What comes with the end replaces it.
        start["seen"] = native.start
        self._emit(trace.root, start)

    def genai(self, trace: Trace, native: NativeSpan, reading: Reading) -> None:
        """A GenAI span that has ended."""
        root = trace.root
        known = trace.spans[native.span_id] = Known(trace.id_of(native.span_id), native, reading)
        trace.unsettled[native.span_id] = known
        root.started = reading.started // 1000
        start = self._begun(trace, native, reading, known.hex)
        end = self._ended(trace, native, reading, known.hex)
        self._describe(start, root, native, reading)
        if reading.kind in CALL_KINDS:
            self._says(end, trace, reading)
        if reading.kind == "llm":
            start["question_keys"] = []
            if reading.prompt is None and reading.answers is None:
                self._awaits(start, end, trace, native.span_id, reading)
            self._call(start, end, known, trace, reading)
            # What came of an answer before the call failed.
            self._payload(end, "outputs", root, reading.outputs, whole=self.with_outputs)
        else:
            self._payloads(start, end, root, reading)
            known.question, known.reply = reading.question, reading.reply
            if self.with_inputs and reading.question is not None:
                start["question_keys"] = self.full.question_keys(reading.question)
            end["answer_keys"] = self.full.answer_keys(reading.reply) if self.with_outputs and reading.reply else []
            if native.parent_id is None:
                self._conversation(start, end, known, trace)
        self._emit(root, start)
        self._emit(root, end)
        if reading.status == "failed" and not root.sampled:
            self._release(root)

    def _conversation(self, start: Draft, end: Draft, known: Known, trace: Trace) -> None:
        """What the user said and was answered, told with the trace's root, which mostly comes last."""
        calls = trace.calls_of(known)
        if calls or known.question is not None or known.reply is not None:
            self._settle(start, end, trace.root, known, calls)
        if trace.root.unsized:
            # What no model was given.
            trace.root.size(end, list(trace.root.unsized), 0, None)

    # -- when a trace is complete, as far as can be told

    def settle(self, trace: Trace, *, ended: bool) -> None:
        """Shows what the user said and was answered: what the topmost GenAI spans have, else their calls' messages.

        Args:
            ended: nothing more of the trace is expected, so a span whose parent is not here is topmost, too.
        """
        if not trace.unsettled:
            return
        trace.unsettled = {}
        root = trace.root
        for top, calls, is_whole in trace.tops():
            if not (is_whole or ended) or (not calls and top.question is None and top.reply is None):
                # What is above it, or beneath it, may still come.
                trace.unsettled[top.hex] = top
                continue
            draft = self._told_beside(trace, top.hex, top.began)
            root.started = top.began // 1000
            self._settle(draft, draft, root, top, calls)
            if draft["messages"]:
                self._emit(root, draft)

    def _settle(self, start: Draft, end: Draft, root: Root, top: Known, calls: Sequence[Known]) -> None:
        if not top.asked:
            top.asked = not self.with_inputs or self._settle_question(start, root, top, calls)
        if not top.replied:
            top.replied = not self.with_outputs or self._settle_reply(end, root, top, calls)

    def _settle_question(self, draft: Draft, root: Root, top: Known, calls: Sequence[Known]) -> bool:
        if top.question is not None:
            question_refs(root, draft, self.full.entries(root, draft, top.question))
            top.question = None
            return True
        # Of one call told twice the outer one may have no messages.
        for call in [call for call in calls if call.tail][:1]:
            for body, n, position, chars in call.tail:
                told = len(draft["messages"])
                root.own(draft, body, n, position, chars, internal=False, at=call.began // 1000)
                for ref in draft["messages"][told:]:
                    ref["span"] = call.hex
            return True
        return False

    def _settle_reply(self, draft: Draft, root: Root, top: Known, calls: Sequence[Known]) -> bool:
        if top.reply is not None:
            told = len(draft["messages"])
            answer_refs(root, draft, self.full.entries(root, draft, top.reply))
            for ref in draft["messages"][told:]:
                ref["at"] = top.ended // 1000
            top.reply = None
            return True
        for call in sorted([c for c in calls if c.answered], key=lambda known: (known.ended, known.hex))[-1:]:
            for body, n in call.answered:
                ref = {"body": body, "place": "out", "n": n, "position": n, "internal": False, "span": call.hex}
                draft["messages"].append({**ref, "at": call.ended // 1000})
            return True
        return False


def _attributes(native: NativeSpan, reading: Reading) -> dict[str, Any]:
    """What is known of a span that is about no model: its attributes, those that are tags or hold others apart."""
    found = {name: value for name, value in native.attributes.items() if name not in APART}
    return {**found, **(reading.metadata or {})} if len(found) < len(native.attributes) else found
