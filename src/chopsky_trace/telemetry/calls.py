"""Model calls: their prompts and answers, whether their spans have them or log records do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from chopsky_trace.records import FORMAT, text_of
from chopsky_trace.telemetry.conventions.reading import Message, Reading
from chopsky_trace.telemetry.places import TraceRoot
from chopsky_trace.telemetry.spans import SOURCE, Spans
from chopsky_trace.telemetry.traces import Gathered, Known, Trace, Untold
from chopsky_trace.telling.memory import (
    Came,
    Draft,
    Entry,
    Node,
    Root,
    Spent,
    chars_of,
    growth,
    ordinals,
    prompt_refs,
    tail_of,
)


class Calls(Spans):
    """What records of model calls have beside."""

    def _call(
        self, start: Draft, end: Draft, known: Known, trace: Trace, reading: Reading, *, again: bool = False
    ) -> None:
        """A model call's prompt and answers; `again`: more of them came since it was last told."""
        root = trace.root
        shown = known.parent is None
        node = came = None
        if reading.prompt is not None:
            if self.with_inputs:
                node, came = self._prompt(start, known, root, reading, shown=shown, again=again)
            elif self.options.with_shapes:
                start["inputs"] = self.full.shape(reading.prompt)
            if self.estimates and not reading.usage:
                end["lengths"] = _lengths(reading)
        if came is not None and node is not None:
            if reading.status == "failed" and reading.first_token_ms is None and not shown:
                node.waiting = came
            else:
                root.size(end, *came)
        if reading.answers:
            if self.with_outputs:
                self._answers(end, known, root, reading, node, shown=shown)
            elif self.options.with_shapes:
                end["outputs"] = self.full.shape(reading.answers[0])
        if shown:
            known.asked, known.replied = bool(known.tail), bool(known.answered)

    def _prompt(
        self, start: Draft, known: Known, root: TraceRoot, reading: Reading, *, shown: bool, again: bool
    ) -> tuple[Node, Came | None]:
        assert reading.prompt is not None
        entries = self.full.entries(root, start, reading.prompt)
        ids = [entry.id for entry in entries]
        start["prompt"], node, place, spent = root.prompt(start["id"], entries, ids)
        if again:
            # The tree has its own first part under its own name.
            start["prompt"] = {"bodies": ids}
        fresh = prompt_refs(root, start, entries, ids, place, shown=shown)
        root.began(start, ids)
        known.tail = _tail_of(entries, ids)
        start["question_keys"] = [body for body, *_ in known.tail]
        if not fresh:
            return node, node.waiting
        before = None
        if not root.called:
            before = 0
        elif spent is not None and spent[0] == reading.model_requested and spent[1] == _tools(reading):
            before = spent[2]
        root.called = True
        return node, (fresh, growth(entries, place), before)

    def _answers(
        self, end: Draft, known: Known, root: Root, reading: Reading, node: Node | None, *, shown: bool
    ) -> None:
        ids: list[str] = []
        for n, message in enumerate(reading.answers or ()):
            entry = self.full.entry(root, end, message)
            # To ask for a tool is no answer to the user.
            answers = bool(entry.text) or not entry.has_calls
            root.said(end, entry, end["id"], n, internal=not (shown and answers))
            # Of calls that say the same, the answer to the user is the last one's.
            root.outputs[entry.id] = end["id"], n, end["seen"] // 1000, None
            if answers:
                known.answered.append((entry.id, n))
            ids.append(entry.id)
        end["output_bodies"] = ids
        if node is not None:
            root.extend(node, end["id"], ids[0], _spent(reading) if len(ids) == 1 else None)

    def _awaits(self, start: Draft, end: Draft, trace: Trace, span_id: str, reading: Reading) -> None:
        """The span has no messages: those that came before it, and perhaps more after it, are log records."""
        untold = trace.untold[span_id] = Untold(dict(start), dict(end), reading)
        gathered = trace.gathered.get(span_id)
        if gathered is not None:
            untold.told = True
            take_heard(reading, gathered)
            self._finished(end, reading)

    def _finished(self, end: Draft, reading: Reading) -> None:
        if reading.finish_reason:
            end["finish_reason"] = self._word(reading.finish_reason)

    def heard(self, trace: Trace, span_id: str, at: int) -> None:
        """Messages of a call came as log records, before its span or after it."""
        root = trace.root
        gathered = trace.gathered[span_id]
        untold = trace.untold.get(span_id)
        if untold is None:
            if span_id not in trace.spans:
                self._heard_early(trace, span_id, gathered, at)
            return
        untold.times += 1
        untold.reading.prompt = untold.reading.answers = None
        take_heard(untold.reading, gathered)
        start: Draft = {**untold.start, "bodies": [], "messages": [], "seen": untold.start["seen"] + untold.times}
        end: Draft = {**untold.end, "bodies": [], "messages": [], "seen": untold.end["seen"] + untold.times}
        self._finished(end, untold.reading)
        known = trace.unsettled[span_id] = trace.spans[span_id]
        known.tail, known.answered = [], []
        root.started = untold.reading.started // 1000
        self._call(start, end, known, trace, untold.reading, again=untold.told or untold.times > 1)
        self._emit(root, start)
        self._emit(root, end)

    def _heard_early(self, trace: Trace, span_id: str, gathered: Gathered, at: int) -> None:
        """They are in the journal before their span is: as history, which gives way once it is known whose they are."""
        root = trace.root
        root.started = at // 1000
        draft = self._told_beside(trace, trace.id_of(span_id), at)
        if self.with_inputs:
            entries = self.full.entries(root, draft, gathered.prompt)
            ids = [entry.id for entry in entries]
            for index, (entry, n) in enumerate(zip(entries, ordinals(ids), strict=True)):
                root.history(draft, entry.id, n, index, chars_of(entry), waits=True)
        if self.with_outputs:
            for n, message in enumerate(gathered.answers_in_order()):
                entry = self.full.entry(root, draft, message)
                draft["messages"].append(
                    {"body": entry.id, "place": "out", "n": n, "position": n, "internal": True, "span": draft["id"]}
                )
        if draft["messages"]:
            self._emit(root, draft)

    @staticmethod
    def _told_beside(trace: Trace, span: str, at: int) -> Draft:
        return {
            "v": FORMAT,
            "t": "messages",
            "id": span,
            "run": trace.root.id,
            "seen": at,
            "at": at // 1000,
            "source": SOURCE,
            "bodies": [],
            "messages": [],
        }


