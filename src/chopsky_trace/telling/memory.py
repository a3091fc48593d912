"""What a source remembers of one run under way: which messages it has told, so that history costs references only.

Messages are told once per root. A prompt is a path in a tree of body ids; every node knows the call that first reached
it, so a prompt is told as "the first `take` messages of that call's prompt and output, then these".
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from types import MappingProxyType
from typing import Any, cast

from chopsky_trace.records import Body, MessageRef, Prompt, Role, Scope

# Every 64th link of a chain of prompts is told in full, so that putting one together stays cheap.
MAX_LINKS = 63
MAX_TEXTS = 2_000
"""Most long texts and documents remembered of one run: they are kept alive by it."""
MAX_PREFIXES = 16
"""Most prompts remembered of one run: as many conversations may go on in it side by side."""
MAX_REMEMBERED = 60_000
"""Most objects, ids and places in the tree of prompts remembered of one run, about 20,000 messages: beyond it a run
that goes on and on is told as if it were new."""
MAX_UNSIZED = 1_000
PREFIX_MESSAGES = 8
"""Shorter prompts are looked at message by message: that costs less than remembering them."""
# Before a question, behind whatever history its prompt carries.
QUESTION_POSITION = 1_000_000
FEW = 64
"""So many ids are counted one by one: faster than remembering them all."""


class Entry:
    """One message as told: identity of the object it came from, and the body id that stands for it."""

    # Defaults on the class: most messages are made on the caller's time, without the constructor.
    id: str
    role: Role
    text: str
    has_calls = False
    message: Any = None
    content: Any = None
    calls: Any = None
    blocks: list[Any] | None = None
    name: str | None = None
    calls_chars = 0
    """About how long the calls are that it makes."""

    def __init__(self, body_id: str, role: Role, text: str, has_calls: bool) -> None:
        self.id = body_id
        self.role = role
        self.text = text
        self.has_calls = has_calls


Spent = tuple[str | None, Any, int]
"""A call's model, its tools, and the tokens that its prompt and visible output take in the next prompt."""
Output = tuple[str, int, int, Any]
"""Of a call's answer: the call, which of its choices it is, when it was told, in microseconds, and the Output that said
the same before; None if there is none."""
Key = tuple[str, str, int]
"""Place, body and n: one message row of a run."""
Came = tuple[list[Key], int, int | None]
"""Message rows that came with a prompt, the length of all that did, and what the input was before, if that is known."""


class Node:
    """A place in the tree of prompts: `depth` messages from its top, first reached by `span`."""

    __slots__ = ("children", "depth", "links", "name", "span", "spent", "waiting")

    def __init__(self, span: str | None, depth: int, links: int) -> None:
        self.children: dict[str, Node] = {}
        self.span = span
        self.depth = depth
        self.links = links
        self.name: str | None = None
        """The assistant's name, as `span` told it."""
        self.spent: Spent | None = None
        """Of a call's output: what the call, whose prompt this continues, reported."""
        self.waiting: Came | None = None
        """Of a prompt whose call was refused: what came with it."""


class Prefix:
    """A prompt as it was told: the next one mostly begins with the very same messages.

    Comparing lists of the same objects costs no Python code per message, which is what a long history needs.
    """

    __slots__ = ("answers", "calls", "contents", "entries", "ids", "messages", "names", "node")

    def __init__(self, messages: list[Any], entries: list[Entry], ids: list[str], node: Node) -> None:
        self.messages = messages
        self.entries = entries
        self.ids = ids
        self.node = node
        self.contents, self.names = _said(messages)
        self.answers = [m.__dict__ for m, e in zip(messages, entries, strict=True) if e.role == "assistant"]
        self.calls = list(map(_CALLS, self.answers))

    def grown(self, messages: list[Any], entries: list[Entry], ids: list[str], node: Node) -> Prefix:
        """This prompt and what has come to it."""
        known = len(self.messages)
        grown = Prefix(messages[known:], entries[known:], ids, node)
        grown.messages = messages
        grown.entries = entries
        grown.contents = self.contents + grown.contents
        grown.names = self.names + grown.names
        grown.answers = self.answers + grown.answers
        grown.calls = self.calls + grown.calls
        return grown

    def begins(self, messages: list[Any]) -> bool:
        """Whether these messages begin with this prompt's, unchanged."""
        return (
            messages[: len(self.messages)] == self.messages
            and _said(self.messages) == (self.contents, self.names)
            and list(map(_CALLS, self.answers)) == self.calls
        )


