"""ASGI applications: `app` takes OTLP over HTTP, `api` answers for what is stored; `listening` serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chopsky_trace.server.access import Access
    from chopsky_trace.server.api import ReadApi, api_app

__all__ = ["Access", "ReadApi", "api_app"]


def __getattr__(name: str) -> Any:
    # Lazy: the receiver needs none of them.
    if name == "Access":
        from chopsky_trace.server.access import Access

        return Access
    if name in ("ReadApi", "api_app"):
        from chopsky_trace.server import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
