"""The embedded server: one for all processes, as root too, and no folder of anybody's opened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fix_postgres
import psycopg
import pytest
from click.testing import CliRunner

from chopsky_trace.cli import main
from chopsky_trace.database import embedded, migrate
from chopsky_trace.database.connect import connect
from chopsky_trace.errors import EmbeddedError
from chopsky_trace.settings import EMBEDDED, Settings, Target

pytestmark = pytest.mark.skipif(
    bool(os.environ.get(fix_postgres.PROGRAMS)), reason="another server's programs are under test"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to think of")

START = """
import sys
from pathlib import Path
from chopsky_trace.database import embedded
from chopsky_trace.settings import Settings
print(embedded.ensure_running(Settings(data_dir=Path(sys.argv[1]))))
"""


@pytest.fixture
def settings() -> Iterator[Settings]:
    """A data folder that the server's user can reach; the server is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chopsky-embedded-"))
    folder.chmod(0o711)
    made = Settings(data_dir=folder / "data")
    yield made
    embedded.stop(made)
    shutil.rmtree(folder)


def start_elsewhere(settings: Settings) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-W", "error", "-c", START, str(settings.data_dir)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_one_server_that_outlives_them(settings: Settings):
    assert embedded.running_url(settings) is None
    processes = [start_elsewhere(settings) for _ in range(4)]
    told = [process.communicate(timeout=120) for process in processes]
    assert {err for _, err in told} == {""}
    (url,) = {out.strip() for out, _ in told}
    assert embedded.running_url(settings) == url == embedded.ensure_running(settings)
    with psycopg.connect(url) as connection:
        assert connection.execute(
            "select datcollate, datlocprovider from pg_database where datname = 'postgres'"
        ).fetchone() == ("C", "b")


def test_its_data_survives_a_stop_and_a_kill(settings: Settings):
    target = Target(EMBEDDED, "test")
    with connect(target, settings, application_name="test") as connection:
        migrate.ensure(connection, auto=True)
        connection.execute("insert into conversation_runs (name) values ('kept')")
    assert embedded.stop(settings)
    assert not embedded.stop(settings)
    with connect(target, settings, application_name="test") as connection:
        assert connection.execute("select name from conversation_runs").fetchall() == [("kept",)]
    pid = int((settings.data_path() / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    while embedded.running_url(settings) is not None:
        time.sleep(0.01)
    with connect(target, settings, application_name="test") as connection:
        assert connection.execute("select name from conversation_runs").fetchall() == [("kept",)]


def test_the_command_stops_it(settings: Settings):
    environment = {"CHOPSKY_TRACE_DATA_DIR": str(settings.data_dir)}
    embedded.ensure_running(settings)
    told = CliRunner().invoke(main, ["stop", "--json"], env=environment)
    assert (told.exit_code, json.loads(told.stdout)["stopped"]) == (0, True)
    assert embedded.running_url(settings) is None


def test_others_cannot_read_its_data_or_reach_its_socket(settings: Settings):
    embedded.ensure_running(settings)
    found = (settings.data_path() / "postgres").stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert found.st_uid == (os.geteuid() or embedded_uid())


def embedded_uid() -> int:
    import pwd

    return pwd.getpwnam(embedded.SERVER_USER).pw_uid


def test_a_long_path_has_its_socket_elsewhere(settings: Settings):
    assert settings.data_dir is not None
    long = Settings(data_dir=settings.data_dir / ("long-" * 20))
    try:
        url = embedded.ensure_running(long)
        with psycopg.connect(url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        folder = embedded.Cluster(Path(), long.data_path() / "postgres").running()
        assert folder is not None
        assert stat.S_IMODE(folder[0].stat().st_mode) == 0o700
    finally:
        found = embedded.Cluster(Path(), long.data_path() / "postgres").running()
        embedded.stop(long)
        if found:
            shutil.rmtree(found[0])


@as_root
def test_root_never_opens_a_closed_folder():
    home = Path(tempfile.mkdtemp(prefix="chopsky-home-"))
    try:
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        with pytest.raises(
            EmbeddedError, match="CHOPSKY_TRACE_DATA_DIR to a system folder such as /var/lib/chopsky-trace"
        ):
            embedded.ensure_running(Settings(data_dir=home / ".local" / "share"))
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert list(home.iterdir()) == []
    finally:
        shutil.rmtree(home)


@as_root
def test_programs_in_a_closed_folder_are_copied_to_an_open_one(settings: Settings):
    closed = Path(tempfile.mkdtemp(prefix="chopsky-venv-"))
    try:
        package = embedded.find_programs().parent.parent
        shutil.copytree(package, closed / package.name, symlinks=True)
        shutil.copytree(package.with_name(package.name + ".libs"), closed / (package.name + ".libs"))
        assert settings.data_dir is not None
        settings.data_dir.mkdir(mode=0o755)
        programs = embedded.reachable_programs(closed / package.name / "pginstall" / "bin", settings.data_dir)
        assert programs.is_relative_to(settings.data_dir)
        assert embedded.closed_parent(programs / "postgres") is None
        cluster = embedded.Cluster(programs, settings.data_dir / "copied", embedded.ensure_server_user())
        cluster.create()
        cluster.start()
        assert cluster.stop()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    finally:
        shutil.rmtree(closed)


def test_data_of_another_version_is_left_alone(settings: Settings):
    embedded.ensure_running(settings)
    embedded.stop(settings)
    (settings.data_path() / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 12"):
        embedded.ensure_running(settings)


def test_without_the_wheel_the_error_names_it(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    sys.path_importer_cache.clear()
    with pytest.raises(EmbeddedError, match=r"pip install 'chopsky-trace\[embedded\]'"):
        embedded.ensure_running(settings)