_HELD = attrgetter("__dict__")
_CONTENT = itemgetter("content")
_NAME = itemgetter("name")
_CALLS = itemgetter("tool_calls")


def _said(messages: list[Any]) -> tuple[list[Any], list[Any]]:
    """Their contents, and their names: a pair for each message would keep the garbage collector busy."""
    held = list(map(_HELD, messages))
    return list(map(_CONTENT, held)), list(map(_NAME, held))


def _walk(node: Node, ids: Sequence[str]) -> tuple[Node, int]:
    """As far as the tree knows these bodies below a node: where that ends, and how many they are."""
    known = 0
    for body_id in ids:
        child = node.children.get(body_id)
        if child is None:
            break
        node = child
        known += 1
    return node, known


Draft = dict[str, Any]
"""A record in the making. What it has to tell of messages is added to its `bodies` and `messages` on the way."""


class Root:
    """One conversation run under way in this process."""

    # Defaults on the class: every run is made on the caller's time.
    scope_looks = 0
    described = False
    sampled = True
    failed = False
    interrupted = False
    question_known = False
    resumed = False
    named = False
    """Whether an assistant message has a name: then each prompt is told with its names."""
    held_bytes = 0
    called = False
    """Whether a model was called."""
    ends = 0
    """How many of its spans have ended."""
    nodes = 0
    """How many places its tree has."""
    given: Mapping[Any, str] = MappingProxyType({})
    """The texts of its inputs, by name."""
    in_order = True
    """Whether it is told as it happens: what is known of it then is what came before."""

    def __init__(self, root_id: str, started: int, epoch: int) -> None:
        self.id = root_id
        self.started = started
        self.epoch = epoch
        # Re-entrant: a finaliser may run a callback while this thread is inside one.
        self.lock = threading.RLock()
        self.open: set[int] = set()
        self.scope: Scope = {}
        self.metadata: Mapping[str, Any] = {}
        self.held: list[bytes] = []
        self.forget()

    def forget(self) -> None:
        """Tell everything again: the journal that held the bodies is no longer behind us."""
        self.entries: dict[Any, Entry] = {}
        """Messages told, by what their source knows them again by."""
        self.sent: set[str] = set()
        self.texts: dict[int, tuple[Any, Any, Any]] = {}
        """Long texts and documents told: id() -> (the object, its state then, the reference that stands for it)."""
        self.placed: set[str] = set()
        self.came: dict[str, int] = {}
        """When a step gave back a message that nobody had told, in microseconds."""
        self.owned: set[Key] = set()
        self.unsized: dict[Key, int] = {}
        """Message rows told whose size in tokens is not: their lengths."""
        self.tree = Node(None, 0, 0)
        self.nodes = 0
        self.entry_nodes: dict[str, Node] = {}
        self.prefixes: dict[int, Prefix] = {}
        """The latest prompts, by id() of their first message."""
        self.lists: dict[int, Prefix] = {}
        """The latest lists of messages in payloads, likewise; their nodes are those where `compact` arrived."""
        self.outputs: dict[str, Output] = {}
        self.answers: dict[str, str] = {}
        self.last_output: list[tuple[str, str, int]] = []
        self.first_tail: list[tuple[str, int, int, int]] = []

    def renew(self) -> None:
        """Forget what was told long ago: should it come again, it is told again, which adds nothing.

        Kept is what the latest events are compared with.
        """
        last, first, outputs, answers, unsized = (
            self.last_output,
            self.first_tail,
            self.outputs,
            self.answers,
            self.unsized,
        )
        self.forget()
        self.last_output, self.first_tail = last, first
        self.outputs = {body: (*outputs[body][:3], None) for body, _, _ in last if body in outputs}
        self.answers = {text: body for text, body in answers.items() if body in self.outputs}
        self.unsized = dict(list(unsized.items())[-MAX_UNSIZED:])

    # -- bodies

    def tell(self, body_id: str, core: Any, draft: Draft, name: str | None, metadata: Any = None) -> None:
        """The body goes along the first time. `core` is its JSON, a fragment, encoded once for hash and journal."""
        if body_id not in self.sent:
            self.sent.add(body_id)
            body: Body = {"id": body_id, "core": core}
            if name:
                body["name"] = name
            if metadata:
                body["metadata"] = metadata
            draft["bodies"].append(body)

    def refer(self, thing: Any, state: Any, reference: Any) -> Any:
        """Remembers what stands for a long text or a document."""
        if len(self.texts) >= MAX_TEXTS:
            self.texts.clear()
        self.texts[id(thing)] = (thing, state, reference)
        return reference

    # -- message rows

    def own(
        self, draft: Draft, entry_id: str, n: int, position: int, chars: int, *, internal: bool, at: int | None = None
    ) -> bool:
        """The root itself brought this message into the conversation; whether that is news."""
        if ("shown", entry_id, n) in self.owned:
            return False
        key = ("own" if internal else "shown", entry_id, n)
        if key in self.owned:
            return False
        news = internal or ("own", entry_id, n) not in self.owned
        self.owned.add(key)
        self.placed.add(entry_id)
        if news:
            self.unsized["own", entry_id, n] = chars
            # That row goes.
            self.unsized.pop(("history", entry_id, n), None)
        ref: MessageRef = {"body": entry_id, "place": "own", "n": n, "position": position, "internal": internal}
        if at is not None:
            ref["at"] = at
        draft["messages"].append(ref)
        return news

    def history(
        self,
        draft: Draft,
        entry_id: str,
        n: int,
        position: int,
        chars: int,
        *,
        internal: bool = True,
        now: bool = False,
        waits: bool = False,
    ) -> None:
        """A message that some earlier run, if any, said.

        `now`: it is not from before this run, so it stands here. `waits`: a call of this run may tell its size.
        """
        key = ("history", entry_id, n)
        again = key in self.owned
        if not internal:
            # What a payload mentions is internal, until it turns out to be what was asked or answered.
            again = ("seen", entry_id, n) in self.owned
            self.owned.add(("seen", entry_id, n))
        if again:
            return
        waits = waits and key not in self.owned
        self.owned.add(key)
        self.placed.add(entry_id)
        ref: MessageRef = {"body": entry_id, "place": "history", "n": n, "position": position, "internal": internal}
        if not now:
            ref["at"] = self.started
        if waits:
            self.unsized[key] = chars
        else:
            ref["chars"] = chars
        draft["messages"].append(ref)

    def said(self, draft: Draft, entry: Entry, span: str, n: int, *, internal: bool) -> None:
        """A model call's output."""
        self.placed.add(entry.id)
        # Of calls that say the same, the answer to the user is the last one's.
        self.outputs[entry.id] = span, n, draft["seen"] // 1000, self.outputs.get(entry.id)
        if entry.text and not entry.has_calls:
            self.answers[entry.text] = entry.id
        draft["messages"].append({"body": entry.id, "place": "out", "n": n, "position": n, "internal": internal})

    def has_said(self, ids: Iterable[str]) -> bool:
        """Whether one of these was brought in or answered in this run, once a call has answered."""
        if not self.outputs or not self.in_order:
            return False
        return any(b in self.outputs or ("shown", b, 0) in self.owned or ("own", b, 0) in self.owned for b in ids)

    def mention(self, draft: Draft, entry_id: str, chars: int, position: int = 0) -> None:
        """A payload refers to it, at this place of a list: it must have a row somewhere."""
        if entry_id not in self.placed:
            if draft.get("t") == "end":
                self.came[entry_id] = draft["seen"] // 1000
            # What turns up once a call has answered was not there at the beginning.
            self.history(draft, entry_id, 0, position, chars, now=bool(self.outputs), waits=True)

    # -- sizes

    def size(self, draft: Draft, keys: Iterable[Key], chars: int, before: int | None) -> None:
        """The rows of these that nobody has told the size of: from this end on it is known."""
        unsized = self.unsized
        rows = [
            (body, place, n, unsized.pop((place, body, n))) for place, body, n in keys if (place, body, n) in unsized
        ]
        if rows:
            draft["sizes"] = {"rows": rows, "chars": chars}
            if before is not None:
                draft["sizes"]["before"] = before

    # -- prompts

    @staticmethod
    def prefix(prefixes: dict[int, Prefix], messages: Sequence[Any]) -> Prefix | None:
        """The latest prompt, or list, that these messages begin with."""
        known = prefixes.get(id(messages[0])) if prefixes and messages else None
        try:
            return known if known is not None and known.begins(cast("list[Any]", messages)) else None
        except Exception:
            # Comparing messages that are not the same runs code of somebody else's.
            return None

    @staticmethod
    def keep(
        prefixes: dict[int, Prefix],
        known: Prefix | None,
        messages: Sequence[Any],
        entries: list[Entry],
        ids: list[str],
        node: Node,
    ) -> None:
        """Remembers a prompt, or list, that the next one may begin with."""
        new = entries if known is None else entries[len(known.entries) :]
        if len(messages) < PREFIX_MESSAGES or any(entry.blocks is not None or entry.message is None for entry in new):
            # Blocks are looked into one by one.
            return
        if len(prefixes) >= MAX_PREFIXES:
            prefixes.clear()
        listed = list(messages)
        grown = Prefix(listed, entries, ids, node) if known is None else known.grown(listed, entries, ids, node)
        prefixes[id(messages[0])] = grown

    def prompt(
        self, span: str, entries: Sequence[Entry], ids: list[str], begin: Prefix | None = None
    ) -> tuple[Prompt, Node, int, Spent | None]:
        """The prompt as references, the tree's node at its end, how many messages were known as its beginning.

        And, where that beginning is an earlier call's prompt and output, what that call reported.
        """
        if begin is None:
            node, known = _walk(self.tree, ids)
        else:
            node, known = _walk(begin.node, ids[len(begin.ids) :])
            known += len(begin.ids)
        spent = node.spent
        if node.span is None or node.links >= MAX_LINKS:
            prompt: Prompt = {"bodies": ids}
            links = 0
        else:
            prompt = {"bodies": ids[known:], "extends": node.span, "take": known}
            links = node.links + 1
        first = next((i for i, e in enumerate(entries) if e.role != "system"), None) if known == 0 else None
        self.nodes += len(ids) - known
        for index in range(known, len(ids)):
            if index == first:
                self.entry_nodes[ids[index]] = node
                # They may have arrived where they are from another place.
                self.lists.clear()
            child = Node(span, node.depth + 1, links)
            node.children[ids[index]] = child
            node = child
        if self.named:
            names = self._names(span, entries, links)
            if names:
                prompt["names"] = names
        return prompt, node, known, spent

    def _names(self, span: str, entries: Sequence[Entry], links: int) -> dict[str, str]:
        """Place -> name of the assistant messages whose name is not what the calls that this prompt extends told."""
        names: dict[str, str] = {}
        node = self.tree
        for index, entry in enumerate(entries):
            child = node.children[entry.id]
            if entry.role == "assistant" and entry.name != child.name:
                names[str(index)] = entry.name or ""
                child.name = entry.name
            if names:
                # Whatever extends this path from here on extends this call; what else hung there had other names.
                child.span, child.links = span, links
                node.children = {entry.id: child}
            node = child
        return names

    def extend(self, node: Node, span: str, body_id: str, spent: Spent | None) -> None:
        """The call's output stands behind its prompt."""
        child = node.children.get(body_id)
        if child is None:
            child = Node(span, node.depth + 1, node.links if node.span == span else node.links + 1)
            node.children[body_id] = child
        child.spent = spent

    def compact(self, ids: list[str], begin: Prefix | None = None) -> tuple[dict[str, Any], Node | None]:
        """A list of messages in a payload: a stretch of some call's prompt and output if it is one, then the rest.

        And where in the tree that stretch ends.
        """
        node = self.entry_nodes.get(ids[0]) if ids else None
        if node is None:
            return {"$messages": ids}, None
        skip = node.depth
        if begin is not None:
            node = begin.node
        known = node.depth - skip
        node, more = _walk(node, ids[known:])
        known += more
        if known < 3:
            return {"$messages": ids}, node
        return {"$messages": ids[known:], "$of": [node.span, skip, node.depth]}, node


