"""connection_url and TLS options of MySQL: what is understood and what is refused, without a secret in the refusal."""

from typing import Any

import pytest

from core.errors import InvalidRequestError
from dynamic.target import ConnectionDetails
from dynamic.targets.mysql_url import Address, Host, address_of
from tests.support.small_ca import SmallCa

SECRET = "hunter2:@/)(?#%"
LOCAL = (Host(name="127.0.0.1"),)


def parsed(url: Any, *, username: str = "ann", password: str = SECRET, **options: Any) -> Address:
    details = ConnectionDetails(
        name="db", username=username, password=password, options={"connection_url": url} | options
    )
    return address_of(details)


@pytest.mark.parametrize(
    ("url", "found", "database"),
    [
        ("{{username}}:{{password}}@tcp(127.0.0.1:3306)/", LOCAL, ""),
        ("{{name}}:{{password}}@tcp(db.example)/shop?parseTime=true", (Host(name="db.example"),), "shop"),
        ("{{username}}:{{password}}@tcp([::1]:3307)/shop", (Host(name="::1", port=3307),), "shop"),
        ("{{username}}:{{password}}@tcp(a:1,b:2)/", (Host(name="a", port=1), Host(name="b", port=2)), ""),
        ("{{username}}@unix(/run/my sql/s.sock)/shop", (Host(socket="/run/my sql/s.sock"),), "shop"),
        ("{{username}}:{{password}}@/shop", LOCAL, "shop"),
        ("tcp(127.0.0.1)/my%20shop", LOCAL, "my shop"),
        ("mysql://{{username}}:{{password}}@a:1,b/shop", (Host(name="a", port=1), Host(name="b")), "shop"),
        ("mariadb://a", (Host(name="a"),), ""),
        ("mysql://a?tls=true", (Host(name="a"),), ""),
    ],
    ids=range(10),
)
def test_hosts_and_database(url: str, found: tuple[Host, ...], database: str) -> None:
    address = parsed(url)
    assert (address.hosts, address.database, address.user, address.password) == (found, database, "ann", SECRET)


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [
        ("bob:p@ss:w/rd?x@tcp(127.0.0.1)/shop", "bob", "p@ss:w/rd?x"),
        ("mysql://bob:p%40ss%2F@127.0.0.1/shop", "bob", "p@ss/"),
    ],
    ids=["dsn", "url"],
)
def test_credentials_of_the_url_serve_where_none_are_given_apart(url: str, user: str, password: str) -> None:
    address = parsed(url, username="", password="")
    assert (address.user, address.password) == (user, password)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(None, id="none"),
        pytest.param("  ", id="blank"),
        pytest.param(7, id="number"),
        pytest.param("ann:hunter2@tcp(a)", id="no-slash"),
        pytest.param("ann:hunter2@udp(a)/", id="network"),
        pytest.param("ann:hunter2@tcp(a/", id="open-bracket"),
        pytest.param("ann:hunter2@tcp(a:x)/", id="port-is-no-number"),
        pytest.param("ann:hunter2@tcp(a:0)/", id="port-zero"),
        pytest.param("ann:hunter2@tcp(a:70000)/", id="port-too-large"),
        pytest.param("ann:hunter2@tcp(a b)/", id="host-with-blank"),
        pytest.param("ann:hunter2@tcp(a,)/", id="empty-host"),
        pytest.param("ann:hunter2@tcp([hunter2])/", id="ipv6"),
        pytest.param("ann:hunter2@unix(run/s)/", id="relative-socket"),
        pytest.param("ann:hunter2@unix(/" + "s" * 107 + ")/", id="long-socket"),
        pytest.param("ann:hunter2@tcp(a)/shop\n", id="trailing-newline-is-cut"),
        pytest.param("ann:hunter2@tcp(a)/sh\nop", id="newline"),
        pytest.param("ann:hunter2@tcp(a)/sh\0op", id="nul"),
        pytest.param("ann:hunter2@tcp(a)/" + "s" * 65, id="long-database"),
        pytest.param("ann:hunter2@tcp(a)/?allowAllFiles=hunter2", id="unknown-parameter"),
        pytest.param("ann:hunter2@tcp(a)/?tls", id="parameter-without-value"),
        pytest.param("ann:hunter2@tcp(a)/?tls=true&tls=false", id="parameter-twice"),
        pytest.param("ann:hunter2@tcp(a)/?tls=hunter2", id="tls-by-name"),
        pytest.param("ann:hunter2@tcp(a)/?ssl-mode=hunter2", id="ssl-mode"),
        pytest.param("ann:hunter2@tcp(a)/?ssl-mode=DISABLED&tls=true", id="both"),
        pytest.param("postgresql://ann:hunter2@a/", id="scheme"),
        pytest.param("mysql://ann:hunter2@/shop", id="no-host"),
        pytest.param("ann:{{pass}}hunter2@tcp(a)/", id="placeholder"),
    ],
)
def test_what_is_no_connection_url(url: Any) -> None:
    if isinstance(url, str) and url.endswith("\n"):
        assert parsed(url).database == "shop"
        return
    with pytest.raises(InvalidRequestError) as caught:
        parsed(url)
    assert "hunter2" not in caught.value.sentence


