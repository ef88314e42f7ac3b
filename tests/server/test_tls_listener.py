"""TLS: versions, client certificates, reload."""

import datetime as dt
import shutil
import signal
import socket
import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from node_harness import Node, Start, Wire

from appliance.config import Config
from appliance.http.dev_certificates import make_dev_certificates


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = Config.dev(tmp_path / "data", "127.0.0.1:0", workers=1, tls=True)
    make_dev_certificates(tls_dir(config), host="127.0.0.1")
    return config


def tls_dir(config: Config) -> Path:
    return Path(config.listener[0].tls_cert).parent


def client_context(config: Config) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls_dir(config) / "ca.pem")


def connect(node: Node, context: ssl.SSLContext, name: str = "localhost") -> ssl.SSLSocket:
    return context.wrap_socket(node.connect(), server_hostname=name)


def echo(connection: ssl.SSLSocket) -> dict[str, object]:
    with Wire(connection) as wire:
        wire.send(b"LIST /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        seen: dict[str, object] = wire.reply().json()
        return seen


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_request_over_tls(start_node: Start, config: Config, name: str) -> None:
    node = start_node(config=config).wait_ready()
    context = client_context(config)
    context.set_alpn_protocols(["h2", "http/1.1"])
    connection = connect(node, context, name)
    assert connection.version() == "TLSv1.3"
    assert connection.selected_alpn_protocol() == "http/1.1"
    seen = echo(connection)
    assert (seen["method"], seen["secure"], seen["certificate"]) == ("LIST", True, None)


def test_versions_and_ciphers(start_node: Start, config: Config) -> None:
    node = start_node(config=config).wait_ready()
    context = client_context(config)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(node, context) as connection:
        assert connection.cipher()[0].startswith("ECDHE-ECDSA-")
    old = client_context(config)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), connect(node, old):
        pass
    weak = client_context(config)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-SHA")
    with pytest.raises(ssl.SSLError), connect(node, weak):
        pass


def test_plain_http_on_the_tls_port_gets_no_answer(start_node: Start, config: Config) -> None:
    node = start_node(config=config).wait_ready()
    with node.talk(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n") as wire:
        assert not wire.stream.read(100).startswith(b"HTTP")
    assert echo(connect(node, client_context(config)))["secure"] is True


def test_too_large_body_over_tls_gets_its_answer(start_node: Start, config: Config) -> None:
    node = start_node(config=config, max_body=1000).wait_ready()
    with Wire(connect(node, client_context(config))) as wire:
        wire.send(b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        assert wire.reply().status == 413


def reload(node: Node, event: str) -> None:
    node.process.send_signal(signal.SIGHUP)
    node.wait_log(event)


def test_sighup_swaps_certificates_and_keeps_connections(start_node: Start, config: Config) -> None:
    node = start_node(config=config).wait_ready()
    old_context = client_context(config)
    with Wire(connect(node, old_context)) as old:
        make_dev_certificates(tls_dir(config), host="127.0.0.1")
        reload(node, "certificate reloaded")
        assert echo(connect(node, client_context(config)))["method"] == "LIST"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(node, old_context)
        old.send(b"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert old.reply().status == 200
    assert node.stop() == 0


@pytest.mark.parametrize("broken", ["server.pem", "server-key.pem"])
def test_broken_file_keeps_the_old_certificate(start_node: Start, config: Config, broken: str, tmp_path: Path) -> None:
    node = start_node(config=config).wait_ready()
    context = client_context(config)
    make_dev_certificates(tmp_path / "other", host="127.0.0.1")
    shutil.copy(tmp_path / "other" / broken, tls_dir(config) / broken)  # does not fit the other file
    reload(node, "certificate not reloaded")
    assert echo(connect(node, context))["method"] == "LIST"


def test_missing_certificate_ends_the_start(start_node: Start, config: Config) -> None:
    (tls_dir(config) / "server-key.pem").unlink()
    node = start_node(config=config)
    assert node.process.wait(10) == 78
    assert "server-key.pem: No such file or directory" in node.log.read_text()


def client_certificate(directory: Path) -> tuple[Path, Path, bytes]:
    """A self-signed client certificate: its own authority."""
    directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "client.pem", directory / "client-key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file, certificate.public_bytes(serialization.Encoding.DER)


def test_client_certificates_are_asked_for_and_not_demanded(start_node: Start, config: Config, tmp_path: Path) -> None:
    cert_file, key_file, der = client_certificate(tmp_path / "known")
    listener = msgspec.structs.replace(config.listener[0], tls_client_ca=str(cert_file))
    node = start_node(config=msgspec.structs.replace(config, listener=(listener,))).wait_ready()
    assert echo(connect(node, client_context(config)))["certificate"] is None

    context = client_context(config)
    context.load_cert_chain(cert_file, key_file)
    assert echo(connect(node, context))["certificate"] == len(der)

    stranger = client_context(config)
    stranger.load_cert_chain(*client_certificate(tmp_path / "unknown")[:2])
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        echo(connect(node, stranger))


def test_client_that_never_finishes_its_handshake_stops_nobody(start_node: Start, config: Config) -> None:
    node = start_node(config=config).wait_ready()
    with socket.create_connection(("127.0.0.1", node.port)) as silent:
        silent.sendall(b"\x16\x03\x01")
        assert echo(connect(node, client_context(config)))["method"] == "LIST"