def tail_of(entries: Sequence[Entry]) -> int:
    """Where the messages after the last assistant message begin: what the root itself brought in, systems apart."""
    tail = len(entries)
    while tail and entries[tail - 1].role != "assistant":
        tail -= 1
    return tail


def ordinals(ids: Sequence[str], start: int = 0) -> list[int]:
    """Of each id from `start` on: how many before it are equal to it."""
    if len(ids) <= FEW and len(set(ids)) == len(ids):
        return [0] * (len(ids) - start)
    if len(ids) - start <= FEW:
        return [ids[:index].count(ids[index]) for index in range(start, len(ids))]
    counts: dict[str, int] = {}
    found: list[int] = []
    for body in ids:
        n = counts.get(body, 0)
        found.append(n)
        counts[body] = n + 1
    return found[start:]


def _last_asked(entries: Sequence[Entry]) -> int:
    last = len(entries) - 1
    while last >= 0 and entries[last].role != "user":
        last -= 1
    return last


def chars_of(entry: Entry) -> int:
    """A message's length: its text, and the calls it makes."""
    return len(entry.text) + entry.calls_chars


def prompt_refs(
    root: Root, draft: Draft, entries: Sequence[Entry], ids: list[str], known: int, *, shown: bool
) -> list[Key]:
    """Message rows that follow from one prompt: its tail is the root's own, the rest is history.

    Counting equal bodies keeps a genuine repeat apart from a message that is merely sent again.

    Returns:
        The rows that are new with this prompt, whose sizes its call can tell.
    """
    tail = tail_of(entries)
    # Of a prompt that ends with the beginning of its answer, what that answers is shown all the same.
    last = _last_asked(entries) if shown and tail == len(ids) and root.in_order else -1
    answered = last
    first = not root.first_tail
    fresh: list[Key] = []
    # What came before both was told with an earlier prompt.
    start = min(known, tail)
    before, own_before = ordinals(ids, start), ordinals(ids[tail:])
    # Whether what this run said stands among the messages looked at for it, and how many these are.
    behind, looked = False, 0
    for index in range(start, len(ids)):
        entry = entries[index]
        body = entry.id
        if index < tail or entry.role == "system":
            if index >= known:
                n = before[index - start]
                is_system = entry.role == "system"
                now = not is_system and body not in root.placed
                if now:
                    # Where it stands behind what this run said it is not from before.
                    behind, looked = behind or root.has_said(ids[looked:index]), index
                root.history(
                    draft,
                    body,
                    n,
                    index,
                    chars_of(entry),
                    internal=index != answered,
                    now=now and behind,
                    waits=is_system,
                )
                fresh.append(("history", body, n))
            continue
        asked = entry.role == "user"
        if asked and last < 0:
            last = _last_asked(entries)
        internal = not (shown and asked)
        if asked and (root.resumed or index < last):
            # An earlier run may have asked it, and had no answer; what a resumed graph's state lacks a step wrote.
            n = before[index - start]
            internal = internal or (root.resumed and body not in root.placed)
            root.history(draft, body, n, index, len(entry.text), internal=internal, waits=index >= known)
            if index >= known:
                fresh.append(("history", body, n))
            continue
        own = own_before[index - tail]
        news = root.own(draft, body, own, index, len(entry.text), internal=internal)
        if index >= known:
            fresh.append(("own", body, own))
        if first and asked:
            root.first_tail.append((body, own, index, len(entry.text)))
        if tail and (n := before[index - start]) > own:
            # Said again in this very run, where it owns one already.
            waits = not news and index >= known
            root.history(draft, body, n, index, len(entry.text), internal=internal or news, now=not news, waits=waits)
            if waits:
                fresh.append(("history", body, n))
    return fresh


