"""TLS in front of the tests' server, as Supabase's poolers have it: the server programs of the wheel speak none."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """A CA of the tests' own."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, name, key, NOW + DAY).add_extension(x509.BasicConstraints(True, None), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def write(self, path: Path) -> Path:
        """What clients trust, as sslrootcert names it."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def sign(self, path: Path, names: Sequence[str], until: datetime.datetime = NOW + DAY) -> Path:
        """A server's certificate for these names, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.certificate.subject.rfc4514_string().removeprefix("CN=")
        alternatives = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        )
        certificate = _builder(names[0], issuer, key, until).add_extension(alternatives, critical=False)
        path.write_bytes(
            certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def _builder(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, until: datetime.datetime
) -> x509.CertificateBuilder:
    subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (name, issuer))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 10 * DAY)
        .not_valid_after(until)
    )


class Front:
    """A loopback port where PostgreSQL speaks TLS with a certificate that may be changed; without one it speaks none.

    Args:
        url: of the database, over its socket.
        certificate: a file with the certificate and its key.
    """

    def __init__(self, url: str, certificate: Path | None) -> None:
        with psycopg.connect(url) as connection:
            info = connection.info
            self._path = f"{info.host}/.s.PGSQL.{info.port}"
            self._database = f"{info.user}:{{}}@{{}}:{{}}/{info.dbname}"
        self.certificate = certificate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def url(self, query: str, host: str = "localhost", password: str = "none") -> str:
        return f"postgresql://{self._database.format(password, host, self.port)}?{query}"

    def __enter__(self) -> Front:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._greeted, args=(client,), daemon=True).start()

    def _greeted(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._path)
            while True:
                head = client.recv(8, socket.MSG_WAITALL)
                if len(head) < 8:
                    return
                _, code = struct.unpack("!ii", head)
                if code == SSL_REQUEST and self.certificate is not None:
                    client.sendall(b"S")
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.load_cert_chain(self.certificate)
                    with context.wrap_socket(client, server_side=True) as safe:
                        self._pump(safe, server)
                    return
                if code not in (SSL_REQUEST, GSS_REQUEST):
                    server.sendall(head)
                    self._pump(client, server)
                    return
                client.sendall(b"N")

    @staticmethod
    def _pump(client: socket.socket, server: socket.socket) -> None:
        def answers() -> None:
            with suppress(OSError):
                while data := server.recv(65_536):
                    client.sendall(data)
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=answers, daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        server.close()
        back.join()
