"""TLS and Unix sockets: whom the command trusts, and what it says when it does not."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from client.errors import ExitCode

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + b'{"data": {"a": 1}}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("mimir.test")])
    built = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=7)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def serve(listener, context):
    """Answer one connection; a failed handshake is the client's to report."""

    def run() -> None:
        connection, _ = listener.accept()
        try:
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            connection.recv(65536)
            connection.sendall(ANSWER)
        except OSError:
            pass
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def secure(certificate):
    """The address of a TLS server that answers once; it may ask for a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    listener = socket.create_server(("127.0.0.1", 0))
    thread = serve(listener, context)
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def test_an_unknown_certificate_is_not_trusted(mimir, secure):
    outcome = mimir("read", "a", MIMIR_ADDR=secure)
    assert outcome.code == ExitCode.NO_ANSWER
    assert "is not trusted" in outcome.err
    assert "MIMIR_CACERT" in outcome.err


@pytest.mark.parametrize("variable", ["MIMIR_CACERT", "VAULT_CACERT"])
def test_a_certificate_is_trusted_through_its_ca(mimir, secure, certificate, variable):
    outcome = mimir("read", "a", "--field", "a", MIMIR_ADDR=secure, **{variable: str(certificate)})
    assert (outcome.code, outcome.out) == (0, "1\n")


def test_a_client_certificate_is_presented(mimir, secure, certificate):
    files = ("--ca-cert", str(certificate), "--client-cert", str(certificate), "--client-key", str(certificate))
    assert mimir("read", "a", *files, MIMIR_ADDR=secure).code == 0


def test_a_certificate_for_another_name_is_not_trusted(mimir, secure, certificate):
    options = ("--ca-cert", str(certificate), "--tls-server-name", "other.test")
    assert "is not trusted" in mimir("read", "a", *options, MIMIR_ADDR=secure).err


def test_the_name_to_expect_can_be_said(mimir, secure, certificate):
    options = ("--ca-cert", str(certificate), "--tls-server-name", "mimir.test")
    assert mimir("read", "a", *options, MIMIR_ADDR=secure).code == 0


@pytest.mark.parametrize("options", [("--tls-skip-verify",), ()])
def test_the_check_can_be_left_out(mimir, secure, options):
    environ = {} if options else {"VAULT_SKIP_VERIFY": "1"}
    assert mimir("read", "a", *options, MIMIR_ADDR=secure, **environ).code == 0


def test_http_to_an_https_port_hints_at_the_scheme(mimir, secure):
    outcome = mimir("read", "a", MIMIR_ADDR=secure.replace("https", "http"))
    assert outcome.code == ExitCode.NO_ANSWER
    assert "is it an https:// address" in outcome.err


def test_https_to_an_http_port_hints_at_the_scheme(mimir):
    listener = socket.create_server(("127.0.0.1", 0))
    thread = serve(listener, None)
    outcome = mimir("read", "a", MIMIR_ADDR=f"https://127.0.0.1:{listener.getsockname()[1]}")
    thread.join()
    listener.close()
    assert outcome.code == ExitCode.NO_ANSWER
    assert "is it an http:// address" in outcome.err


FILES = [
    (("--ca-cert", "/no/such/file"), "CA certificate /no/such/file cannot be used"),
    (("--ca-cert", "/dev/null"), "CA certificate /dev/null cannot be used"),
    (("--client-cert", "/no/such/file"), "client certificate /no/such/file cannot be used"),
    (("--client-cert", "/dev/null"), "client certificate /dev/null cannot be used"),
    (("--client-key", "/dev/null"), "a client key needs its certificate"),
]


@pytest.mark.parametrize(("options", "sentence"), FILES, ids=lambda _: None)
def test_a_certificate_file_that_cannot_be_used_is_named(mimir, options, sentence):
    outcome = mimir("read", "a", *options, MIMIR_ADDR="https://127.0.0.1:1")
    assert outcome.code == ExitCode.FAILED
    assert sentence in outcome.err


def test_a_unix_socket_is_an_address(mimir, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "mimir.sock"))
    listener.listen()
    thread = serve(listener, None)
    outcome = mimir("read", "a", "--field", "a", MIMIR_ADDR=f"unix://{tmp_path}/mimir.sock")
    thread.join()
    listener.close()
    assert (outcome.code, outcome.out) == (0, "1\n")
