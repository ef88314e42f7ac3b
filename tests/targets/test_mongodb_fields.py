"""What may be written of a connection to MongoDB and of its roles; no server."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails, StatementKind
from dynamic.targets.mongodb import PLUGIN
from dynamic.targets.mongodb_client import open_client
from dynamic.targets.mongodb_statements import parse_creation, parse_place
from dynamic.targets.mongodb_url import Address, address_of, write_concern_of
from tests.support.small_ca import SmallCa

SECRET = "s3cr3t-password"
CA = SmallCa.root("Mongo CA")


def _pair() -> str:
    key = CA.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return CA.pem + key.decode()


def address(url: str, *, username: str = "mimir", password: str = SECRET, **options: Any) -> Address:
    details = ConnectionDetails(
        name="docs-db", username=username, password=password, options={"connection_url": url} | options
    )
    return address_of(details)


@pytest.mark.parametrize(
    ("url", "hosts", "source"),
    [
        ("mongodb://{{username}}:{{password}}@h1:27017,h2/admin?tls=true", ["h1:27017", "h2:27017"], "admin"),
        ("mongodb://h1", ["h1:27017"], "admin"),
        ("mongodb://h1/users", ["h1:27017"], "users"),
        ("mongodb://h1/users?authSource=other", ["h1:27017"], "other"),
        ("mongodb://[::1]:7000,[2001:db8::2]/", ["[::1]:7000", "[2001:db8::2]:27017"], "admin"),
        ("mongodb://h1,[::1]/a%62c", ["h1:27017", "[::1]:27017"], "abc"),
        ("mongodb+srv://cluster.example.com/?authSource=admin", ["mongodb+srv://cluster.example.com/"], "admin"),
    ],
)
def test_hosts_of_mongodb(url: str, hosts: list[str], source: str) -> None:
    found = address(url)
    assert (found.hosts, found.auth_source) == (hosts, source)


def test_credentials_in_a_mongodb_url_are_unquoted() -> None:
    found = address("mongodb://app%40x:p%2Fw%3A@h1", username="", password="")
    assert (found.username, found.password) == ("app@x", "p/w:")
    assert "p/w" not in repr(found)


@pytest.mark.parametrize(
    ("url", "is_tls"),
    [
        ("mongodb://localhost", False),
        ("mongodb://127.0.0.1,[::1]", False),
        ("mongodb://localhost/?ssl=true", True),
        ("mongodb://localhost/?tlsAllowInvalidHostnames=true", True),
        ("mongodb://h1", True),
        ("mongodb://localhost,h1", True),
        ("mongodb://h1/?tls=false", False),
        ("mongodb+srv://h1", True),
    ],
)
def test_mongodb_is_reached_by_tls_unless_it_is_near_or_the_url_says_so(url: str, is_tls: bool) -> None:
    assert address(url).options["tls"] is is_tls


def test_options_of_a_mongodb_url() -> None:
    found = address("mongodb://h1/?REPLICASET=rs0&retryWrites=true&w=majority&serverSelectionTimeoutMS=300")
    assert found.options == {"replicaSet": "rs0", "serverSelectionTimeoutMS": 300, "tls": True}


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("", {}, "connection_url is required"),
        ("localhost:27017", {}, "must be a URL such as"),
        ("postgresql://localhost", {}, "must be a URL such as"),
        ("mongodb://", {}, "must name hosts"),
        ("mongodb://h1,", {}, "must name hosts"),
        ("mongodb://h1:x", {}, "port must be a whole number"),
        ("mongodb://h1:70000", {}, "port must be between"),
        ("mongodb://[::1", {}, "must name hosts"),
        ("mongodb://%2Ftmp%2Fmongodb.sock", {}, "must name hosts"),
        ("mongodb+srv://h1,h2", {}, "names one host"),
        ("mongodb+srv://h1:27017", {}, "names one host"),
        ("mongodb://h1/?x", {}, "what follows the ?"),
        ("mongodb://h1/?tlsCAFile=/etc/passwd", {}, "given as tls_ca and tls_certificate_key"),
        ("mongodb://h1/?authMechanismProperties=AWS_SESSION_TOKEN:x", {}, "not taken here"),
        ("mongodb://h1/?tls=perhaps", {}, "tls must be true or false"),
        ("mongodb://h1/?tls=true&ssl=false", {}, "says tls twice"),
        ("mongodb://h1/?replicaSet=", {}, "replicaSet is empty"),
        ("mongodb://h1/?authMechanism=PLAIN", {}, "authMechanism must be one of"),
        ("mongodb://h1/?authMechanism=MONGODB-X509", {}, "needs tls_certificate_key"),
        ("mongodb://h1/?connectTimeoutMS=60000", {}, "between 1 and 10000"),
        ("mongodb://h1/?tls=false&tlsInsecure=true", {}, "say one thing"),
        ("mongodb://h1/?tlsInsecure=true&tlsAllowInvalidHostnames=true", {}, "says it all"),
        ("mongodb://h1/?tls=false", {"tls_ca": "x"}, "say one thing"),
        ("mongodb://h1", {"tls_ca": "no PEM"}, "must be PEM"),
        ("mongodb://h1", {"tls_certificate_key": "no PEM"}, "must be PEM"),
        ("mongodb://h1", {"tls_ca": 7}, "must be a string"),
        (f"mongodb://u:{SECRET}\x00@h1", {}, "must be a URL"),
        (f"mongodb://u:{SECRET}/@h1", {}, "must"),
        (f"mongodb://u:{SECRET} @h1", {}, "must be a URL"),
        (f"mongodb://u:{SECRET}@h1#x", {}, "must be a URL"),
        (f"mongodb://u:{SECRET}@h 1", {}, "must be a URL"),
    ],
    ids=lambda value: ascii(value).replace(SECRET, "…")[:60] if isinstance(value, str) else "",
)
def test_bad_fields_of_mongodb(url: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        address(url, **options)
    assert sentence in caught.value.sentence
    assert SECRET not in caught.value.sentence


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mongodb://{{username}}:x@h1", "has {{username}}, and no username was given"),
        ("mongodb://x:{{password}}@h1", "has {{password}}, and no password was given"),
        ("mongodb://h1", "username and password are required"),
        ("mongodb://x@h1", "username and password are required"),
    ],
)
def test_mongodb_needs_credentials(url: str, sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        address(url, username="", password="")
    assert sentence in caught.value.sentence


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", {"w": "majority", "wtimeout": 10_000}),
        ('{ "wmode": "majority", "wtimeout": 5000 }', {"w": "majority", "wtimeout": 5000}),
        (base64.b64encode(b'{"w": 2, "fsync": true}').decode(), {"w": 2, "j": True}),
    ],
    ids=["default", "vaults-example", "base64"],
)
def test_write_concerns_of_mongodb(given: str, found: dict[str, Any]) -> None:
    assert write_concern_of({"write_concern": given}) == found


@pytest.mark.parametrize("given", ["majority", "{", '{"w": []}', '{"wtimout": 1}', "e30"])
def test_bad_write_concerns_of_mongodb(given: str) -> None:
    with pytest.raises(InvalidRequestError, match="write_concern must be JSON"):
        PLUGIN.open(
            ConnectionDetails(
                name="d", username="u", password="p", options={"connection_url": "mongodb://h", "write_concern": given}
            )
        )


@pytest.mark.parametrize(
    "query",
    ["", "?authMechanism=SCRAM-SHA-256", "?authMechanism=DEFAULT&replicaSet=rs0", "?directConnection=true&tls=false"],
)
@pytest.mark.parametrize("other", [None, ("v-a", "x", "foo")], ids=["root", "another"])
async def test_the_mongodb_driver_takes_what_the_url_says(query: str, other: tuple[str, str, str] | None) -> None:
    tls = {} if "tls=false" in query else {"tls_ca": CA.pem}
    client = open_client(address(f"mongodb://h1:1/{query}", **tls), most=2, as_user=other)
    await client.close()


async def test_a_mongodb_client_by_certificate_needs_no_password() -> None:
    url = "mongodb://h1/?authMechanism=MONGODB-X509"
    found = address(url, username="", password="", tls_certificate_key=_pair())
    client = open_client(found, most=1)
    await client.close()
    assert client.files == []


def test_open_mongodb_resolves_no_names() -> None:
    PLUGIN.open(
        ConnectionDetails(
            name="d", username="u", password="p", options={"connection_url": "mongodb+srv://nowhere.example"}
        )
    )


# --- statements ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            '{"db":"admin","roles":[{"role":"readWrite"},{"role":"read","db":"foo"}]}',
            ("admin", ["readWrite", {"role": "read", "db": "foo"}]),
        ),
        ('{"roles": ["read"]}', ("admin", ["read"])),
        (base64.b64encode(b'{"db": "foo", "roles": ["read"]}').decode(), ("foo", ["read"])),
    ],
    ids=["vaults-example", "words", "base64"],
)
def test_creation_statements_of_mongodb(statement: str, found: tuple[str, Any]) -> None:
    PLUGIN.check_statements(StatementKind.CREATION, (statement,))
    assert parse_creation((statement,)) == found


@pytest.mark.parametrize(
    "statements",
    [
        (),
        ('{"roles": ["read"]}', '{"roles": ["read"]}'),
        ("read",),
        ("{",),
        ("[]",),
        ('{"db": "admin"}',),
        ('{"roles": []}',),
        ('{"roles": "read"}',),
        ('{"roles": [7]}',),
        ('{"roles": [{"db": "foo"}]}',),
        ('{"roles": [{"role": "read", "db": 7}]}',),
        ('{"roles": [{"role": "read", "collection": "x"}]}',),
        ('{"roles": ["read"], "pwd": "mine"}',),
        ('{"roles": [""]}',),
        ('{"roles": ["a b"]}',),
        ('{"roles": ["read"], "db": "$external"}',),
        ('{"roles": ["read"], "db": "a.b"}',),
        ('{"roles": ["read"], "db": "a\\u0000"}',),
        ('{"roles": [{"role": "read", "db": "a b"}]}',),
        ('{"roles": [' + '"read",' * 300 + '"read"]}',),
    ],
    ids=range(20),
)
def test_what_are_no_creation_statements_of_mongodb(statements: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequestError, match="creation_statements"):
        PLUGIN.check_statements(StatementKind.CREATION, statements)


@pytest.mark.parametrize("kind", [StatementKind.REVOCATION, StatementKind.ROTATION, StatementKind.ROOT_ROTATION])
def test_a_place_of_mongodb(kind: StatementKind) -> None:
    assert parse_place(kind, ()) == parse_place(kind, ("{}",)) == ""
    assert parse_place(kind, ('{"db": "foo"}',)) == "foo"
    for wrong in (("foo bar",), ('{"db": 7}',), ('{"db": "$x"}',), ('{"roles": []}',), ("{}", "{}")):
        with pytest.raises(InvalidRequestError, match=kind.value):
            PLUGIN.check_statements(kind, wrong)


@pytest.mark.parametrize("kind", [StatementKind.ROLLBACK, StatementKind.RENEWAL, StatementKind.VERIFICATION])
def test_mongodb_takes_no_other_statements(kind: StatementKind) -> None:
    PLUGIN.check_statements(kind, ())
    with pytest.raises(InvalidRequestError, match=kind.value):
        PLUGIN.check_statements(kind, ('{"db": "admin"}',))
