"""The records that the events of LangChain runs make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic_ns, time_ns
from typing import Any, cast
from uuid import UUID

import orjson
from langchain_core.runnables.config import var_child_runnable_config

from chopsky_trace.enrich.secrets import without_secrets
from chopsky_trace.records import FORMAT, Kind, Scope, Status
from chopsky_trace.scope import current
from chopsky_trace.sources import langchain_fields as fields
from chopsky_trace.sources.langchain_messages import OPTIONS, Snapshot, answer_of, odd_float, question_of
from chopsky_trace.sources.langchain_runs import OpenSpan, Options, Runs
from chopsky_trace.sources.memory import Entry, Root, Told, answer_refs, prompt_refs, question_refs
from chopsky_trace.sources.sampling import is_sampled

SOURCE = "langchain"
HELD_BYTES = 2_000_000
SCOPE_LOOKS = 8
EVENTS_KEPT = 100
MISSING: Any = object()
"""No inputs were given, which is not the same as None."""
PAYLOADS = ("inputs", "outputs", "metadata", "params", "usage")
CONTENT_FIELDS = frozenset(
    (
        "inputs",
        "outputs",
        "bodies",
        "messages",
        "prompt",
        "output_bodies",
        "metadata",
        "events",
        "tags",
        "error",
        "params",
    )
)
PLAIN_PARAMS = frozenset(
    (
        "model",
        "model_name",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "seed",
        "stream",
        "_type",
        "reasoning_effort",
        "service_tier",
    )
)


class Recorder:
    """Makes records of events and puts them. One per tracer; the runs are shared."""

    def __init__(
        self,
        runs: Runs,
        put: Callable[[bytes], bool],
        epoch: Callable[[], int],
        options: Options,
        lost_field: Callable[[str, Exception], None],
    ) -> None:
        self.runs = runs
        self.put = put
        self.epoch = epoch
        self.options = options
        self.lost_field = lost_field
        """Told of a field that could not be read: the span goes on without it."""
        self.full = Snapshot(options.redactor, max_string=options.max_string)

    # -- starts

    def start(
        self,
        kind: Kind,
        run_id: UUID,
        parent_id: UUID | None,
        name: str | None,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
        inputs: Any,
        defer: bool = False,
    ) -> None:
        """A chain, tool or retriever began; `defer`: its true inputs come with its end."""
        key = run_id.int
        if key in self.runs.open:
            return
        span, record = self._opened(kind, run_id.hex, parent_id, name)
        root = span.root
        with root.lock:
            told = Told()
            try:
                self._describe(record, span, told, metadata, tags)
            except Exception as error:
                self._unreadable(record, "metadata", error)
            try:
                self._place(record, span, told, inputs, defer)
            except Exception as error:
                self._unreadable(record, "inputs", error)
            self._begin(key, span, record, told)

    def start_model(
        self,
        run_id: UUID,
        parent_id: UUID | None,
        name: str | None,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
        prompt: Any,
        provider: str | None,
        model: str | None,
        params: Mapping[str, Any] | None,
    ) -> None:
        """A model call began; `prompt` is its messages, or its text."""
        key = run_id.int
        if key in self.runs.open:
            return
        span, record = self._opened("llm", run_id.hex, parent_id, name)
        root = span.root
        with root.lock:
            told = Told()
            if provider:
                record["provider"] = span.provider = provider
            if model:
                record["model"] = span.model = model
            try:
                self._describe(record, span, told, metadata, tags)
                if params:
                    self._params(record, root, told, params)
            except Exception as error:
                self._unreadable(record, "metadata", error)
            try:
                if self.options.with_inputs:
                    self._prompt(record, span, told, prompt)
                elif self.options.with_shapes:
                    record["inputs"] = self.full.shape(prompt)
            except Exception as error:
                self._unreadable(record, "inputs", error)
            self.runs.waiting.add(key)
            self._begin(key, span, record, told)

    def _opened(
        self, kind: Kind, span_hex: str, parent_id: UUID | None, name: str | None
    ) -> tuple[OpenSpan, dict[str, Any]]:
        seen = time_ns()
        root, parent_hex, top = self._root_of(span_hex, parent_id, seen // 1000)
        epoch = self.epoch()
        if root.epoch != epoch:
            with root.lock:
                root.epoch = epoch
                root.forget()
        span = OpenSpan(span_hex, root, kind, seen, top)
        record: dict[str, Any] = {
            "v": FORMAT,
            "t": "start",
            "id": span_hex,
            "run": root.id,
            "seen": seen,
            "source": SOURCE,
            "at": seen // 1000,
            "kind": kind,
        }
        if parent_hex:
            record["parent"] = span.parent = parent_hex
        if name:
            record["name"] = name
        return span, record

    def _place(self, record: dict[str, Any], span: OpenSpan, told: Told, inputs: Any, defer: bool) -> None:
        if type(inputs).__name__ == "Command" and getattr(inputs, "resume", None) is not None:
            record["resume"] = True
        if not self.options.with_inputs:
            if self.options.with_shapes:
                record["inputs"] = self.full.shape(inputs)
        elif defer:
            span.deferred = record
            span.root.question_known = span.root.question_known or span.is_top
        else:
            self._inputs(record, span, told, inputs)

    def _unreadable(self, record: dict[str, Any], name: str, error: Exception) -> None:
        record[name] = {"$unreadable": type(error).__name__}
        self.lost_field(name, error)

    def _begin(self, key: int, span: OpenSpan, record: dict[str, Any], told: Told) -> None:
        runs = self.runs
        runs.open[key] = span
        if key in runs.ended:
            # A caller that uses one id again: a run of its own all the same.
            del runs.ended[key]
        span.root.open.add(key)
        self._emit(span.root, record, told)

    def _root_of(self, span_hex: str, parent_id: UUID | None, started: int) -> tuple[Root, str | None, bool]:
        """(run, parent, whether it is the topmost of ours)."""
        runs = self.runs
        if parent_id is not None:
            parent = runs.open.get(parent_id.int)
            if parent is not None:
                around = self._around(parent_id)
                if around is not None and around.parent == parent.hex:
                    parent = around
                return parent.root, parent.hex, False
            run = runs.ended.get(parent_id.int)
            if run is not None:
                # Work that outlives its parent.
                return runs.roots.get(run) or runs.new_root(run, started, self.epoch()), parent_id.hex, False
            # A parent that only others see: LangSmith's word on the trace, else that parent is the topmost known.
            run = fields.langsmith_trace(parent_id) or parent_id.hex
            return runs.roots.get(run) or runs.new_root(run, started, self.epoch()), parent_id.hex, True
        around = self._around(None)
        if around is not None:
            return around.root, around.hex, False
        root = runs.new_root(span_hex, started, self.epoch())
        root.sampled = is_sampled(span_hex, self.options.sample_rate)
        return root, None, True

    def _around(self, parent_id: UUID | None) -> OpenSpan | None:
        """The open span of ours that LangChain's own config says this code runs in.

        LangChain loses the parent of fallbacks, and of calls that are given their callbacks anew, or names the parent's
        parent; its config still has the run id.
        """
        config = var_child_runnable_config.get()
        if config is None:
            return None
        run_id = getattr(config.get("callbacks"), "parent_run_id", None)
        # Nearly always it is the very parent that the callback names.
        return None if run_id is None or run_id is parent_id else self.runs.open.get(run_id.int)

    def _describe(
        self,
        record: dict[str, Any],
        span: OpenSpan,
        told: Told,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
    ) -> None:
        """Scope, metadata and tags; a child carries only what its root does not."""
        root = span.root
        if not root.described:
            self._describe_root(record, span, told, metadata or {}, tags)
            return
        if root.scope_looks < SCOPE_LOOKS:
            self._late_scope(record, root, metadata)
        if metadata:
            inherited = root.metadata
            own = {
                k: v
                for k, v in metadata.items()
                if (k not in inherited or inherited[k] is not v) and k not in fields.NOT_METADATA
            }
            if own:
                self._metadata(record, root, told, own)
        if tags:
            self._tags(record, tags)

    def _describe_root(
        self,
        record: dict[str, Any],
        span: OpenSpan,
        told: Told,
        metadata: Mapping[str, Any],
        tags: Sequence[str] | None,
    ) -> None:
        root = span.root
        root.described = True
        ambient = current()
        options = self.options
        scope = cast("Scope", {**options.scope, **ambient.scope, **fields.scope_in(metadata)})
        for name in fields.SCOPE_KEYS:
            if name in scope:
                text = fields.identifier(scope[name])
                if text:
                    scope[name] = text
        root.scope = scope
        root.metadata = metadata
        if scope:
            record["scope"] = scope
        own = {**options.metadata, **ambient.metadata, **metadata}
        if span.is_top and (options.tags or ambient.tags):
            tags = list(dict.fromkeys((*options.tags, *ambient.tags, *(tags or ()))))
        if own:
            self._metadata(record, root, told, own)
        if tags:
            self._tags(record, tags)

    def _late_scope(self, record: dict[str, Any], root: Root, metadata: Mapping[str, Any] | None) -> None:
        """What a child knows and its root did not: `configurable` reaches the children only."""
        root.scope_looks += 1
        found: Scope = {}
        config = var_child_runnable_config.get()
        configurable = config.get("configurable") if config else None
        if configurable:
            found = fields.scope_in(configurable)
        if metadata:
            found = cast("Scope", {**found, **fields.scope_in(metadata)})
        if found:
            scope = root.scope
            new = cast("Scope", {k: v for k, v in found.items() if k not in scope})
            if new:
                root.scope = cast("Scope", {**scope, **new})
                record["scope"] = new

    def _metadata(self, record: dict[str, Any], root: Root, told: Told, own: Mapping[str, Any]) -> None:
        if not self.options.with_content:
            own = {k: v for k, v in own.items() if k in fields.OWN_KEYS and k not in fields.SCOPE_NAMES}
        elif not own.keys() <= fields.OWN_KEYS:
            own = self._without_secrets(own)
        if own:
            record["metadata"] = self.full.payload(root, told, own)

    def _without_secrets(self, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return without_secrets(values)
        except Exception:
            # Something in it cannot be looked into as it stands.
            return without_secrets(self.full.plain(values))

    def _tags(self, record: dict[str, Any], tags: Sequence[str]) -> None:
        options = self.options
        if not options.with_content:
            tags = [
                t
                for t in tags
                if str(t).startswith((fields.RETRY_TAG, "seq:step:", "graph:step:", "map:key:", "langsmith:"))
            ]
        elif options.redactor is not None:
            tags = [options.redactor.text(str(t)) for t in tags]
        if tags:
            record["tags"] = tags

    def _inputs(self, record: dict[str, Any], span: OpenSpan, told: Told, inputs: Any) -> None:
        root = span.root
        if span.is_top:
            said = getattr(inputs, "resume", None) if record.get("resume") else inputs
            question = question_of(self.full, root, told, said)
            if question:
                root.question_known = True
                question_refs(root, told, question)
            elif span.deferred is not None:
                # It was to come, and did not: then what the first call was asked.
                for entry_id, n, position in root.first_tail:
                    root.own(told, entry_id, n, position, internal=False, at=root.started)
        record["inputs"] = self.full.payload(root, told, inputs)

    def _prompt(self, record: dict[str, Any], span: OpenSpan, told: Told, prompt: Any) -> None:
        root = span.root
        if isinstance(prompt, str):
            entries: list[Entry] = [self.full.body(root, told, "user", prompt)]
        else:
            entries = self.full.entries(root, told, prompt)
        span.shown = span.is_top
        reference, span.node, known = root.prompt(span.hex, entries)
        record["prompt"] = reference
        prompt_refs(root, told, entries, known, shown=span.is_top or not root.question_known)

    def _params(self, record: dict[str, Any], root: Root, told: Told, params: Mapping[str, Any]) -> None:
        if not self.options.with_content:
            params = {k: v for k, v in params.items() if k in PLAIN_PARAMS and isinstance(v, (str, int, float, bool))}
        else:
            params = {k: v for k, v in self._without_secrets(params).items() if v is not None}
        record["params"] = self.full.payload(root, told, params)

    # -- while it runs

    def token(self, run_id: UUID) -> None:
        self.runs.waiting.discard(run_id.int)
        span = self.runs.open.get(run_id.int)
        if span is not None and span.first_token is None:
            span.first_token = monotonic_ns()

    def note(self, run_id: UUID, name: str, data: Any) -> None:
        """A custom event: kept with the span's end."""
        span = self.runs.open.get(run_id.int)
        if span is None or not self.options.with_content:
            return
        if span.events is None:
            span.events = []
        if len(span.events) < EVENTS_KEPT:
            with span.root.lock:
                told = Told()
                encoded = self.full.slow_json(span.root, told, {"name": name, "data": data})
                # Told with the end: nothing of it is in the journal yet.
                span.events.append((encoded, told))

    def interrupted(self, run_id: UUID | None) -> None:
        span = self.runs.open.get(run_id.int) if run_id is not None else None
        if span is not None:
            span.root.interrupted = True

    # -- ends

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
            kept = without_secrets({k: v for k, v in response.items() if k not in fields.NOT_RESPONSE_METADATA})
            if kept:
                record["metadata"] = self.full.payload(span.root, told, {"response": kept})

    # -- out

    def _emit(self, root: Root, record: dict[str, Any], told: Told) -> None:
        if not root.sampled and not root.failed:
            self._hold(root, record, told)
            return
        if not self.put(self._encode(root, record, told)):
            # What this record was to carry is lost; what follows must not rely on it.
            root.forget()

    def _encode(self, root: Root, record: dict[str, Any], told: Told) -> bytes:
        """The record's bytes. Messages inside payloads are told while these are encoded: bodies and rows come last."""
        record["bodies"] = told.bodies
        record["messages"] = told.refs
        try:
            line = orjson.dumps(record, default=self.full.hook(root, told), option=OPTIONS)
            if len(line) <= self.options.max_string and not (told.floats and b"null" in line and _odd(record)):
                return line
        except (TypeError, ValueError, RecursionError):
            pass
        for name in PAYLOADS:
            value = record.get(name)
            if value is not None and not isinstance(value, orjson.Fragment):
                record[name] = orjson.Fragment(self.full.slow_json(root, told, value))
        # What is left is ours and small, but for names and ids that somebody else chose.
        kept = {k: v if k in PAYLOADS or k in ("bodies", "messages") else self.full.plain(v) for k, v in record.items()}
        return orjson.dumps(kept, option=OPTIONS)

    def _hold(self, root: Root, record: dict[str, Any], told: Told) -> None:
        """Sampled out: numbers only are put, the content waits in memory in case the run fails."""
        light = {k: v for k, v in record.items() if k not in CONTENT_FIELDS}
        self.put(self._encode(root, light, Told()))
        if root.held_bytes < HELD_BYTES:
            line = self._encode(root, {**record, "seen": record["seen"] + 1}, told)
            root.held.append(line)
            root.held_bytes += len(line)

    def _release(self, root: Root) -> None:
        for line in root.held:
            self.put(line)
        root.held.clear()


def _odd(record: Mapping[str, Any]) -> bool:
    """Whether a payload of the record holds a NaN or infinity, which orjson writes as null."""
    return any(odd_float(record[name]) for name in PAYLOADS if name in record)
