"""Readings -> records: a span's start and end, and what settles who said what when a trace is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from chopsky_trace.records import FORMAT, text_of
from chopsky_trace.telemetry.bodies import MessageBodies
from chopsky_trace.telemetry.conventions.native import NativeEvent, NativeSpan
from chopsky_trace.telemetry.conventions.reading import Message, Reading
from chopsky_trace.telemetry.traces import Gathered, Known, Trace, Untold
from chopsky_trace.telling.memory import (
    Came,
    Draft,
    Entry,
    Node,
    Root,
    Spent,
    answer_refs,
    chars_of,
    growth,
    prompt_refs,
    question_refs,
    tail_of,
)
from chopsky_trace.telling.options import LostField, Options
from chopsky_trace.telling.outlet import Outlet, Sink

SOURCE = "otel"
CALL_KINDS = ("llm", "embedding", "image")
EVENTS_KEPT = 100
MADE_UP = 1
"""The rank of a session that a framework made up for want of one."""
OWN_EVENTS = ("gen_ai.", "exception", "ai.", "llm.", "mlflow.", "First Token", "pydantic_ai.")
"""How events begin that instrumentors make themselves: what they say is read elsewhere."""
PLAIN_PARAMS = frozenset(("temperature", "top_p", "top_k", "max_tokens", "n", "seed", "stream", "reasoning_effort"))
"""Parameters that are no content."""


class Records(Outlet):
    """Makes the records of spans, and puts them."""

    def __init__(self, sink: Sink, options: Options, lost_field: LostField) -> None:
        self.full = MessageBodies(options.redactor, max_string=options.max_string)
        super().__init__(sink, options, self.full, lost_field)

    # -- spans

    def other(self, trace: Trace, native: NativeSpan, reading: Reading) -> None:
        """A span that is about no model, of a trace that is."""
        known = trace.spans[native.span_id] = Known(trace.id_of(native.span_id), native, reading)
        start = self._begun(trace, native, reading, known.hex)
        if self.options.with_content:
            self._field(start, "metadata", lambda: self._plain(trace.root, start, dict(native.attributes)))
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
        self._describe(start, root, reading)
        if reading.kind in CALL_KINDS:
            self._says(end, trace, reading)
        if reading.kind == "llm":
            if reading.prompt is None and reading.answers is None:
                self._awaits(start, end, trace, native.span_id, reading)
            self._call(start, end, known, trace, reading)
        else:
            self._payloads(start, end, root, reading)
            known.question, known.reply = reading.question, reading.reply
            if native.parent_id is None:
                self._conversation(start, end, known, trace)
        self._emit(root, start)
        self._emit(root, end)
        if reading.status == "failed" and not root.sampled:
            self._release(root)

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
            for index, entry in enumerate(entries):
                root.history(draft, entry.id, ids[:index].count(entry.id), index, chars_of(entry), waits=True)
        if self.with_outputs:
            for n, message in enumerate(gathered.answers_in_order()):
                entry = self.full.entry(root, draft, message)
                draft["messages"].append(
                    {"body": entry.id, "place": "out", "n": n, "position": n, "internal": True, "span": draft["id"]}
                )
        if draft["messages"]:
            self._emit(root, draft)

    # -- parts of a span

    def _begun(self, trace: Trace, native: NativeSpan, reading: Reading, span_id: str) -> Draft:
        run = trace.root.id
        draft: Draft = {
            "v": FORMAT,
            "t": "start",
            "id": span_id,
            "run": run,
            "parent": trace.id_of(native.parent_id) if native.parent_id else None,
            # Nothing of our own clock: a delivery that is repeated is the same record.
            "seen": reading.ended or reading.started,
            "at": reading.started // 1000,
            "source": SOURCE,
            "instrumentor": reading.instrumentor or native.scope,
            "is_provider": reading.is_provider,
            "native_id": native.span_id,
            "kind": reading.kind,
            "name": self._word(reading.name or native.name),
            "bodies": [],
            "messages": [],
        }
        if reading.provider:
            draft["provider"] = self._word(reading.provider)
        if reading.model_requested:
            draft["model"] = self._word(reading.model_requested)
        scope: dict[str, Any] = dict(reading.scope)
        if reading.session_rank == MADE_UP:
            # One for each run would make a session of every turn.
            made_up = scope.pop("session_id", None)
            reading.metadata = {**(reading.metadata or {}), "conversation_id": made_up}
        if native.parent_id is None or native.remote_parent:
            scope = {**self.options.scope, **scope}
        if scope:
            draft["scope"] = scope
        return draft

    def _ended(self, trace: Trace, native: NativeSpan, reading: Reading, span_id: str) -> Draft:
        draft: Draft = {
            "v": FORMAT,
            "t": "end",
            "id": span_id,
            "run": trace.root.id,
            "seen": reading.ended,
            "at": reading.ended // 1000,
            "started": reading.started // 1000,
            "duration_ms": max(0, reading.ended - reading.started) / 1e6,
            "source": SOURCE,
            "kind": reading.kind,
            "status": reading.status,
            "bodies": [],
            "messages": [],
        }
        if reading.first_token_ms is not None:
            draft["first_token_ms"] = reading.first_token_ms
        if reading.error:
            draft["error"] = self._error(reading.error)
        events = [event for event in native.events if not event.name.startswith(OWN_EVENTS)]
        if events and self.options.with_content:
            self._field(draft, "events", lambda: self._events(trace.root, draft, events))
        return draft

    def _events(self, root: Root, draft: Draft, events: Sequence[NativeEvent]) -> Any:
        told = [{"name": event.name, "data": dict(event.attributes)} for event in events[:EVENTS_KEPT]]
        return [self._plain(root, draft, event) for event in told]

    def _error(self, error: str) -> Any:
        if not self.options.with_content:
            return self.full.plain(error.split(":", 1)[0])
        if self.options.redactor is not None:
            error = self.options.redactor.text(error)
        return self.full.plain(error)

    def _describe(self, draft: Draft, root: Root, reading: Reading) -> None:
        options = self.options
        is_top = draft["parent"] is None
        tags = [*options.tags, *reading.tags] if is_top else list(reading.tags)
        metadata: dict[str, Any] = {**(options.metadata if is_top else {}), **(reading.metadata or {})}
        if reading.partial:
            metadata["partial"] = list(reading.partial)
        params = reading.params
        if not options.with_content:
            tags = []
            metadata = {k: v for k, v in metadata.items() if k == "partial"}
            params = {k: v for k, v in (params or {}).items() if k in PLAIN_PARAMS and not isinstance(v, (dict, list))}
        elif options.redactor is not None:
            tags = [options.redactor.text(str(tag)) for tag in tags]
        if tags:
            draft["tags"] = [self._word(str(tag)) for tag in dict.fromkeys(tags)]
        if metadata:
            self._field(draft, "metadata", lambda: self._plain(root, draft, metadata))
        if params:
            self._field(draft, "params", lambda: self._plain(root, draft, params))

    def _word(self, value: Any) -> Any:
        """A name, or whatever stands in the place of one, as a record takes it."""
        if value.__class__ is str and len(value) < self.short and value.isprintable():
            return value
        return self.full.plain(value)

    def _plain(self, root: Root, draft: Draft, values: Mapping[str, Any]) -> Any:
        return self.full.payload(root, draft, self._without_secrets(values))

    def _field(self, draft: Draft, name: str, made: Any) -> None:
        try:
            draft[name] = made()
        except Exception as error:
            self._unreadable(draft, name, error)

    def _says(self, end: Draft, trace: Trace, reading: Reading) -> None:
        """Whom and whose a call was, and what it says of itself: its numbers follow from its end alone."""
        for name, value in (
            ("provider", reading.provider),
            ("model_requested", reading.model_requested),
            ("model", reading.model),
            ("response_id", reading.response_id),
            ("finish_reason", reading.finish_reason),
            ("tenant", reading.scope.get("tenant_id") or self.options.scope.get("tenant_id")),
            ("usage", reading.usage),
        ):
            if value:
                # Usage holds numbers that were read as such.
                end[name] = self._word(value) if value.__class__ is str else value
        if reading.cached:
            end["cached"] = True

    def _payloads(self, start: Draft, end: Draft, root: Root, reading: Reading) -> None:
        shape = self.full.shape if self.options.with_shapes else None
        if reading.inputs is not None:
            if self.with_inputs:
                self._field(start, "inputs", lambda: self.full.payload(root, start, reading.inputs))
            elif shape:
                start["inputs"] = shape(reading.inputs)
        if reading.outputs is not None:
            if self.with_outputs:
                self._field(end, "outputs", lambda: self.full.payload(root, end, reading.outputs))
            elif shape:
                end["outputs"] = shape(reading.outputs)

    # -- messages

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
        self, start: Draft, known: Known, root: Root, reading: Reading, *, shown: bool, again: bool
    ) -> tuple[Node, Came | None]:
        assert reading.prompt is not None
        entries = self.full.entries(root, start, reading.prompt)
        ids = [entry.id for entry in entries]
        start["prompt"], node, place, spent = root.prompt(start["id"], entries, ids)
        if again:
            # The tree has its own first part under its own name.
            start["prompt"] = {"bodies": ids}
        fresh = prompt_refs(root, start, entries, ids, place, shown=shown)
        known.tail = _tail_of(entries, ids)
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
            if answers:
                known.answered.append((entry.id, n))
            ids.append(entry.id)
        end["output_bodies"] = ids
        if node is not None:
            root.extend(node, end["id"], ids[0], _spent(reading) if len(ids) == 1 else None)

    def _conversation(self, start: Draft, end: Draft, known: Known, trace: Trace) -> None:
        """What the user said and was answered, told with the trace's root, which mostly comes last."""
        calls = trace.calls_of(known)
        if calls or known.question is not None or known.reply is not None:
            self._settle(start, end, trace.root, known, calls)
        if trace.root.unsized:
            # What no model was given.
            trace.root.size(end, list(trace.root.unsized), 0, None)

    # -- when a trace is complete, as far as can be told

    def settle(self, trace: Trace) -> None:
        """Shows what the user said and was answered: what the topmost GenAI spans have, else their calls' messages."""
        if not trace.unsettled:
            return
        trace.unsettled = {}
        root = trace.root
        for top, calls in trace.tops():
            if not calls and top.question is None and top.reply is None:
                # What is beneath it may still come.
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
        (ids[index], list(ids[tail:index]).count(ids[index]), index, len(entries[index].text))
        for index in range(tail, len(entries))
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