def growth(entries: Sequence[Entry], known: int) -> int:
    """Length of what came to a prompt of which so many messages were known."""
    return sum([chars_of(entry) for entry in entries[known:]])


def question_refs(root: Root, draft: Draft, entries: Sequence[Entry]) -> None:
    """Message rows of a root's own input: what the user said now, and what they are known to have said before."""
    if len(entries) == 1 and entries[0].role == "user":
        root.own(draft, entries[0].id, 0, QUESTION_POSITION, len(entries[0].text), internal=False, at=root.started)
        return
    tail = tail_of(entries)
    last = _last_asked(entries)
    ids = [entry.id for entry in entries]
    before, own_before = ordinals(ids), ordinals(ids[tail:])
    for index, entry in enumerate(entries):
        body = entry.id
        internal = entry.has_calls or entry.role not in ("user", "assistant")
        n = before[index]
        if index < tail or entry.role == "system" or (entry.role == "user" and index < last):
            waits = index >= tail or entry.role == "system"
            root.history(draft, body, n, index, chars_of(entry), internal=internal, waits=waits)
            continue
        own = own_before[index - tail]
        chars = len(entry.text)
        root.own(draft, body, own, QUESTION_POSITION + index, chars, internal=internal, at=root.started)
        if n > own:
            root.history(draft, body, n, index, chars, internal=internal)


