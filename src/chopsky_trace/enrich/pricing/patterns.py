"""Regular expressions for model names, matched in time that grows with pattern times name, whatever the pattern.

Python's own may take years for a short pattern and an unlucky name, and the worker would stand still for it. These are
the ordinary ones, where Python and PostgreSQL agree: characters, `.`, `[a-z]`, `\\d` `\\w` and other escapes, `|`,
groups, `*`, `+`, `?`, `{2}`, `{2,}`, `{2,4}`. A match is of the whole name, whatever its case.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, NoReturn

MAX_CHARS = 200
"""Of a pattern."""
MAX_STATES = 1_000
"""Steps that a pattern may have, repetitions written out."""
MAX_DEPTH = 20
"""Groups within groups."""

_COUNT = re.compile(r"\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")
_CLASS = re.compile(r"\[\^?(?:[^][\\]|\\.)+\]")
_ESCAPED = frozenset("dDwWsS" + r".^$*+?()[]{}|\/-_:@, ")


class _One(NamedTuple):
    """A character that the expression takes."""

    takes: re.Pattern[str]


class _Row(NamedTuple):
    """One after the other, or one of them."""

    kind: Literal["all", "any"]
    parts: tuple[_Node, ...]


class _Repeat(NamedTuple):
    part: _Node
    least: int
    most: int | None


_Node = _One | _Row | _Repeat


class Pattern:
    """A pattern of model names.

    Raises:
        ValueError: it is none of the ordinary ones; says where and why.
    """

    def __init__(self, text: str) -> None:
        if not text or len(text) > MAX_CHARS:
            raise ValueError(f"a pattern has 1 to {MAX_CHARS} characters")
        # A state is a character and the state after it, or states that it leads to at once.
        self._takes: list[re.Pattern[str] | None] = [None]
        self._next: list[tuple[int, ...]] = [()]
        self._first = self._build(_Parser(text).parsed(), 0)

    def matches(self, name: str) -> bool:
        """Whether the whole name is one of these."""
        now = self._reached([self._first])
        for character in name:
            later = [self._next[one][0] for one in now if (takes := self._takes[one]) and takes.match(character)]
            if not later:
                return False
            now = self._reached(later)
        return 0 in now

    def _reached(self, states: list[int]) -> set[int]:
        reached: set[int] = set()
        while states:
            state = states.pop()
            if state not in reached:
                reached.add(state)
                if self._takes[state] is None:
                    states += self._next[state]
        return reached

    def _add(self, takes: re.Pattern[str] | None, following: tuple[int, ...]) -> int:
        if len(self._next) >= MAX_STATES:
            raise ValueError(f"the pattern has more than {MAX_STATES} steps: repeat less")
        self._takes.append(takes)
        self._next.append(following)
        return len(self._next) - 1

    def _build(self, node: _Node, following: int) -> int:
        """The state that begins a part which leads to that state."""
        if isinstance(node, _One):
            return self._add(node.takes, (following,))
        if isinstance(node, _Row):
            if node.kind == "any":
                return self._add(None, tuple([self._build(part, following) for part in node.parts]))
            for part in reversed(node.parts):
                following = self._build(part, following)
            return following
        last = following
        if node.most is None:
            following = self._add(None, ())
            self._next[following] = (self._build(node.part, following), last)
        else:
            for _ in range(node.most - node.least):
                following = self._add(None, (self._build(node.part, following), last))
        for _ in range(node.least):
            following = self._build(node.part, following)
        return following


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parsed(self) -> _Node:
        if self._text.startswith("^"):
            self._at = 1
        node = self._choice()
        if self._at < len(self._text):
            self._refuse("a ) without its (")
        return node

    def _refuse(self, why: str) -> NoReturn:
        raise ValueError(f"{why}, at character {self._at + 1} of {self._text!r}")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _choice(self) -> _Node:
        parts = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Row("any", tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while (character := self._peek()) and character not in "|)":
            if character == "$" and self._at == len(self._text) - 1:
                self._at += 1
                break
            parts.append(self._repeated(self._atom()))
        return _Row("all", tuple(parts))

    def _repeated(self, part: _Node) -> _Node:
        character = self._peek()
        if character in ("*", "+", "?"):
            self._at += 1
            part = _Repeat(part, 1 if character == "+" else 0, 1 if character == "?" else None)
        elif character == "{":
            count = _COUNT.match(self._text, self._at)
            if count is None:
                self._refuse("a { that is no count such as {2} or {2,4}; write \\{ for the character")
            least = int(count[1])
            most = int(count[3]) if count[3] else None if count[2] else least
            if most is not None and most < least:
                self._refuse("a count that ends before it begins")
            self._at = count.end()
            part = _Repeat(part, least, most)
        else:
            return part
        if self._peek() in ("*", "+", "?", "{"):
            self._refuse("a repetition of a repetition")
        return part

    def _atom(self) -> _Node:
        character = self._peek()
        if character == "(":
            return self._group()
        if character == "[":
            found = _CLASS.match(self._text, self._at)
            if found is None:
                self._refuse("a [ that is no set of characters such as [a-z]; write \\[ for the character")
            source = found[0]
            if any(twice in source for twice in ("--", "&&", "~~", "||")):
                self._refuse("a set with an operator: write each character once")
        elif character == "\\":
            source = self._text[self._at : self._at + 2]
            if source[1:] not in _ESCAPED or len(source) < 2:
                self._refuse("an escape that model names do not need")
        elif character in "*+?{":
            self._refuse("a repetition of nothing")
        elif character in "^$":
            self._refuse(f"a {character} in the middle: a pattern is of the whole name anyway")
        else:
            source = "." if character == "." else re.escape(character)
        try:
            takes = re.compile(source, re.IGNORECASE | re.DOTALL)
        except re.error as error:
            self._refuse(str(error))
        self._at += 1 if character not in ("[", "\\") else len(source)
        return _One(takes)

    def _group(self) -> _Node:
        self._at += 1
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                self._refuse("a group of a kind that model names do not need: only ( ) and (?: )")
            self._at += 2
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse("too many groups within groups")
        node = self._choice()
        if self._peek() != ")":
            self._refuse("a ( without its )")
        self._depth -= 1
        self._at += 1
        return node
