"""Ctrl-C in the middle of a command, wherever it comes."""

from __future__ import annotations

import click
import orjson
import pytest
from click.testing import CliRunner

from chopsky_trace.commands.command import Commands


def in_python() -> None:
    raise KeyboardInterrupt


def in_what_a_library_calls() -> None:
    def pressed(value: object) -> object:
        raise KeyboardInterrupt

    # It says that the type cannot be encoded.
    orjson.dumps({"value": object()}, default=pressed)


def while_something_is_put_in_order() -> None:
    try:
        raise KeyboardInterrupt
    finally:
        raise ConnectionError("gone")


def not_at_all() -> None:
    raise ConnectionError("gone")


@pytest.mark.parametrize(
    ("happens", "code"),
    [(in_python, 130), (in_what_a_library_calls, 130), (while_something_is_put_in_order, 130), (not_at_all, 1)],
)
def test_the_exit_code_says_whether_it_was_ctrl_c(happens: object, code: int) -> None:
    group = Commands("test")
    assert callable(happens)
    group.add_command(click.Command("it", callback=happens))
    result = CliRunner().invoke(group, ["it"])
    assert result.exit_code == code
    assert ("Error" in result.output) is (code == 1)
