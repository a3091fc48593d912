"""What the pages say exists: commands, settings, targets, files, SQL."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path

import click
import psycopg
import pytest

import chopsky_trace
from chopsky_trace.cli import main
from chopsky_trace.settings import PREFIX, settings_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))),
]
SETTINGS = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)
COMMANDS = main.commands if isinstance(main, click.Group) else {}


def page(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text("utf-8")


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page("README.md"), re.MULTILINE | re.DOTALL)


def settings_rows() -> str:
    """The README's table of settings, as the code has them."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for variable, default, meaning in settings_table():
        lines.append(f"| `{variable}` | {f'`{default}`' if default else ''} | {meaning} |")
    return "\n".join(lines) + "\n"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def invocations() -> list[list[str]]:
    """Every `chopsky-trace ...` the pages show, in code blocks and between backticks, as words."""
    found: list[list[str]] = []
    for name in PAGES:
        between = re.findall(r"`([^`\n]+)`", page(name))
        lines = re.findall(r"^ *([^`\n]*chopsky-trace [^`\n]*)$", page(name), re.MULTILINE)
        for span in [*between, *lines]:
            for text in re.findall(r"^(?:\S*/)?chopsky-trace ([a-z].*)$", span.strip()):
                found.append(shlex.split(text, comments=True))
    return found


def test_the_readme_has_the_settings_of_the_code() -> None:
    found = SETTINGS.search(page("README.md"))
    assert found is not None
    assert found[0] == settings_rows(), f"run: python {Path(__file__).relative_to(ROOT)}"


@pytest.mark.parametrize("name", PAGES)
def test_a_setting_named_in_a_page_exists(name: str) -> None:
    known = {variable for variable, _, _ in settings_table()}
    named = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", page(name)))
    assert named <= known


def test_commands_named_in_the_pages_exist() -> None:
    named = invocations()
    assert len(named) > 10
    for words in named:
        assert words[0] in COMMANDS, f"chopsky-trace {' '.join(words)}"
        command = COMMANDS[words[0]]
        if isinstance(command, click.Group) and words[1:]:
            assert words[1] in command.commands, words
            command = command.commands[words[1]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, words


def test_the_readme_names_every_command() -> None:
    told = set(re.findall(r"^\| `chopsky-trace ([\w-]+)", page("README.md"), re.MULTILINE))
    assert told == {name for name, command in COMMANDS.items() if not command.hidden}


def test_every_command_takes_json_and_a_database_url() -> None:
    # As the README says of each.
    groups = [command for command in COMMANDS.values() if isinstance(command, click.Group)]
    single = [command for command in COMMANDS.values() if not isinstance(command, click.Group)]
    for command in [*single, *(one for group in groups for one in group.commands.values())]:
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--json", "--database-url"} <= options, command.name


@pytest.mark.parametrize("name", PAGES)
def test_make_targets_named_in_a_page_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page(name), re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page(name)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        assert ((ROOT / name).parent / path if path else ROOT / name).exists(), target
        assert not anchor or anchor in anchors(page(path or name)), target


@pytest.mark.parametrize("name", PAGES)
def test_files_named_in_a_page_exist(name: str) -> None:
    # Between backticks, with a slash and an ending, in the project or in the package.
    for path in re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|sql|md|toml))`", page(name)):
        assert any((base / path).exists() for base in (ROOT, ROOT / "src" / "chopsky_trace")), path


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (?:Unreleased \()?(\d+\.\d+\.\d+)", page("CHANGELOG.md"), re.MULTILINE)
    declared = re.search(r'^version = "(.+)"$', page("pyproject.toml"), re.MULTILINE)
    assert first is not None
    assert declared is not None
    assert first[1] == declared[1] == chopsky_trace.__version__


def test_the_readmes_python_compiles_and_names_what_exists() -> None:
    examples = blocks("python")
    assert len(examples) >= 4
    for text in examples:
        indent = re.match(r" *", text)
        lines = [line[len(indent[0]) if indent else 0 :] for line in text.splitlines()]
        # Some lines await: they stand in an async function of the reader's.
        tree = compile("\n".join(lines), "README.md", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "chopsky_trace":
                assert {alias.name for alias in node.names} <= set(chopsky_trace.__all__)
            match node:
                case ast.Attribute(value=ast.Name(id="chopsky_trace"), attr=attribute):
                    assert attribute in chopsky_trace.__all__


def test_the_readmes_signature_is_the_tracers() -> None:
    import inspect

    shown = next(text for text in blocks("python") if text.strip().startswith("SupabaseTracer("))
    call = ast.parse(shown.strip(), mode="eval").body
    assert isinstance(call, ast.Call)
    told = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    parameters = inspect.signature(chopsky_trace.SupabaseTracer.__init__).parameters
    assert told == {name: parameter.default for name, parameter in parameters.items() if name != "self"}


@pytest.mark.parametrize("number", range(len(blocks("sql"))))
def test_the_readmes_sql_runs(database_url: str, number: int) -> None:
    with psycopg.connect(database_url) as connection:
        for statement in blocks("sql")[number].split(";"):
            if statement.strip():
                assert connection.execute(statement.encode()).description is not None


if __name__ == "__main__":
    readme = SETTINGS.sub(settings_rows().replace("\\", r"\\"), page("README.md"))
    sys.exit((ROOT / "README.md").write_text(readme, "utf-8") == 0)
