"""Starts of LangChain runs -> records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

from chopsky_trace.records import FORMAT, RETRY_TAG, Kind, Scope
from chopsky_trace.scope import current
from chopsky_trace.sources import langchain_fields as fields
from chopsky_trace.sources.langchain_out import Out
from chopsky_trace.sources.langchain_runs import SOURCE, OpenSpan
from chopsky_trace.sources.memory import Entry, Root, Told, prompt_refs
from chopsky_trace.sources.sampling import is_sampled

SCOPE_LOOKS = 8
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


class Starts(Out):
    """What is known when a span begins."""

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

    def _tags(self, record: dict[str, Any], tags: Sequence[str]) -> None:
        options = self.options
        if not options.with_content:
            tags = [
                t for t in tags if str(t).startswith((RETRY_TAG, "seq:step:", "graph:step:", "map:key:", "langsmith:"))
            ]
        elif options.redactor is not None:
            tags = [options.redactor.text(str(t)) for t in tags]
        if tags:
            record["tags"] = tags

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
