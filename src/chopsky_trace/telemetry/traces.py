"""What is remembered of a trace while its spans come in, in whatever order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from chopsky_trace.records import Kind, derived_id
from chopsky_trace.telemetry.conventions.native import NativeLog, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Heard, Message, Reading
from chopsky_trace.telemetry.places import TraceRoot
from chopsky_trace.telling.memory import Draft

if TYPE_CHECKING:
    from chopsky_trace.telemetry.records import Records

CALL = "llm"
REMEMBERED_TRACES = 50_000
"""GenAI traces that late spans are recognised by when all else of them is forgotten."""
MAX_ANCESTORS = 1_000
"""Longest chain of parents that is followed; ids may name each other in a circle."""


class Known:
    """One span that came: what the trace's other spans have to know of it."""

    __slots__ = (
        "answered",
        "asked",
        "began",
        "ended",
        "hex",
        "is_first",
        "is_genai",
        "kind",
        "parent",
        "question",
        "replied",
        "reply",
        "tail",
    )

    def __init__(self, span_hex: str, native: NativeSpan, reading: Reading | None) -> None:
        self.hex = span_hex
        self.parent = native.parent_id
        self.is_first = native.is_first
        """Whether nothing above it is of this process."""
        self.is_genai = reading is not None and reading.is_genai
        self.kind: Kind = reading.kind if reading is not None else "other"
        self.began = reading.started if reading is not None else native.start
        self.ended = reading.ended if reading is not None else native.end
        self.question: list[Message] | None = None
        """What the user said, as it was given it; None once told."""
        self.reply: list[Message] | None = None
        self.tail: list[tuple[str, int, int, int]] = []
        """Of a call: body, n, position and length of what the user said in its prompt."""
        self.answered: list[tuple[str, int]] = []
        """Of a call: body and n of its answers."""
        self.asked = False
        """Of a topmost span: whether what the user said is told."""
        self.replied = False


class Gathered:
    """The messages of one call that came as log records, so far."""

    def __init__(self) -> None:
        self.prompt: list[Message] = []
        self.answers: dict[int, Message] = {}
        self.finish_reason: str | None = None
        self.seen: set[Any] = set()

    def add(self, log: NativeLog, said: list[Heard]) -> bool:
        """Whether it was news: deliveries are repeated."""
        key = (log.at, log.name, repr(log.body), repr(log.attributes.get("gen_ai.input.messages")))
        if key in self.seen:
            return False
        self.seen.add(key)
        for heard in said:
            if heard.half == "prompt":
                self.prompt.append(heard.message)
            else:
                self.answers[heard.choice] = heard.message
                self.finish_reason = heard.finish_reason or self.finish_reason
        return True

    def answers_in_order(self) -> list[Message]:
        """The choices, first to last."""
        return [self.answers[choice] for choice in sorted(self.answers)]


class Untold:
    """A call whose span has no messages: what was put of it, to be put again with those that come as log records."""

    __slots__ = ("end", "reading", "start", "times", "told")

    def __init__(self, start: Draft, end: Draft, reading: Reading) -> None:
        self.start = start
        self.end = end
        self.reading = reading
        self.times = 0
        """How often it was put again."""
        self.told = False
        """Whether some of them were there before the span."""


