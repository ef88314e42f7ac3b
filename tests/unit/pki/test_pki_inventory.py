"""The inventory: what is found by which words, and what is refused."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.errors import InvalidRequestError, NotFoundError
from core.protocols import KeyKind, KeyUsage, Transaction
from pki.certificates import CATALOG, Certificate, Known, State, encode_row, term, terms_of
from pki.inventory import Sought, _name_terms, matcher, search
from pki.plan import Origin, Plan
from tests.unit.pki.pki_mount import Mount

DAY = 86400
NAMES = ("web1.example.com", "web2.example.com", "db.example.com", "web.example.org", "*.example.net")


class Stocked:
    """A mount with a few certificates; what is asked of it."""

    def __init__(self) -> None:
        self.mount = Mount()

    async def fill(self) -> None:
        self.issuer_id = await self.mount.seed_root()
        now = int(self.mount.clock.now())
        for place, name in enumerate(NAMES):
            await self.add(f"0{place}:01", name, not_after=now + (place + 1) * DAY, role="web" if place < 2 else "db")

    async def add(self, serial: str, name: str, *, not_after: int, role: str = "", state: State = State.ISSUED) -> None:
        body = Certificate(
            issuer_id=self.issuer_id, role=role, common_name=name, names=(f"dns:{name}",), requester="Userpass-Ann"
        )
        row = encode_row(Known(serial=serial, state=state, not_after=not_after, body=body), with_terms=True)

        async def write(txn: Transaction) -> None:
            await txn.put_row(CATALOG, row)

        await self.mount.view.transact(write)

    async def ask(self, **query: str) -> list[str]:
        return [row["common_name"] for row in (await self.page(**query))["certificates"]]

    async def page(self, **query: str) -> dict[str, Any]:
        return await self.mount.data("read", "inventory", **query)


@pytest.fixture
async def stocked() -> Stocked:
    found = Stocked()
    await found.fill()
    return found


ASKED = [
    ({"san": "web*"}, ["web1.example.com", "web2.example.com", "web.example.org"]),
    ({"san": "WEB*"}, ["web1.example.com", "web2.example.com", "web.example.org"]),
    ({"san": "*.example.com"}, ["web1.example.com", "web2.example.com", "db.example.com"]),
    ({"san": "w*.example.com"}, ["web1.example.com", "web2.example.com"]),
    ({"san": "web?.example.com"}, ["web1.example.com", "web2.example.com"]),
    ({"san": "*exam*org"}, ["web.example.org"]),
    ({"san": "*b.*"}, ["db.example.com", "web.example.org"]),
    ({"san": "db.example.com"}, ["db.example.com"]),
    ({"san": "*.example.net"}, ["*.example.net"]),
    ({"san": "[w]eb*"}, []),
    ({"san": "nobody"}, []),
    ({"role": "web"}, ["web1.example.com", "web2.example.com"]),
    ({"role": "we"}, []),
    ({"role": "web", "san": "web2*"}, ["web2.example.com"]),
    ({"requester": "userpass-ann", "role": "web"}, ["web1.example.com", "web2.example.com"]),
    ({"requester": "bob"}, []),
    ({"expiring": "2d12h", "issuer": "root", "role": "web"}, ["web1.example.com", "web2.example.com"]),
    ({"expiring": "36h", "role": "web"}, ["web1.example.com"]),
    ({"state": "revoked"}, []),
    ({"state": "expired"}, []),
]


@pytest.mark.parametrize(("query", "names"), ASKED, ids=lambda value: str(value) if isinstance(value, dict) else "")
async def test_what_is_asked_for_is_found_in_the_order_of_its_end(
    stocked: Stocked, query: dict[str, str], names: list[str]
) -> None:
    assert await stocked.ask(**query) == names


async def test_a_page_ends_where_the_next_one_begins(stocked: Stocked) -> None:
    found, after = [], ""
    for _ in range(10):
        page = await stocked.page(san="*e*", limit="2", after=after)
        found += [row["common_name"] for row in page["certificates"]]
        after = page["next"]
        if not after:
            break
    assert found == list(NAMES)


async def test_what_has_ended_is_expired_and_no_longer_valid(stocked: Stocked) -> None:
    stocked.mount.clock.advance(2 * DAY + 1)
    assert await stocked.ask(state="expired") == list(NAMES[:2])
    assert await stocked.ask(role="web") == []


async def test_an_intent_is_shown_as_such_and_never_as_valid(stocked: Stocked) -> None:
    now = int(stocked.mount.clock.now())
    await stocked.add("0f:0f", "late.example.com", not_after=now + DAY, state=State.INTENDED)
    assert await stocked.ask(san="late*") == []
    [row] = (await stocked.page(san="late*", state="intended"))["certificates"]
    assert row["state"] == "intended"


REFUSED = [
    {"state": "lost"},
    {"limit": "0"},
    {"limit": "1001"},
    {"limit": "-1"},
    {"limit": "many"},
    {"expiring": "soon"},
    {"expiring": "-1h"},
    {"after": "nonsense"},
    {"san": "a" * 2049},
    {"san": "*a*b*c*d*"},
]


@pytest.mark.parametrize("query", REFUSED, ids=lambda query: str(query)[:40])
async def test_what_cannot_be_asked_is_refused(stocked: Stocked, query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        await stocked.ask(**query)


async def test_an_unknown_issuer_is_not_found(stocked: Stocked) -> None:
    with pytest.raises(NotFoundError):
        await stocked.ask(issuer="nobody")


async def test_every_name_of_a_certificate_finds_it() -> None:
    mount = Mount()
    issuer_id = await mount.seed_root()
    authority = await mount.parts.store.authority()
    key = await mount.keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    assert key.public_key is not None
    now = int(mount.clock.now())
    plan = Plan(
        public_key=key.public_key,
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some Service")]),
        not_before=now,
        not_after=now + DAY,
        names=(
            x509.DNSName("a.example.com"),
            x509.RFC822Name("ann@example.com"),
            x509.UniformResourceIdentifier("spiffe://example.org/web"),
        ),
    )
    await mount.parts.issuing.issue(plan, authority.issuer(issuer_id), authority, Origin(way="issue"))
    for pattern in ("some service", "a.example.com", "ann@*", "spiffe://example.org/*", "*/web"):
        rows = (await mount.data("read", "inventory", san=pattern))["certificates"]
        assert [row["common_name"] for row in rows] == ["Some Service"], pattern


LONG = "spiffe://example.org/" + "a" * 1900 + "/one"


async def test_a_name_too_long_for_the_index_is_found_by_either_end_and_in_whole(stocked: Stocked) -> None:
    await stocked.add("0a:0a", LONG, not_after=int(stocked.mount.clock.now()) + DAY)
    await stocked.add("0a:0b", LONG.replace("/one", "/two"), not_after=int(stocked.mount.clock.now()) + DAY)
    for pattern in (LONG, LONG.upper(), "spiffe://*/one", f"{LONG[:1000]}*/one", f"*{LONG[900:]}"):
        assert await stocked.ask(san=pattern) == [LONG], pattern[:40]
    assert await stocked.ask(san=LONG[:255]) == []


async def test_a_name_that_no_database_stores_is_found_nevertheless(stocked: Stocked) -> None:
    name = "nul\0inside.example.com"
    await stocked.add("0a:0c", name, not_after=int(stocked.mount.clock.now()) + 9 * DAY)
    assert await stocked.ask(san="nul*") == [name]
    assert await stocked.ask(san=name) == [name]


@pytest.mark.parametrize("name", ["\0", "\ud800", "ß" * 255, "ΔΣ", "İ" * 255, "𝄞" * 300], ids=ascii)
def test_every_name_makes_a_term_that_fits(name: str) -> None:
    for found in terms_of(Certificate(common_name=name, role="r", requester=name * 5)):
        assert 0 < len(found.encode()) <= 2048
        assert "\0" not in found


def test_the_beginning_of_a_name_makes_the_beginning_of_its_term() -> None:
    assert term("san", "ΔΣ1").startswith(term("san", "ΔΣ"))


WORDS = st.text("ab.*?[", max_size=6)


@given(name=st.text("ab.[", min_size=1, max_size=6), pattern=WORDS.filter(lambda text: 0 < text.count("*") <= 4))
@settings(max_examples=200, deadline=None)
def test_the_index_term_of_a_pattern_finds_whatever_the_pattern_matches(name: str, pattern: str) -> None:
    """Else the index would hide a certificate."""
    matches = matcher(pattern)
    assert matches is not None
    if not matches.match(name):
        return
    terms = terms_of(Certificate(names=(f"dns:{name}",)))
    for sought in _name_terms(pattern):
        assert any(known.startswith(sought.rstrip("*")) for known in terms)


async def test_rows_that_only_look_right_in_the_index_are_left_out(stocked: Stocked) -> None:
    """Terms are not authenticated: what is found by them is held against the sealed body."""
    now = int(stocked.mount.clock.now())
    body = Certificate(issuer_id=stocked.issuer_id, common_name="other", names=("dns:other",))
    row = encode_row(Known(serial="0e:0e", state=State.ISSUED, not_after=now + DAY, body=body), with_terms=True)

    async def write(txn: Transaction) -> None:
        await txn.put_row(CATALOG, replace(row, terms=("san:web9.example.com", "role:web", "by:bob")))

    await stocked.mount.view.transact(write)
    for sought in (Sought(san="web9*"), Sought(san="web9.example.com"), Sought(role="web"), Sought(requester="bob")):
        page = await search(
            lambda query: stocked.mount.view.find_rows(CATALOG, query), sought, now=now, after="", limit=10
        )
        assert "other" not in [known.body.common_name for known in page.found]
