"""Takes out what must not be stored, before the journal: personal data, by pattern or by a callable.

`masked` replaces, in this order: private keys, URLs' user and password, JWTs, bearer and basic credentials, API keys
([secret]); e-mail addresses ([email]); IBANs ([iban]); IPv4 and IPv6 addresses ([ip]); US social security numbers
([ssn]); card numbers that pass Luhn's check ([card]); phone numbers of 8 to 15 digits, written with a + or with
separators ([phone]). Names, postal addresses and dates are not patterns and stay: give a `redact` callable for those.

Every pattern takes time linear in the text: it starts only where a word starts, and never gives back what it took.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from chopsky_trace.enrich.secrets import BEARER, SECRET, URL_CREDENTIALS
from chopsky_trace.settings import CaptureLevel

FAILED = "[redaction failed]"
NOT_CAPTURED = "[not captured]"

KEYS_REMEMBERED = 4_096
MAX_DEPTH = 200

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----END))*+(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_JWT = re.compile(r"(?<![\w\-])eyJ[\w\-]{5,}+\.[\w\-]{5,}+\.[\w\-]*+")
_API_KEY = re.compile(
    r"(?<![\w\-])(?:(?:sk|pk|rk|lsv2|xox[abeoprs]|glpat|sbp|hf|gsk|pplx|whsec|dapi|npm|nvapi|r8|xai|tvly)[-_][\w\-]{16,}+"
    r"|gh[oprsu]_\w{16,}+|github_pat_\w{16,}+|A(?:KIA|SIA|IDA|ROA)[A-Z0-9]{12,}+|AIza[\w\-]{30,}+|ya29\.[\w\-]{20,}+)"
)
_EMAIL = re.compile(r"(?<![\w.%+\-])[\w.%+\-]++@[A-Za-z0-9](?:[A-Za-z0-9\-]|\.(?=[A-Za-z0-9]))*+")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}+(?:[ ]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]*+:)[0-9A-Fa-f:]{2,}+(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])")
_IPV4 = re.compile(r"(?<![\w.])(?:25[0-5]|2[0-4]\d|1?\d{1,2})(?:\.(?:25[0-5]|2[0-4]\d|1?\d{1,2})){3}(?![\w]|\.\d)")
# A run of digits with the separators that people put into numbers; what it is, its digits decide.
_NUMBER = re.compile(r"(?<![\w.+\-/])(?:\+|\(\+?)?+\d(?:[ .\-/()]{0,2}+\d)*+(?![\w])")
_SSN = re.compile(r"(?<![\w\-])\d{3}([ \-])\d{2}\1\d{4}(?![\w\-])")
_DIGITS = re.compile(r"[0-9]+")
_PHONE_GROUPS = re.compile(r"\d{2,5}(?:[ .\-]\d{2,5}){2,5}")
_NO_PHONE = re.compile(r"\d{1,3}(?:[. ]\d{3})+|\d{4}[ \-./]\d{2}[ \-./]\d{2}.*")
_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")
_HAS_DIGIT = re.compile(r"\d")


class Redactor:
    """Applies a capture level and the user's own callable to text; whatever fails becomes a marker and is counted."""

    __slots__ = ("_keys", "_none", "_redact", "failures", "level")

    def __init__(self, level: CaptureLevel, redact: Callable[[str], str] | None) -> None:
        self.level: CaptureLevel = level
        self._keys: dict[str, str] = {}
        self.failures = 0
        """Fields that became `[redaction failed]`."""
        self._redact = redact
        self._none = level == "full" and redact is None

    def text(self, text: str) -> str:
        """The text as it may be stored; never raises. At level `metadata` no text may be."""
        if self._none:
            return text
        if self.level == "metadata":
            return NOT_CAPTURED
        try:
            if self.level == "masked":
                text = mask(text)
            if self._redact is not None:
                text = self._redact(text)
            # A callable may be typed wrongly; anything but text would be stored unseen.
            if type(cast("object", text)) is str:
                return text
        except Exception:
            pass
        self.failures += 1
        return FAILED

    def value(self, value: Any) -> Any:
        """JSON-like data with every string in it redacted, keys too; at level `metadata` its empty like."""
        if self._none:
            return value
        if self.level == "metadata":
            return _empty(value)
        return self._deep(value, MAX_DEPTH)

    def _deep(self, value: Any, depth: int) -> Any:
        kind: Any = value.__class__
        if kind is str:
            return self.text(value)
        if kind is dict or kind is list or kind is tuple:
            if not depth:
                # Fails closed: what is not looked at is not stored.
                self.failures += 1
                return FAILED
            if kind is dict:
                return self._fields(value, depth - 1)
            return [self._deep(item, depth - 1) for item in value]
        if value is None or kind is bool or kind is int or kind is float:
            return value
        if isinstance(value, str):
            return self.text(str.__str__(value))
        self.failures += 1
        return FAILED

    def _fields(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        """A mapping's keys may be content as well: {"ann@example.com": 3}. Two that become equal both stay."""
        found: dict[Any, Any] = {}
        for key, item in value.items():
            kept = self._key(key)
            n = 2
            while kept in found:
                kept = f"{self._key(key)} ({n})"
                n += 1
            found[kept] = self._deep(item, depth)
        return found

    def _key(self, key: Any) -> Any:
        if not isinstance(key, str):
            return key
        known = self._keys.get(key)
        if known is None:
            known = self.text(key)
            # The same few names come again and again.
            if len(self._keys) < KEYS_REMEMBERED:
                self._keys[key] = known
        return known


def _empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {}
    if isinstance(value, list | tuple):
        return []
    return None if value is None else NOT_CAPTURED


def mask(text: str) -> str:
    """The text with the module's documented patterns replaced."""
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(SECRET, text)
    if "://" in text:
        text = URL_CREDENTIALS.sub(SECRET + "@", text)
    if "eyJ" in text:
        text = _JWT.sub(SECRET, text)
    text = BEARER.sub(r"\1 " + SECRET, text)
    text = _API_KEY.sub(SECRET, text)
    if "@" in text:
        text = _EMAIL.sub(_email, text)
    if ":" in text:
        text = _IPV6.sub(_ipv6, text)
    if _HAS_DIGIT.search(text):
        text = _IBAN.sub(_iban, text)
        text = _IPV4.sub("[ip]", text)
        text = _SSN.sub("[ssn]", text)
        text = _NUMBER.sub(_number, text)
    return text


def _email(match: re.Match[str]) -> str:
    found = match.group()
    return "[email]" if "." in found.rpartition("@")[2] else found


def _ipv6(match: re.Match[str]) -> str:
    found = match.group()
    groups = found.split(":")
    if not 3 <= len(groups) <= 9 or found.count("::") > 1 or ":::" in found or max(map(len, groups[:-1])) > 4:
        return found
    # Eight groups, or fewer with "::"; 12:30:45 is a time, a::b a name in C++.
    whole = "::" in found or len(groups) == 8
    return "[ip]" if whole and _HAS_DIGIT.search(found) else found


def _iban(match: re.Match[str]) -> str:
    """The check digits tell where it ends: capitals that follow look like one more group."""
    found = match.group()
    end = len(found)
    while end > 0:
        compact = found[:end].replace(" ", "")
        if len(compact) < 15:
            break
        digits = "".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])
        if len(compact) <= 34 and int(digits) % 97 == 1:
            return "[iban]" + found[end:]
        end = found.rfind(" ", 0, end)
    return found


