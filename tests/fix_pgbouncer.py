"""A real PgBouncer before the tests' server, where its program is or can be installed; else its tests skip."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from fix_postgres import Server, locked, run_folder

from chopsky_trace.database.embedded import ensure_server_user

Mode = Literal["transaction", "session"]
PLACES = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"])


def find_pgbouncer() -> str | None:
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path=PLACES)
    if found is None and os.geteuid() == 0 and os.environ.get("CI") and shutil.which("apt-get"):
        with locked(run_folder() / "pgbouncer-lock"):
            if shutil.which("pgbouncer", path=PLACES) is None:
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
                subprocess.run(["apt-get", "update", "-q"], **quiet)
                # Its package starts a server of its own, unless it is told that nothing may be started.
                subprocess.run(
                    ["apt-get", "install", "-qy", "--no-install-recommends", "pgbouncer"],
                    env=os.environ | {"RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"},
                    **quiet,
                )
        found = shutil.which("pgbouncer", path=PLACES)
    return found


@contextmanager
def pgbouncer(server: Server, mode: Mode, size: int, folder: Path) -> Iterator[int]:
    """PgBouncer with its defaults but for the mode and `size` server connections a database; its port on loopback."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip("there is no pgbouncer")
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.cluster.data} port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\nadmin_users = postgres\n"
        f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
    )
    command = [program, str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:
        command[1:1] = ["-u", ensure_server_user()]
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            wait_for(process, port)
            yield port
        finally:
            process.terminate()


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            # Its own console: no server is asked.
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/pgbouncer", autocommit=True).close()
        except psycopg.OperationalError:
            assert process.stderr is not None
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def pooled(postgres_server: Server) -> Iterator[Callable[..., str]]:
    """Makes a URL of a database through a pooler: `pooled(url, mode="transaction", size=2)`."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def make(url: str, mode: Mode = "transaction", size: int = 2) -> str:
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            folder = run_folder() / f"pgbouncer-{os.getpid()}-{time.monotonic_ns()}"
            port = stack.enter_context(pgbouncer(postgres_server, mode, size, folder))
            return f"postgresql://postgres@127.0.0.1:{port}/{name}"

        yield make