def take_heard(reading: Reading, gathered: Gathered) -> None:
    """What log records say, where the span itself does not."""
    if reading.prompt is None and gathered.prompt:
        reading.prompt = list(gathered.prompt)
    if reading.answers is None and gathered.answers:
        reading.answers = gathered.answers_in_order()
    reading.finish_reason = reading.finish_reason or gathered.finish_reason


def _tail_of(entries: Sequence[Entry], ids: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """What the user said in a prompt since the last answer."""
    tail = tail_of(entries)
    return [
        (ids[index], n, index, len(entries[index].text))
        for index, n in enumerate(ordinals(ids[tail:]), tail)
        if entries[index].role == "user"
    ]


def _tools(reading: Reading) -> Any:
    return (reading.params or {}).get("tools")


def _spent(reading: Reading) -> Spent | None:
    """What this call's prompt and answer take in a prompt that goes on from them: reasoning is not sent again."""
    said: Any = (reading.usage or {}).get("usage_metadata")
    if not isinstance(said, dict):
        return None
    stated = cast("dict[str, Any]", said)
    given: Any = stated.get("input_tokens")
    got: Any = stated.get("output_tokens")
    if given.__class__ is not int or got.__class__ is not int or not given:
        return None
    details: dict[str, Any] = stated.get("output_token_details") or {}
    got -= details.get("reasoning") or 0
    return (reading.model_requested, _tools(reading), given + got) if got >= 0 else None


def _lengths(reading: Reading) -> dict[str, int]:
    """What a call's tokens can be estimated from."""
    prompt = reading.prompt or []
    lengths = {"input_chars": sum(_chars(message) for message in prompt), "messages": len(prompt)}
    images = sum(part.get("type") == "image" for m in prompt if isinstance(m.content, list) for part in m.content)
    if images:
        lengths["images"] = images
    if reading.answers:
        lengths["output_chars"] = sum(_chars(message) for message in reading.answers)
    return lengths


def _chars(message: Message) -> int:
    return len(text_of(message.content)) + sum(len(str(call.args)) + len(call.name) for call in message.calls)
