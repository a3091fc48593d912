"""TLS: each sslmode, what `doctor` says of a certificate that will not do, and a writer that waits until it will."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import writer_records as records
from tls_front import DAY, NOW, Authority, Front

from chopsky_trace.commands.doctor import Diagnosis, examine
from chopsky_trace.settings import Settings, Target
from chopsky_trace.writer import Writer

SECRET = "hunter-22"


@dataclass(frozen=True)
class Papers:
    """Certificates, and the files of the CAs that clients trust."""

    ours: Path
    theirs: Path
    good: Path
    elsewhere: Path
    expired: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("tls")
    ours = Authority.make("ours")
    return Papers(
        ours.write(folder / "ours.crt"),
        Authority.make("theirs").write(folder / "theirs.crt"),
        ours.sign(folder / "good.pem", ["localhost", "127.0.0.1"]),
        ours.sign(folder / "elsewhere.pem", ["db.example.com"]),
        ours.sign(folder / "expired.pem", ["localhost"], NOW - DAY),
    )


def diagnosed(url: str, step: str) -> Diagnosis:
    found = list(examine(Settings(), url))
    for each in found:
        assert SECRET not in f"{each.detail} {each.remedy}"
    return next(each for each in found if each.step == step)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=require", "encrypted, certificate not verified"),
        ("sslmode=verify-ca&sslrootcert={ours}", "encrypted, certificate verified (sslmode=verify-ca)"),
        ("sslmode=verify-full&sslrootcert={ours}", "encrypted, certificate verified (sslmode=verify-full)"),
        ("sslmode=disable", "not encrypted, and stays on this machine"),
    ],
)
def test_a_server_with_a_certificate_that_will_do(database_url: str, papers: Papers, query: str, said: str) -> None:
    with Front(database_url, papers.good) as front:
        for host in ("localhost", "127.0.0.1"):
            found = diagnosed(front.url(query.format(ours=papers.ours), host, SECRET), "tls")
            assert found.state == "ok"
            assert found.detail.startswith(said)


@pytest.mark.parametrize(
    ("certificate", "query", "said", "remedy"),
    [
        ("good", "sslmode=verify-full&sslrootcert={theirs}", "not signed by a CA", "Name the file of the CA"),
        ("good", "sslmode=verify-full&sslrootcert=system", "not signed by a CA", "Name the file of the CA"),
        ("good", "sslmode=verify-ca&sslrootcert=/nowhere.crt", "does not exist", "name its file in sslrootcert"),
        ("elsewhere", "sslmode=verify-full&sslrootcert={ours}", "db.example.com", "Take the name"),
        ("expired", "sslmode=verify-ca&sslrootcert={ours}", "has expired", "Renew it on the server"),
        (None, "sslmode=require", "does not support SSL", "The server speaks no TLS"),
    ],
)
def test_doctor_says_what_will_not_do(
    database_url: str, papers: Papers, certificate: str | None, query: str, said: str, remedy: str
) -> None:
    with Front(database_url, certificate and getattr(papers, certificate)) as front:
        url = front.url(query.format(ours=papers.ours, theirs=papers.theirs), password=SECRET)
        found = diagnosed(url, "connection")
        assert found.state == "failed"
        assert said in found.detail
        assert remedy in found.remedy
        assert "chopsky-trace doctor" not in found.remedy


def test_verify_ca_does_not_look_at_the_name(database_url: str, papers: Papers) -> None:
    with Front(database_url, papers.elsewhere) as front:
        assert diagnosed(front.url(f"sslmode=verify-ca&sslrootcert={papers.ours}"), "tls").state == "ok"


@pytest.mark.parametrize("broken", ["expired", "elsewhere", None])
def test_a_writer_goes_on_once_the_certificate_is_mended(
    database_url: str, papers: Papers, tracer_settings: Settings, broken: str | None
) -> None:
    with Front(database_url, broken and getattr(papers, broken)) as front:
        url = front.url(f"sslmode=verify-full&sslrootcert={papers.ours}", password=SECRET)
        writer = Writer(Target(url, "test"), tracer_settings)
        assert writer.put(records.start("a"))
        assert not writer.flush(0.5)
        stats = writer.stats()
        assert stats["losses"] == {}
        assert "certificate" in stats["last_error"] or "SSL" in stats["last_error"]
        assert SECRET not in str(stats)
        front.certificate = papers.good
        assert writer.flush(60)
        # By COPY, in more than one record of TLS.
        assert all([writer.put(records.start(f"b {number}")) for number in range(300)])
        assert writer.flush(60)
        writer.close()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("select count(*) from conversation_spans").fetchone() == (301,)
