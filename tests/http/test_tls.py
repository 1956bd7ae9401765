"""TLS 1.2 and 1.3 with forward secrecy, and nothing older or weaker: real handshakes."""

from __future__ import annotations

import os
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from fhir_server.http import tls
from fhir_server.settings import Settings, SettingsError
from tests.commands.console import Console
from tests.live import free_port

Pair = tuple[Path, Path]
KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(KEY, hashes.SHA256())
    )
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    key.touch(0o600)
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, key


def client(certificate: Path, version: ssl.TLSVersion | None = None, ciphers: str | None = None) -> ssl.SSLContext:
    """Return a client that speaks one version, and of it weak ciphers too."""
    made = ssl.create_default_context(cafile=str(certificate))
    made.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is why they are refused
            made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
            made.maximum_version = version
            made.minimum_version = version
    return made


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """Yield the port of something that shakes hands, over and over, until this ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                connection, _ = server.accept()
                with connection:
                    try:
                        connection.settimeout(5)
                        with context.wrap_socket(connection, server_side=True) as secured:
                            secured.recv(1)
                    except OSError:  # ssl.SSLError among them: the client learns of it
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        yield port
        ended.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join(10)


def spoken(port: int, context: ssl.SSLContext) -> tuple[str | None, str]:
    """Return version and cipher of a handshake. Raises OSError if there is none."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        cipher = secured.cipher()
        assert cipher is not None
        return secured.version(), cipher[0]


def permissive(pair: Pair) -> ssl.SSLContext:
    """Return a server that takes everything: what shows that the clients here could speak it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    made.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = ssl.TLSVersion.TLSv1
    return made


@pytest.mark.parametrize(
    ("version", "ciphers", "name"),
    [
        (ssl.TLSVersion.TLSv1_2, None, "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_3, None, "TLSv1.3"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256", "TLSv1.2"),
    ],
)
def test_new_versions_are_spoken(pair: Pair, version: ssl.TLSVersion, ciphers: str | None, name: str) -> None:
    with listening(tls.context(*pair)) as port:
        spoke, cipher = spoken(port, client(pair[0], version, ciphers))
        assert spoke == name
        assert "GCM" in cipher or "CHACHA20" in cipher
        assert "ECDHE" in cipher or name == "TLSv1.3"


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, None),
        (ssl.TLSVersion.TLSv1, None),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"),  # no forward secrecy
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES256-SHA384"),  # CBC
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA"),
    ],
)
def test_old_versions_and_weak_ciphers_are_refused(pair: Pair, version: ssl.TLSVersion, ciphers: str | None) -> None:
    asking = client(pair[0], version, ciphers)
    with listening(permissive(pair)) as port:
        assert spoken(port, asking)[1]
    with listening(tls.context(*pair)) as port, pytest.raises(OSError, match=r"handshake|version|EOF|reset"):
        spoken(port, asking)


def test_serve_speaks_https(pair: Pair, mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    port = free_port()
    given = {
        "FHIR_MONGODB_URI": mongo_uri,
        "FHIR_DATABASE": database_name,
        "FHIR_DATA": str(tmp_path),
        "FHIR_ZONE": "UTC",
        "FHIR_TLS_CERTIFICATE": str(pair[0]),
        "FHIR_TLS_KEY": str(pair[1]),
        "FHIR_TRUSTED_PROXIES": "127.0.0.2",
    }
    words = [sys.executable, "-m", "fhir_server", "serve", "--port", str(port)]
    with subprocess.Popen(words, env={**os.environ, **given}, start_new_session=True) as process:
        try:
            base = f"https://127.0.0.1:{port}"
            with httpx.Client(base_url=base, verify=ssl.create_default_context(cafile=str(pair[0]))) as asking:
                assert answers(asking)
                assert asking.get("/health").json() == {"status": "up"}
                for path in ("/health", "/fhir/metadata", "/auth/sign-in", "/fhir/Patient/p1"):
                    assert asking.get(path).headers["Strict-Transport-Security"] == "max-age=31536000"
                said = asking.get("/fhir/.well-known/smart-configuration").json()
                assert said["token_endpoint"] == f"{base}/auth/token"
            shell = Console({name: value for name, value in given.items() if not name.startswith("FHIR_TLS")})
            assert addresses(shell, base, pair[0]) == {"127.0.0.1", "192.0.2.7"}
            with pytest.raises(OSError, match=r"handshake|version|EOF|reset"):
                spoken(port, client(pair[0], ssl.TLSVersion.TLSv1_1))
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/health", timeout=5)
        finally:
            process.terminate()
            process.wait(30)


def addresses(shell: Console, base: str, certificate: Path) -> set[str]:
    """Return from where two requests came, as the log has it, with one who claims to be a proxy and one who is it."""
    doctor, auditor = (
        {
            "Authorization": f"Bearer {shell.run('token', '--role', role, '--user', user, '--organization', 'org1').strip()}"
        }
        for role, user in (("practitioner", "Practitioner/li"), ("auditor", "Practitioner/auditor"))
    )
    verified = ssl.create_default_context(cafile=str(certificate))
    for own, client in (("127.0.0.1", "198.51.100.9"), ("127.0.0.2", "203.0.113.5, 192.0.2.7")):
        way = httpx.HTTPTransport(verify=verified, local_address=own)
        with httpx.Client(transport=way, headers={**doctor, "X-Forwarded-For": client}) as asking:
            assert asking.get(f"{base}/fhir/Patient/p1").status_code == 404
    found = httpx.get(f"{base}/fhir/AuditEvent?agent=Practitioner/li", headers=auditor, verify=verified).json()
    agents = [agent for entry in found["entry"] for agent in entry["resource"]["agent"]]
    return {agent["network"]["address"] for agent in agents if "address" in agent.get("network", {})}


def answers(asking: httpx.Client) -> bool:
    """Wait until the server answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            asking.get("/health")
            return True
        except httpx.HTTPError:
            time.sleep(0.1)
    return False


