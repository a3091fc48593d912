"""What is wrong with a server's certificate: libpq says no more than that something is."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""How a client of PostgreSQL asks for TLS."""
SYSTEM = "system"
"""The value of sslrootcert that stands for the machine's own list."""
EXPIRED = 10
NOT_YET = 9
UNKNOWN_ISSUER = (2, 18, 19, 20, 21, 24)
"""OpenSSL's codes: the chain ends at a certificate that is not among the trusted ones."""

REMEDIES = {
    "expired": "Renew it on the server, or set this machine's clock if it is that which is wrong",
    "issuer": "Name the file of the CA that signed it in sslrootcert (Supabase: Database Settings, SSL Configuration, "
    "download), or sslrootcert=system where it is a public one",
    "other": "Check the certificate on the server, and what sslrootcert names",
}


def certificate_trouble(
    host: str, port: int, root: str | None, *, address: str | None = None, timeout_s: float
) -> tuple[str, str] | None:
    """What is wrong with the chain of a server's certificate, and the remedy; None where nothing is found.

    Its name is not looked at: of that libpq tells all. Sends nothing but the greeting, and no secret.

    Args:
        host: the server's name.
        port: where it listens.
        root: the file of the trusted CAs; `system` or None: the machine's own.
        address: of the host, where it is not to be asked for.
        timeout_s: longest wait, in seconds.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # What libpq does not ask for either.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    if root is None or root == SYSTEM:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(root)
        except (OSError, ssl.SSLError):
            return f"The file {root}, which sslrootcert names, cannot be read as certificates", REMEDIES["issuer"]
    with contextlib.suppress(OSError), socket.create_connection((address or host, port), timeout_s) as plain:
        plain.sendall(SSL_REQUEST)
        if plain.recv(1) != b"S":
            return None
        try:
            context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            return _explained(error)
    return None


def _explained(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    if error.verify_code in (EXPIRED, NOT_YET):
        when = "has expired" if error.verify_code == EXPIRED else "is not valid yet"
        return f"The server's certificate, or one that it hangs on, {when}", REMEDIES["expired"]
    if error.verify_code in UNKNOWN_ISSUER:
        return "The server's certificate is not signed by a CA that sslrootcert names", REMEDIES["issuer"]
    return f"The server's certificate is refused: {error.verify_message}", REMEDIES["other"]