class Trace:
    """One trace. Its memory makes records shorter and says what of a prompt is new; rows do not depend on it."""

    def __init__(self, trace_id: str, epoch: int) -> None:
        self.root = TraceRoot(trace_id, 0, epoch)
        self.is_genai = False
        self.rooted = False
        """Whether the span without a parent came, or one whose parent is in another process."""
        self.is_late = False
        """Whether all of it seemed to be here once: what comes now was not waited for."""
        self.touched = 0.0
        """When it was last heard of, on the monotonic clock."""
        self.waiting: list[NativeSpan] = []
        """Spans that are about no model, while none has come that is."""
        self.waiting_chars = 0
        self.logs = 0
        """Log records with messages that came."""
        self.spans: dict[str, Known] = {}
        self.unsettled: dict[str, Known] = {}
        self.gathered: dict[str, Gathered] = {}
        self.untold: dict[str, Untold] = {}
        self._ids: dict[str, str] = {}
        self.told_by: Records | None = None
        """Who told its spans: what is settled of them later, is told in the same way."""

    def id_of(self, native_id: str) -> str:
        """The id of a span's row."""
        known = self._ids.get(native_id)
        if known is None:
            known = self._ids[native_id] = derived_id(self.root.id, native_id)
        return known

    @property
    def size(self) -> int:
        """How many spans and log records are remembered."""
        return len(self.spans) + self.logs

    def is_complete(self) -> bool:
        """Whether all of it seems to be here, and told: its root, and the parent of every span."""
        return (
            self.rooted
            and self.is_genai
            and not (self.unsettled or self.untold or self.waiting)
            and all(span.parent is None or span.parent in self.spans for span in self.spans.values())
        )

    def calls_of(self, top: Known) -> list[Known]:
        """The model calls beneath a topmost span, the earliest first."""
        calls = [span for span in self.spans.values() if span.kind == CALL and self._top(span)[0] is top]
        return sorted(calls, key=_began)

    def tops(self) -> Iterator[tuple[Known, list[Known], bool]]:
        """Each topmost GenAI span that is not settled, with the model calls beneath it (itself, if it is one).

        And whether all that is above it is here.
        """
        calls: dict[str, list[Known]] = {}
        tops: dict[str, tuple[Known, bool]] = {}
        for span in self.spans.values():
            if not span.is_genai:
                continue
            top, is_whole = self._top(span)
            # Of one that comes late, the spans around it are forgotten.
            if span is top and not (span.asked and span.replied) and (span.parent is None or not self.is_late):
                tops[span.hex] = span, is_whole
            if span.kind == CALL:
                calls.setdefault(top.hex, []).append(span)
        for top, is_whole in sorted(tops.values(), key=lambda found: _began(found[0])):
            yield top, sorted(calls.get(top.hex, ()), key=_began), is_whole

    def _top(self, span: Known) -> tuple[Known, bool]:
        """The topmost GenAI span above it that is here, and whether all above that is."""
        top = above = span
        for _ in range(MAX_ANCESTORS):
            parent = self.spans.get(above.parent or "")
            if parent is None:
                break
            above = parent
            if above.is_genai:
                top = above
        return top, above.is_first


def _began(span: Known) -> tuple[int, str]:
    return span.began, span.hex


class Traces:
    """The traces of one destination in this process: spans and log records meet here, whoever sends them."""

    def __init__(self) -> None:
        self.open: dict[str, Trace] = {}
        """In the order in which they were last heard of."""
        self.waiting = 0
        """Spans of all traces that wait for a GenAI span."""
        self.waiting_chars = 0
        """The text in their attributes."""
        self._genai: dict[str, bool] = {}
        """The latest that turned out to be about a model, and whether they were complete."""

    def get(self, trace_id: str, epoch: int, now: float) -> Trace | None:
        """The trace, heard of now."""
        trace = self.open.pop(trace_id, None)
        if trace is not None:
            self._touch(trace, trace_id, epoch, now)
        return trace

    def add(self, trace_id: str, epoch: int, now: float, *, sampled: bool) -> Trace:
        """A trace that is new, or was forgotten."""
        trace = Trace(trace_id, epoch)
        trace.is_genai = trace_id in self._genai
        trace.is_late = self._genai.get(trace_id, False)
        trace.root.sampled = sampled
        self._touch(trace, trace_id, epoch, now)
        return trace

    def _touch(self, trace: Trace, trace_id: str, epoch: int, now: float) -> None:
        self.open[trace_id] = trace
        trace.touched = now
        if trace.root.epoch != epoch:
            trace.root.epoch = epoch
            trace.root.forget()

    def is_genai(self, trace: Trace) -> None:
        """It turned out to be about a model."""
        if not trace.is_genai:
            trace.is_genai = True
            self._genai[trace.root.id] = False
            if len(self._genai) > REMEMBERED_TRACES:
                del self._genai[next(iter(self._genai))]

    def forget_complete(self, trace: Trace) -> None:
        """Nothing more is expected of it: memory is for those under way."""
        if trace.is_complete() and self.open.pop(trace.root.id, None) is not None and trace.root.id in self._genai:
            self._genai[trace.root.id] = True

    def wait(self, trace: Trace, native: NativeSpan) -> None:
        """A span is about no model, and no other of its trace so far."""
        trace.waiting.append(native)
        self.waiting += 1
        chars = sum(len(value) for value in native.attributes.values() if value.__class__ is str)
        trace.waiting_chars += chars
        self.waiting_chars += chars

    def released(self, trace: Trace) -> list[NativeSpan]:
        """The trace's spans that waited; they wait no longer."""
        waiting, trace.waiting = trace.waiting, []
        self.waiting -= len(waiting)
        self.waiting_chars -= trace.waiting_chars
        trace.waiting_chars = 0
        return waiting
