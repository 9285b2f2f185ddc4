"""A broker behind TLS: its certificate is verified, also where the URL does not request it."""

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
    """A self-signed certificate for 127.0.0.1, and its key."""
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
    public, private = tmp_path / "broker.pem", tmp_path / "broker.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


@pytest.fixture
def port(broker: "Broker", certificate: tuple[Path, Path]) -> Iterator[int]:
    """The port of a TLS proxy in front of a real broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def forward(one: socket.socket, other: socket.socket) -> None:
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
                    # The client refused the certificate.
                    client.close()
                    continue
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(str(broker.socket))
                for pair in ((inside, upstream), (upstream, inside)):
                    threading.Thread(target=forward, args=pair, daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        # Closing alone does not end `accept`.
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_broker_is_reached_over_tls(port: int, certificate: tuple[Path, Path]) -> None:
    app = create_app(lambda: f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate[0]}")
    publish("an id", through=app)
    assert depth(through=app) == 1
    app.close()


@pytest.mark.parametrize("query", ["", "?ssl_ca_certs={public}"])
def test_a_certificate_of_an_unknown_authority_or_name_is_refused(
    port: int, certificate: tuple[Path, Path], query: str
) -> None:
    # A known authority with another name; or no authority.
    host = "localhost" if query else "127.0.0.1"
    app = create_app(lambda: f"rediss://:secret@{host}:{port}/0{query.format(public=certificate[0])}")
    # `publish` gives up after two attempts; `depth` would take six seconds.
    with pytest.raises(Unreachable, match="certificate verify failed") as caught:
        publish("an id", through=app)
    assert "secret" not in str(caught.value)
    app.close()


def test_verification_can_be_switched_off_in_the_url(port: int) -> None:
    app = create_app(lambda: f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")
    assert depth(through=app) == 0
    app.close()
