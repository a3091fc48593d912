"""Starts of LangChain runs -> records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic_ns, time_ns
from typing import Any, cast
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

from chopsky_trace.records import FORMAT, RETRY_TAG, Kind, Scope
from chopsky_trace.scope import current, traced
from chopsky_trace.sources.langchain import fields
from chopsky_trace.sources.langchain.messages import is_command
from chopsky_trace.sources.langchain.out import Out
from chopsky_trace.sources.langchain.runs import MAX_OPEN_SPANS, SOURCE, OpenSpan
from chopsky_trace.telling.memory import MAX_REMEMBERED, Draft, Entry, Root, growth, prompt_refs

running_config = var_child_runnable_config.get
SCOPE_LOOKS = 8
LOOK_EVERY = 8
"""How many spans of a run begin between two looks at how much is remembered of it."""
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
        "dimensions",
        "operation",
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
        config = running_config()
        span = self._opened(kind, key, parent_id, config)
        if span is None:
            return
        root = span.root
        with root.lock:
            draft = begun(span, name)
            try:
                self._describe(draft, span, metadata, tags, config)
            except Exception as error:
                self._unreadable(draft, "metadata", error)
            try:
                self._given(draft, span, inputs, defer)
            except Exception as error:
                self._unreadable(draft, "inputs", error)
            self._emit(root, draft)

    def _given(self, draft: Draft, span: OpenSpan, inputs: Any, defer: bool) -> None:
        """What a chain, tool or retriever is given, as far as it is known yet and may be kept."""
        root = span.root
        if is_command(inputs) and getattr(inputs, "resume", None) is not None:
            draft["resume"] = True
        if span.is_top:
            # A graph that goes on from a checkpoint is given no question, or only what its interrupt asked for.
            root.resumed = root.resumed or inputs is None or "resume" in draft
            root.question_known = root.question_known or (defer and self.with_inputs)
        if not self.with_inputs:
            if self.options.with_shapes:
                draft["inputs"] = self.full.shape(inputs)
        elif defer:
            span.deferred = draft
        elif span.is_top:
            self._inputs(draft, span, inputs)
        else:
            draft["inputs"] = self.full.payload(root, draft, inputs)

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
        config = running_config()
        span = self._opened("llm", key, parent_id, config)
        if span is None:
            return
        root = span.root
        with root.lock:
            draft = begun(span, name)
            if provider:
                draft["provider"] = span.provider = provider
            if model:
                draft["model"] = span.model = model
            try:
                self._describe(draft, span, metadata, tags, config)
                if params:
                    span.tools = params.get("tools")
                    self._params(draft, root, params)
            except Exception as error:
                self._unreadable(draft, "metadata", error)
            try:
                if self.with_inputs:
                    self._prompt(draft, span, prompt)
                elif self.options.with_shapes:
                    draft["inputs"] = self.full.shape(prompt)
            except Exception as error:
                self._unreadable(draft, "inputs", error)
            if self.estimates:
                span.asked = prompt, params.get("tools") if params else None
            self.runs.waiting.add(key)
            self._emit(root, draft)

    def _opened(self, kind: Kind, key: int, parent_id: UUID | None, config: Any) -> OpenSpan | None:
        """The span, under way; None where it is already. `config`: LangChain's, of the run that this code is in."""
        runs = self.runs
        spans = runs.open
        if key in spans:
            return None
        span = OpenSpan()
        span.hex = span_hex = key.to_bytes(16).hex()
        span.kind = kind
        span.seen = seen = time_ns()
        span.mono = monotonic_ns()
        parent = spans.get(parent_id.int) if parent_id is not None else None
        # LangChain loses the parent of fallbacks, and of calls that are given their callbacks anew, or names the
        # parent's parent; the config still has the id of the run that this code is in.
        if config is not None:
            around_id = getattr(config.get("callbacks"), "parent_run_id", None)
            # Nearly always it is the very parent that the callback names.
            if around_id is not parent_id and around_id is not None:
                around = spans.get(around_id.int)
                if around is not None and (parent_id is None or (parent is not None and around.parent == parent.hex)):
                    parent = around
        if parent is not None:
            span.root = root = parent.root
            span.parent = parent.hex
            span.above = parent.metadata
            span.is_top = False
        else:
            root = self._without_parent(span, span_hex, parent_id, seen // 1000)
        others = root.open
        began = len(others)
        if root.epoch != self.sink.epoch or not (root.ends + began) % LOOK_EVERY:
            self._look(root)
        if began >= MAX_OPEN_SPANS:
            runs.thin(root)
        spans[key] = span
        if key in runs.ended:
            # A caller that uses one id again: a run of its own all the same.
            del runs.ended[key]
        others.add(key)
        return span

    def _look(self, root: Root) -> None:
        """Whether what is remembered of a run still holds, and is not too much."""
        epoch = self.sink.epoch
        if root.epoch != epoch:
            with root.lock:
                root.epoch = epoch
                root.forget()
        elif len(root.entries) + len(root.sent) + root.nodes > MAX_REMEMBERED:
            with root.lock:
                root.renew()

    def _without_parent(self, span: OpenSpan, span_hex: str, parent_id: UUID | None, started: int) -> Root:
        """The run of a span whose parent is none of our open spans."""
        runs = self.runs
        if (asked := traced.get()) is not None:
            asked.add(self.sink)
        if parent_id is None:
            span.parent = None
            span.is_top = True
            span.root = root = self._new_root(span_hex, started)
            return root
        span.parent = parent_id.hex
        run = runs.ended.get(parent_id.int)
        # Work that outlives its parent; else a parent that only others see: LangSmith's word on the trace, or that
        # parent is the topmost known.
        span.is_top = run is None
        if run is None:
            run = fields.langsmith_trace(parent_id) or parent_id.hex
        root = runs.roots.get(run)
        if root is None:
            root = self._new_root(run, started)
            # What the user asked was told before that parent ended.
            root.question_known = not span.is_top
        span.root = root
        return root

    def _describe(
        self,
        draft: Draft,
        span: OpenSpan,
        metadata: Mapping[str, Any] | None,
        tags: Sequence[str] | None,
        config: Any,
    ) -> None:
        """Scope, metadata and tags; a child carries only what its root does not."""
        root = span.root
        if not root.described:
            self._describe_root(draft, span, metadata or {}, tags)
            return
        if root.scope_looks < SCOPE_LOOKS and (metadata or (config and config.get("configurable"))):
            root.scope_looks += 1
            self._late_scope(draft, root, metadata, config)
        if metadata:
            span.metadata = metadata
            above = span.above
            inherited = root.metadata.get
            place = above.get("langgraph_path") if above else None
            names = fields.own_names(tuple(metadata), place == metadata.get("langgraph_path"))
            own = {k: v for k in names if inherited(k) is not (v := metadata[k])}
            if own:
                self._metadata(draft, root, own)
        if tags:
            if self.tags_as_given:
                draft["tags"] = tags
            else:
                self._tags(draft, tags)

    def _describe_root(
        self, draft: Draft, span: OpenSpan, metadata: Mapping[str, Any], tags: Sequence[str] | None
    ) -> None:
        root = span.root
        root.described = True
        root.metadata = metadata
        ambient = current()
        options = self.options
        found: Scope = {} if fields.SCOPE_NAMES.isdisjoint(metadata) else fields.scope_in(metadata)
        if found or options.scope or ambient.scope:
            scope = cast("Scope", {**options.scope, **ambient.scope, **found})
            for name in fields.SCOPE_KEYS:
                if name in scope:
                    text = fields.identifier(scope[name])
                    if text:
                        scope[name] = text
            root.scope = scope
            draft["scope"] = scope
        if span.is_top and (options.tags or ambient.tags):
            tags = list(dict.fromkeys((*options.tags, *ambient.tags, *(tags or ()))))
        if metadata or options.metadata or ambient.metadata:
            self._metadata(draft, root, {**options.metadata, **ambient.metadata, **metadata})
        if tags:
            self._tags(draft, tags)

    def _late_scope(self, draft: Draft, root: Root, metadata: Mapping[str, Any] | None, config: Any) -> None:
        """What a child knows and its root did not: `configurable` reaches the children only."""
        named = fields.SCOPE_NAMES
        configurable = config.get("configurable") if config else None
        found: Scope = {}
        if configurable and not named.isdisjoint(configurable):
            found = fields.scope_in(configurable)
        if metadata and not named.isdisjoint(metadata):
            found = cast("Scope", {**found, **fields.scope_in(metadata)})
        if found:
            scope = root.scope
            new = cast("Scope", {k: v for k, v in found.items() if k not in scope})
            if new:
                root.scope = cast("Scope", {**scope, **new})
                draft["scope"] = new

    def _metadata(self, draft: Draft, root: Root, own: Mapping[str, Any]) -> None:
        if not self.options.with_content:
            own = {k: v for k, v in own.items() if k in fields.OWN_KEYS and k not in fields.SCOPE_NAMES}
        elif not own.keys() <= fields.OWN_KEYS:
            own = self._without_secrets(own)
        if own:
            draft["metadata"] = self.full.payload(root, draft, own)

    def _tags(self, draft: Draft, tags: Sequence[str]) -> None:
        options = self.options
        if not options.with_content:
            tags = [
                t for t in tags if str(t).startswith((RETRY_TAG, "seq:step:", "graph:step:", "map:key:", "langsmith:"))
            ]
        elif options.redactor is not None:
            tags = [options.redactor.text(str(t)) for t in tags]
        if tags:
            draft["tags"] = tags

    def _prompt(self, draft: Draft, span: OpenSpan, prompt: Any) -> None:
        root = span.root
        begin = None
        if isinstance(prompt, str):
            entries: list[Entry] = [self.full.body(root, draft, "user", prompt)]
        else:
            begin = root.prefix(root.prefixes, prompt)
            if begin is None:
                entries = self.full.entries(root, draft, prompt)
            else:
                entries = begin.entries + self.full.entries(root, draft, prompt[len(begin.entries) :])
        span.shown = shown = span.is_top
        ids = (
            [entry.id for entry in entries] if begin is None else begin.ids + [e.id for e in entries[len(begin.ids) :]]
        )
        draft["prompt"], span.node, known, spent = root.prompt(span.hex, entries, ids, begin)
        if not isinstance(prompt, str):
            root.keep(root.prefixes, begin, prompt, entries, ids, span.node)
        if not (shown or root.question_known):
            # Nobody knows the question: the first call was asked it, and what goes on from there.
            shown = not root.called or (known > 0 and entries[known - 1].role != "system")
        fresh = prompt_refs(root, draft, entries, ids, known, shown=shown)
        if fresh:
            before = None
            if not root.called:
                before = 0
            elif spent is not None and spent[0] == span.model and spent[1] == span.tools:
                before = spent[2]
            span.sizes = fresh, growth(entries, known), before
        elif span.node.waiting is not None:
            span.sizes = span.node.waiting
        root.called = True

    def _params(self, draft: Draft, root: Root, params: Mapping[str, Any]) -> None:
        if not self.options.with_content:
            params = {k: v for k, v in params.items() if k in PLAIN_PARAMS and isinstance(v, (str, int, float, bool))}
        draft["params"] = self._open_payload(root, draft, {k: v for k, v in params.items() if v is not None})


def begun(span: OpenSpan, name: str | None) -> Draft:
    """A start, as far as it is the same for every kind."""
    return {
        "v": FORMAT,
        "t": "start",
        "id": span.hex,
        "run": span.root.id,
        "parent": span.parent,
        "seen": span.seen,
        "source": SOURCE,
        "kind": span.kind,
        "name": name,
        "bodies": [],
        "messages": [],
    }
