"""A broker behind TLS: its certificate is looked at, also where the URL does not ask for that."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from talweg.errors import Unreachable
from talweg.queue import create_app, depth, publish

if TYPE_CHECKING:
    from tests.integration.conftest import Broker


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a broker for tests")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, kept = tmp_path / "broker.pem", tmp_path / "broker.key"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kept.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return shown, kept


@pytest.fixture
def port(broker: "Broker", certificate: tuple[Path, Path]) -> Iterator[int]:
    """Where TLS is spoken; behind it is a real broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
        except OSError:
            pass
        finally:
            for end in (one, other):
                end.close()

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                try:
                    inside = context.wrap_socket(client, server_side=True)
                except OSError:
                    # The client did not like what it was shown.
                    client.close()
                    continue
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(str(broker.socket))
                for pair in ((inside, behind), (behind, inside)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        # Closing alone would not wake it.
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_broker_is_spoken_to_through_tls(port: int, certificate: tuple[Path, Path]) -> None:
    app = create_app(lambda: f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate[0]}")
    publish("an id", through=app)
    assert depth(through=app) == 1
    app.close()


@pytest.mark.parametrize("query", ["", "?ssl_ca_certs={shown}"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    port: int, certificate: tuple[Path, Path], query: str
) -> None:
    # Known authority, other name; or no authority at all.
    host = "localhost" if query else "127.0.0.1"
    app = create_app(lambda: f"rediss://:secret@{host}:{port}/0{query.format(shown=certificate[0])}")
    # Publishing gives up after one more attempt; asking for the queue's depth takes six seconds to.
    with pytest.raises(Unreachable, match="certificate verify failed") as caught:
        publish("an id", through=app)
    assert "secret" not in str(caught.value)
    app.close()


def test_who_wants_no_certificate_has_to_say_so(port: int) -> None:
    app = create_app(lambda: f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")
    assert depth(through=app) == 0
    app.close()