def spoken_refs(root: Root, draft: Draft, entries: Sequence[Entry]) -> None:
    """Message rows of several things that the user says now, none of which goes on from another."""
    for index, (entry, n) in enumerate(zip(entries, ordinals([entry.id for entry in entries]), strict=True)):
        position = QUESTION_POSITION + index
        root.own(draft, entry.id, n, position, chars_of(entry), internal=entry.role != "user", at=root.started)


def answer_refs(root: Root, draft: Draft, entries: Sequence[Entry], given: Sequence[str] = ()) -> None:
    """Message rows of a root's output: what the user was answered.

    Args:
        given: the bodies of all messages that the output has, these included.
    """
    before: int | None = None
    earlier: dict[str, Output] = {}
    for n, entry in reversed([*enumerate(entries)]):
        known = earlier.get(entry.id) or root.outputs.get(entry.id) or _same_text(root, entry)
        if known is None:
            position, chars = QUESTION_POSITION * 2 + n, chars_of(entry)
            at = root.came.get(entry.id)
            if at is None and root.resumed and entry.id in root.placed:
                # What the graph went on from: an earlier run said it.
                copy = max(given.count(entry.id) - 1, 0)
                root.history(draft, entry.id, copy, position, chars, internal=False)
            else:
                # No call said it. It stands before what was said after it.
                root.own(draft, entry.id, 0, position, chars, internal=False, at=before if at is None else at)
            continue
        body_id = entry.id if entry.id in root.outputs else root.answers[entry.text]
        span, place, told, same = known
        before = told - 1
        earlier[entry.id] = same or known
        draft["messages"].append(
            {"body": body_id, "place": "out", "n": place, "position": place, "internal": False, "span": span}
        )


def _same_text(root: Root, entry: Entry) -> Output | None:
    # The parser's text of a message that the provider gave as blocks is that message.
    body_id = root.answers.get(entry.text)
    return root.outputs.get(body_id) if body_id else None
