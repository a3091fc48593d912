"""The program chopsky-trace, and `python -m chopsky_trace`."""

from __future__ import annotations


def main() -> None:
    """Run the command that the arguments name."""
    from chopsky_trace.commands import interrupt

    # First of all: what comes now takes a few tenths of a second.
    interrupt.end_at_once()
    from chopsky_trace.cli import main as command

    command(prog_name="chopsky-trace")


if __name__ == "__main__":
    main()
