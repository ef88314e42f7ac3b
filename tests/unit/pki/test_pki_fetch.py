"""What anybody may fetch: in which form, and what is never shown."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from core.errors import InvalidRequestError, NotFoundError
from core.protocols import KeyKind
from core.requests import Response
from pki.certificates import CATALOG, Certificate, Known, State, encode_row
from tests.unit.pki.pki_mount import Mount

DER, PEM = "application/pkix-cert", "application/pem-certificate-chain"
NOT_REVOKED = {"revocation_time": 0, "revocation_time_rfc3339": ""}


async def issued(count: int = 1) -> tuple[Mount, list[dict[str, Any]]]:
    """A mount and certificates of its issuer `one`, in the order of their serial numbers."""
    mount = Mount()
    await mount.seed_root("one")
    await mount.data("update", "roles/web", {"allow_any_name": True, "key_type": "ec", "ttl": "1h"})
    made = [await mount.data("update", "issue/web", {"common_name": "a.example.com"}) for _ in range(count)]
    return mount, sorted(made, key=lambda one: str(one["serial_number"]))


async def serials(mount: Mount, **page: str) -> list[str]:
    return list((await mount.data("list", "certs", **page))["keys"])


async def hollow(mount: Mount, serial: str, state: State) -> None:
    """A row that never became a certificate."""
    row = encode_row(Known(serial=serial, state=state, not_after=2_000_000_000, body=Certificate(certificate=b"tbs")))
    await mount.view.transact(lambda txn: txn.put_row(CATALOG, row))


def raw(answer: Response) -> tuple[bytes, str]:
    assert answer.raw is not None
    return answer.raw.body, answer.raw.content_type


# --- issuers ----------------------------------------------------------------------------------------------------------


FILES = {
    "ca": DER,
    "ca/pem": PEM,
    "ca_chain": PEM,
    "cert/ca/raw": DER,
    "cert/ca/raw/pem": PEM,
    "issuer/one/der": DER,
    "issuer/one/pem": PEM,
}


@pytest.mark.parametrize("path", FILES)
async def test_the_certificate_of_an_issuer_is_a_file(path: str) -> None:
    mount, _ = await issued(0)
    body, content_type = raw(await mount.call("read", path))
    load = x509.load_der_x509_certificate if FILES[path] == DER else x509.load_pem_x509_certificate
    encoding = Encoding.DER if FILES[path] == DER else Encoding.PEM
    assert (load(body).public_bytes(encoding), content_type) == (body, FILES[path])


@pytest.mark.parametrize("path", [path for path in FILES if not path.startswith("issuer/")])
async def test_where_no_issuer_is_the_file_is_empty(path: str) -> None:
    answer = await Mount().call("read", path)
    assert (answer.status, raw(answer)) == (204, (b"", FILES[path]))


@pytest.mark.parametrize("path", ["cert/ca", "cert/ca_chain"])
async def test_where_no_issuer_is_json_says_so(path: str) -> None:
    with pytest.raises(InvalidRequestError, match="no default issuer"):
        await Mount().data("read", path)


@pytest.mark.parametrize("form", ["json", "der", "pem"])
async def test_an_unknown_issuer_is_not_found(form: str) -> None:
    with pytest.raises(NotFoundError):
        await Mount().data("read", f"issuer/nobody/{form}")


async def test_json_has_the_certificate_and_its_chain() -> None:
    mount, _ = await issued(0)
    issuer = await mount.data("read", "issuer/one")
    pem = issuer["certificate"]
    assert await mount.data("read", "cert/ca") == {"certificate": pem, **NOT_REVOKED}
    assert await mount.data("read", "cert/ca_chain") == {"certificate": pem, "ca_chain": pem, **NOT_REVOKED}
    found = await mount.data("read", "issuer/one/json")
    assert (found["issuer_id"], found["issuer_name"]) == (issuer["issuer_id"], "one")
    assert [text.strip() for text in (found["certificate"], *found["ca_chain"])] == [pem, pem]


PUBLIC = (*FILES, "cert/ca", "cert/ca_chain", "cert/aa", "cert/aa/raw", "cert/aa/raw/pem", "issuer/one/json")


@pytest.mark.parametrize("path", [*PUBLIC, "certs", "certs/detailed"])
def test_everything_but_the_lists_is_public(path: str) -> None:
    found = Mount().routes.find(path)
    assert found is not None
    assert found[0].unauthenticated == (path in PUBLIC)


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["aa:bb", "aa-bb", "AA:BB", "aabb"])
async def test_a_serial_number_is_written_with_colons_hyphens_or_nothing(form: str) -> None:
    mount, [made] = await issued()
    written = made["serial_number"]
    asked = {"aa-bb": written.replace(":", "-"), "AA:BB": written.upper(), "aabb": written.replace(":", "")}
    found = await mount.data("read", f"cert/{asked.get(form, written)}")
    issuer_id = (await mount.data("read", "issuer/one"))["issuer_id"]
    assert found == {"certificate": made["certificate"], "issuer_id": issuer_id, **NOT_REVOKED}


async def test_a_certificate_is_a_file_too() -> None:
    mount, [made] = await issued()
    pem = made["certificate"].encode()
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert raw(await mount.call("read", f"cert/{made['serial_number']}/raw")) == (der, DER)
    assert raw(await mount.call("read", f"cert/{made['serial_number']}/raw/pem")) == (pem + b"\n", PEM)


async def test_a_revoked_certificate_says_since_when() -> None:
    mount, [made] = await issued()
    await mount.data("update", "revoke", {"serial_number": made["serial_number"]})
    found = await mount.data("read", f"cert/{made['serial_number']}")
    assert found["revocation_time"] == int(mount.clock.now())
    assert found["revocation_time_rfc3339"].endswith("Z")


@pytest.mark.parametrize("serial", ["aa:bb", "nonsense", "aa:b", "..", "%00", "aa" * 21, "-", "ca_"])
@pytest.mark.parametrize("form", ["", "/raw", "/raw/pem"])
async def test_what_is_no_certificate_is_not_found(serial: str, form: str) -> None:
    with pytest.raises(NotFoundError):
        await Mount().call("read", f"cert/{serial}{form}")


@pytest.mark.parametrize("state", [State.INTENDED, State.ABANDONED])
@pytest.mark.parametrize("form", ["", "/raw", "/raw/pem"])
async def test_what_never_became_a_certificate_is_never_shown(state: State, form: str) -> None:
    mount = Mount()
    await hollow(mount, "aa:bb", state)
    with pytest.raises(NotFoundError):
        await mount.call("read", f"cert/aa:bb{form}")


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_a_list_has_serial_numbers_with_colons_in_order_and_in_pages() -> None:
    mount, _ = await issued(3)
    every = await serials(mount)
    assert (len(every), every) == (4, sorted(every))  # with the root's
    assert await serials(mount, limit="2") == every[:2]
    assert await serials(mount, after=every[1].replace(":", "-"), limit="9") == every[2:]
    with pytest.raises(NotFoundError):
        await serials(mount, after=every[-1])


@pytest.mark.parametrize("path", ["certs", "certs/detailed"])
async def test_an_empty_list_is_not_found(path: str) -> None:
    with pytest.raises(NotFoundError):
        await Mount().data("list", path)


@pytest.mark.parametrize("path", ["certs", "certs/detailed"])
@pytest.mark.parametrize("page", [{"limit": "-1"}, {"limit": "x"}, {"after": "nonsense"}], ids=str)
async def test_a_page_that_is_none_is_refused(path: str, page: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        await Mount().data("list", path, **page)


async def test_lists_leave_out_what_never_became_a_certificate_and_fill_their_pages() -> None:
    mount, made = await issued(2)
    for number, state in enumerate((State.INTENDED, State.ABANDONED, State.INTENDED)):
        await hollow(mount, f"0{number}:aa", state)
    expected = sorted([*(one["serial_number"] for one in made), *await roots(mount)])
    assert await serials(mount) == expected
    assert await serials(mount, limit="2") == expected[:2]
    assert (await mount.data("list", "certs/detailed", limit="2"))["keys"] == expected[:2]


async def roots(mount: Mount) -> list[str]:
    info = (await mount.data("list", "issuers"))["key_info"]
    return [one["serial_number"] for one in info.values()]


async def test_nothing_but_what_never_became_a_certificate_is_an_empty_list() -> None:
    mount = Mount()
    await hollow(mount, "aa:bb", State.INTENDED)
    with pytest.raises(NotFoundError):
        await serials(mount)


async def test_a_detailed_list_tells_what_each_says() -> None:
    mount, [made] = await issued()
    info = (await mount.data("list", "certs/detailed"))["key_info"][made["serial_number"]]
    leaf = x509.load_pem_x509_certificate(made["certificate"].encode())
    assert info == {
        "common_name": "a.example.com",
        "issuer": "CN=one",
        "key_type": "ec",
        "key_bits": 256,
        "not_after": leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_before": leaf.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "dns_names": ["a.example.com"],
    }


async def test_a_detailed_list_has_five_names_at_most() -> None:
    mount, _ = await issued(0)
    names = ",".join(f"{number}.example.com" for number in range(9))
    made = await mount.data("update", "issue/web", {"common_name": "a.example.com", "alt_names": names})
    found = await mount.data("list", "certs/detailed")
    assert len(found["key_info"][made["serial_number"]]["dns_names"]) == 5


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(KeyKind.EC_P521, ("ec", 521)), (KeyKind.ED25519, ("ed25519", 256)), (KeyKind.ML_DSA_65, ("ml-dsa", 65))],
)
async def test_a_detailed_list_tells_the_kind_of_key(kind: KeyKind, expected: tuple[str, int]) -> None:
    mount = Mount()
    await mount.seed_root(kind=kind)
    [info] = (await mount.data("list", "certs/detailed"))["key_info"].values()
    assert ((info["key_type"], info["key_bits"]), info["dns_names"]) == (expected, None)