@pytest.mark.parametrize(
    ("given", "missing"), [({"username": ""}, "no username"), ({"password": ""}, "no password")], ids=["user", "pass"]
)
def test_a_mark_needs_what_it_stands_for(given: dict[str, str], missing: str) -> None:
    with pytest.raises(InvalidRequestError, match=missing):
        parsed("{{username}}:{{password}}@tcp(a)/", **given)


def test_a_user_is_needed() -> None:
    with pytest.raises(InvalidRequestError, match="username"):
        parsed("tcp(a)/", username="")


@pytest.mark.parametrize(
    ("url", "options", "verified"),
    [
        ("tcp(db.example)/", {}, True),
        ("tcp(10.0.0.1)/", {}, True),
        ("mysql://localhost,db.example/", {}, True),
        ("tcp(127.0.0.1)/", {"tls_server_name": "db.example"}, True),
        ("unix(/s)/?tls=true", {}, True),
        ("tcp(db.example)/?tls=skip-verify", {}, False),
        ("tcp(db.example)/?tls=preferred", {}, False),
        ("mysql://db.example/?ssl-mode=REQUIRED", {}, False),
        ("tcp(db.example)/", {"tls_skip_verify": "true"}, False),
        ("tcp(127.0.0.1)/", {}, False),
        ("tcp([::1])/", {}, False),
        ("tcp(db.example)/?tls=false", {}, None),
        ("unix(/s)/", {}, None),
    ],
    ids=range(13),
)
def test_tls_is_verified_unless_the_operator_says_otherwise(
    url: str, options: dict[str, Any], verified: bool | None
) -> None:
    tls = parsed(url, **options).tls
    assert (tls.is_verified if tls else None) == verified


@pytest.mark.parametrize("mode", ["VERIFY_CA", "verify_identity"])
def test_the_modes_of_mysqls_own_clients(mode: str) -> None:
    tls = parsed(f"mysql://db.example/?ssl-mode={mode}", tls_ca=SmallCa.root().pem).tls
    assert tls is not None
    assert (tls.is_verified, tls.context.check_hostname) == (True, mode != "VERIFY_CA")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tls_ca": "no PEM"}, id="ca"),
        pytest.param({"tls_ca": 7}, id="ca-is-a-number"),
        pytest.param({"tls_certificate_key": "no PEM"}, id="pair"),
        pytest.param({"tls_certificate_key": "-----BEGIN ENCRYPTED PRIVATE KEY-----"}, id="encrypted-key"),
        pytest.param({"tls_skip_verify": "perhaps"}, id="flag"),
        pytest.param({"connection_url": "tcp(a)/?tls=false", "tls_skip_verify": True}, id="contradiction"),
    ],
)
def test_tls_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"tls|client certificate"):
        parsed(options.pop("connection_url", "tcp(a)/"), **options)