def test_what_cannot_be_served_with_stops_the_start(pair: Pair, tmp_path: Path) -> None:
    certificate, key = pair
    wide, locked, other = tmp_path / "wide.key", tmp_path / "locked.key", tmp_path / "other.key"
    wide.write_bytes(key.read_bytes())
    wide.chmod(0o644)
    locked.touch(0o600)
    locked.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    other.touch(0o600)
    strange = rsa.generate_private_key(65537, 2048)
    other.write_bytes(strange.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for chosen, told in (
        ((certificate, wide), "open to other users"),
        ((certificate, locked), "encrypted"),
        ((certificate, other), "no certificate and its key"),
        ((key, key), "no certificate and its key"),
        ((certificate, tmp_path / "nothing"), "nothing cannot be read"),
    ):
        with pytest.raises(SettingsError, match=told):
            tls.options(Settings.load(tmp_path, tls_certificate=chosen[0], tls_key=chosen[1]))


def test_a_proxy_is_named_by_its_address(tmp_path: Path) -> None:
    assert Settings.load(tmp_path, trusted_proxies="10.1.2.3, fd00::/8").trusted_proxies == {"10.1.2.3", "fd00::/8"}
    for wrong in ("*", "gateway.hospital.example", "10.1.2.0/33", "10.1.2.3/24"):
        with pytest.raises(SettingsError, match="neither an IP address nor a network"):
            Settings.load(tmp_path, trusted_proxies=wrong)


def test_a_certificate_makes_the_base_https(pair: Pair, tmp_path: Path) -> None:
    gateway = Settings.load(tmp_path, base_url="https://fhir.hospital.example/fhir")
    assert tls.headers(gateway) == tls.headers(Settings.load(tmp_path, tls_certificate=pair[0])) == [tls.STRICT]
    assert tls.headers(Settings.load(tmp_path)) == []
    assert Settings.load(tmp_path, tls_certificate=pair[0]).public_base == "https://127.0.0.1:8080/fhir"
    assert tls.options(Settings.load(tmp_path)) == {}
    assert pickle.loads(pickle.dumps(tls.of_worker)) is tls.of_worker  # so it reaches workers in processes of their own
    with pytest.raises(SettingsError, match="without tls_certificate"):
        Settings.load(tmp_path, tls_key=pair[1])
