"""Our own SQL never traces itself."""

from __future__ import annotations

import sys


def leave_untraced() -> None:
    """Tell OpenTelemetry's instrumentations, where the application has them, to leave out what this thread does."""
    # Without importing it: where it is not loaded yet, nothing is instrumented.
    context = sys.modules.get("opentelemetry.context")
    # The key that all of them ask for; the SDK's own export threads set the same.
    key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if context is not None and key is not None and not context.get_value(key):
        context.attach(context.set_value(key, True))
