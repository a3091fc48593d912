"""The exchanges made up: where providers state what no recording at hand shows."""

from __future__ import annotations

from conformance import made_claude, made_openai, made_others

CASES = [*made_openai.CASES, *made_claude.CASES, *made_others.CASES]