def _number(match: re.Match[str]) -> str:
    found = match.group()
    if len(found) < 8:
        return found
    masked = _without_cards(found)
    if masked is not None:
        return masked
    digits = sum(map(str.isdigit, found))
    if not 8 <= digits <= 15 or len(found) > 48:
        return found
    if "+" in found or "(" in found:
        return "[phone]"
    # 2026-11-22 and 1.234.567 are no phone numbers.
    if digits >= 9 and _PHONE_GROUPS.fullmatch(found) and not _NO_PHONE.fullmatch(found):
        return "[phone]"
    return found


def _without_cards(found: str) -> str | None:
    """The number with its card numbers replaced (groups of 13 to 19 digits that pass Luhn); None: it has none."""
    groups = list(_DIGITS.finditer(found))
    kept: list[str] = []
    done = first = 0
    while first < len(groups):
        digits = ""
        # People write at least two digits a group, and issuers' numbers begin with 2 to 6.
        for last in range(first, len(groups) if groups[first].group()[0] in "23456" else first):
            group = groups[last].group()
            digits += group
            if len(group) < 2 or len(digits) > 19:
                break
            if len(digits) >= 13 and _passes_luhn(digits):
                kept += [found[done : groups[first].start()], "[card]"]
                done, first = groups[last].end(), last
                break
        first += 1
    return "".join([*kept, found[done:]]) if kept else None


def _passes_luhn(digits: str) -> bool:
    signs = digits.encode()
    return (sum(signs[-1::-2]) + sum(signs[-2::-2].translate(_DOUBLED)) - ord("0") * len(signs)) % 10 == 0
