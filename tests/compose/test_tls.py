"""TLS URLs of real servers, with a certificate for localhost signed by an authority of this test."""

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import text

from talweg.errors import TalwegError, Unreachable
from talweg.queue import create_app, depth, publish
from talweg.store import open_store
from talweg.store.migrate import upgrade

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

PASSWORD = secrets.token_hex(24)
# The server must own its key, but the folder of certificates belongs to the test's user.
REDIS = (
    "install -o redis -m 600 /certificates/key.pem /tmp/key.pem && exec docker-entrypoint.sh redis-server --port 0"
    " --tls-port 6390 --tls-cert-file /certificates/server.pem --tls-key-file /tmp/key.pem"
    f" --tls-ca-cert-file /certificates/ca.pem --tls-auth-clients no --requirepass {PASSWORD}"
)
POSTGRES = (
    "install -o postgres -m 600 /certificates/key.pem /tmp/key.pem && exec docker-entrypoint.sh postgres -c ssl=on"
    " -c ssl_cert_file=/certificates/server.pem -c ssl_key_file=/tmp/key.pem"
)


@dataclass(frozen=True)
class Server:
    """A TLS server on loopback."""

    port: int
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem has signed server.pem, for localhost alone; other.pem has signed nothing."""
    folder = tmp_path_factory.mktemp("certificates")
    key, ca = _authority("ca")
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "other.pem").write_bytes(_authority("other")[1].public_bytes(serialization.Encoding.PEM))
    own = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    server = _certificate("localhost", own, ca.subject).add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    # Containers run as other users, and pytest's folders are private.
    for path in (folder, *folder.parents):
        if path.name.startswith("pytest-"):
            path.chmod(0o711)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def redis(certificates: Path) -> Iterator[Server]:
    """Redis that accepts TLS only."""
    with _Container("redis:7", REDIS, 6390, certificates) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(certificates: Path) -> Iterator[Server]:
    """PostgreSQL that accepts TLS."""
    with _Container("postgres:16", POSTGRES, 5432, certificates, f"POSTGRES_PASSWORD={PASSWORD}") as server:
        yield server


def test_redis_is_reached_over_tls(redis: Server) -> None:
    app = create_app(lambda: f"rediss://:{PASSWORD}@localhost:{redis.port}/0?ssl_ca_certs={redis.ca}")
    _eventually(lambda: publish("an id", through=app))
    assert depth(through=app) == 1


@pytest.mark.parametrize(
    "template",
    [
        # No trusted authority, an authority that has not signed, another name, and no TLS.
        "rediss://:{password}@localhost:{port}/0",
        "rediss://:{password}@localhost:{port}/0?ssl_ca_certs={other}",
        "rediss://:{password}@127.0.0.1:{port}/0?ssl_ca_certs={ca}",
        "redis://:{password}@localhost:{port}/0",
    ],
)
def test_redis_is_refused_where_it_cannot_be_trusted(redis: Server, template: str) -> None:
    url = template.format(password=PASSWORD, port=redis.port, ca=redis.ca, other=redis.other_ca)
    with pytest.raises(Unreachable) as caught:
        # Not `publish`: its connections are pooled by address, with any TLS options.
        depth(through=create_app(lambda: url))
    assert PASSWORD not in str(caught.value)


def test_postgresql_is_reached_over_tls(postgres: Server) -> None:
    url = f"postgresql://postgres:{PASSWORD}@localhost:{postgres.port}/postgres?sslmode=verify-full"
    url += f"&sslrootcert={postgres.ca}"
    _eventually(lambda: upgrade(url))
    with open_store(url) as store, store.engine.connect() as connection:
        encrypted = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert connection.execute(encrypted).scalar() is True


@pytest.mark.parametrize(("host", "authority"), [("localhost", "other_ca"), ("127.0.0.1", "ca")])
def test_postgresql_is_refused_where_it_cannot_be_trusted(postgres: Server, host: str, authority: str) -> None:
    url = f"postgresql://postgres:{PASSWORD}@{host}:{postgres.port}/postgres?sslmode=verify-full"
    with pytest.raises(Unreachable, match="certificate") as caught:
        open_store(f"{url}&sslrootcert={getattr(postgres, authority)}")
    assert PASSWORD not in str(caught.value)


class _Container:
    """A container with an image's server, removed at the end of the context."""

    def __init__(self, image: str, script: str, port: int, certificates: Path, *environment: str) -> None:
        self._port, self._certificates = port, certificates
        options = [f"--volume={certificates}:/certificates:ro", f"--publish=127.0.0.1::{port}", "--entrypoint=sh"]
        options += [f"--env={one}" for one in environment]
        self._command = ["docker", "run", "--rm", "--detach", *options, image, "-c", script]
        self._id = ""

    def __enter__(self) -> Server:
        self._id = subprocess.run(self._command, capture_output=True, text=True, check=True).stdout.strip()
        shown = subprocess.run(
            ["docker", "port", self._id, str(self._port)], capture_output=True, text=True, check=True
        ).stdout
        port = int(shown.splitlines()[0].rpartition(":")[2])
        return Server(port, self._certificates / "ca.pem", self._certificates / "other.pem")

    def __exit__(self, *_: object) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self._id], capture_output=True, check=True)


def _eventually(call: object) -> None:
    """Call it until the server answers, for up to 60 s."""
    import stamina

    assert callable(call)
    for attempt in stamina.retry_context(on=TalwegError, attempts=None, timeout=60, wait_initial=0.2, wait_max=1.0):
        with attempt:
            call()


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    ca = _certificate(name, key, subject).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return key, ca.sign(key, hashes.SHA256())


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
