"""OCSP requests that are not the usual one, rows that are no certificate, and what bounds an answerer's memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asn1crypto.ocsp import OCSPRequest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.requests import Response
from pki.authority import Authority, CaIndex, Issuer, IssuerRow
from pki.certificates import CATALOG, State, encode_row
from pki.issuing import Issued
from pki.ocsp import MALFORMED_REQUEST, MAX_SINGLE_REQUESTS, TRY_LATER, UNAUTHORIZED, parse_question
from pki.ocsp_answers import OcspAnswers
from pki.ocsp_cache import Answered, OcspCache
from pki.plan import Origin, Plan
from tests.unit.pki.pki_mount import Mount

GOOD, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.UNKNOWN
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()


async def issue(mount: Mount, issuer_id: str = "default", *, no_store: bool = False) -> Issued:
    now = int(mount.clock.now())
    plan = Plan(
        public_key=KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")]),
        not_before=now - 30,
        not_after=now + 86400,
    )
    authority = await mount.parts.store.authority()
    origin = Origin(way="issue", no_store=no_store)
    return await mount.parts.issuing.issue(plan, authority.issuer(issuer_id), authority, origin)


async def question_about(mount: Mount, *leaves: Issued) -> bytes:
    """One request about all of them."""
    made = [await _question(mount, leaf) for leaf in leaves]
    first = OCSPRequest.load(made[0])  # type: ignore[no-untyped-call]  # asn1crypto has no types
    for other in made[1:]:
        more = OCSPRequest.load(other)  # type: ignore[no-untyped-call]
        first["tbs_request"]["request_list"].append(more["tbs_request"]["request_list"][0])
    return bytes(first.dump(force=True))


async def _question(mount: Mount, leaf: Issued) -> bytes:
    assert leaf.issuer is not None
    question = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, leaf.issuer.certificate, hashes.SHA256())
    return question.build().public_bytes(Encoding.DER)


async def ask(mount: Mount, question: bytes) -> Response:
    return await mount.call("update", "ocsp", body=question)


def read(response: Response) -> ocsp.OCSPResponse:
    assert response.status == 200
    assert response.raw is not None
    return ocsp.load_der_ocsp_response(response.raw.body)


def refusal(response: Response) -> tuple[int | None, bytes]:
    assert response.raw is not None
    return response.status, response.raw.body


async def put_as(mount: Mount, leaf: Issued, state: State) -> None:
    known = await mount.parts.store.certificate(leaf.serial)
    assert known is not None
    row = encode_row(replace(known, state=state))
    await mount.view.transact(lambda txn: txn.put_row(CATALOG, row))


@pytest.fixture
async def mount() -> Mount:
    made = Mount()
    await made.seed_root()
    return made


async def test_an_ml_dsa_issuer_signs() -> None:
    """RFC 9881: the algorithm's identifier has no parameters."""
    mount = Mount()
    await mount.seed_root(kind=KeyKind.ML_DSA_44)
    leaf = await issue(mount)
    answer = read(await ask(mount, await question_about(mount, leaf)))
    assert leaf.issuer is not None
    key: Any = leaf.issuer.certificate.public_key()
    key.verify(answer.signature, answer.tbs_response_bytes)
    assert answer.certificate_status is GOOD


async def test_an_ml_dsa_issuer_beside_another_does_not_stop_that_one(mount: Mount) -> None:
    await mount.seed_root("second", KeyKind.ML_DSA_44)
    assert read(await ask(mount, await question_about(mount, await issue(mount)))).certificate_status is GOOD


async def test_several_certificates_have_an_answer_each_in_their_order(mount: Mount) -> None:
    leaves = [await issue(mount), await issue(mount, no_store=True), await issue(mount)]
    answer = read(await ask(mount, await question_about(mount, *leaves)))
    found = [(each.serial_number, each.certificate_status) for each in answer.responses]
    assert found == [
        (leaf.certificate.serial_number, status) for leaf, status in zip(leaves, (GOOD, UNKNOWN, GOOD), strict=True)
    ]


async def test_more_certificates_than_ten_are_malformed(mount: Mount) -> None:
    leaf = await issue(mount)
    assert read(await ask(mount, await question_about(mount, *[leaf] * MAX_SINGLE_REQUESTS)))
    over = await question_about(mount, *[leaf] * (MAX_SINGLE_REQUESTS + 1))
    assert refusal(await ask(mount, over)) == (400, MALFORMED_REQUEST)


async def test_certificates_of_two_issuers_in_one_request_are_refused(mount: Mount) -> None:
    """One answer has one signature, and neither may speak for the other (RFC 6960, 4.2.2.2)."""
    other = await mount.seed_root("second")
    both = await question_about(mount, await issue(mount), await issue(mount, other))
    assert refusal(await ask(mount, both)) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("field", ["issuer_name_hash", "issuer_key_hash"])
@pytest.mark.parametrize("length", [0, 20, 31, 33])
async def test_a_hash_of_another_length_is_malformed(mount: Mount, field: str, length: int) -> None:
    question = OCSPRequest.load(await question_about(mount, await issue(mount)))  # type: ignore[no-untyped-call]
    question["tbs_request"]["request_list"][0]["req_cert"][field] = bytes(length)
    with pytest.raises(InvalidRequestError):
        parse_question(question.dump(force=True))


@pytest.mark.parametrize("state", [State.INTENDED, State.ABANDONED], ids=lambda state: state.name)
async def test_what_was_not_issued_is_unknown_and_good_as_soon_as_it_is(mount: Mount, state: State) -> None:
    leaf = await issue(mount)
    question = await question_about(mount, leaf)
    await put_as(mount, leaf, state)
    assert read(await ask(mount, question)).certificate_status is UNKNOWN
    await put_as(mount, leaf, State.ISSUED)
    assert read(await ask(mount, question)).certificate_status is GOOD


async def test_what_was_not_there_is_good_as_soon_as_it_is(mount: Mount) -> None:
    """Asked before it was issued, as who guesses or watches may do; the answer given then is not given again."""
    leaf = await issue(mount)
    question = await question_about(mount, leaf)
    known = await mount.parts.store.certificate(leaf.serial)
    assert known is not None
    await mount.view.transact(lambda txn: txn.delete_rows(CATALOG, [leaf.serial]))
    first = await ask(mount, question)
    assert read(first).certificate_status is UNKNOWN
    assert await ask(mount, question) == first
    await mount.view.transact(lambda txn: txn.put_row(CATALOG, encode_row(known, with_terms=True)))
    assert read(await ask(mount, question)).certificate_status is GOOD


async def test_unknown_is_said_for_a_minute_only(mount: Mount) -> None:
    answer = read(await ask(mount, await question_about(mount, await issue(mount, no_store=True))))
    assert answer.next_update_utc is not None
    assert (answer.next_update_utc - answer.this_update_utc).total_seconds() == 60


async def test_whoever_invents_serial_numbers_pushes_out_no_answer(mount: Mount) -> None:
    """They have a small memory of their own."""
    answers = OcspAnswers(mount.parts, budget=4_000, unknown_budget=2_000)
    authority = await mount.parts.store.authority()

    async def answer(question: bytes) -> bytes:
        parsed = parse_question(question)
        responder = answers.responder(parsed, authority)
        assert responder is not None
        return (await answers.sign(question, parsed, responder, authority)).body

    question = await question_about(mount, await issue(mount))
    first = await answer(question)
    for _ in range(8):
        await answer(await question_about(mount, await issue(mount, no_store=True)))
    found = await answers.find(question, authority)
    assert found is not None
    assert found.body == first


async def test_more_than_sixteen_at_a_time_are_to_try_later(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, and the HSM has other work."""
    questions = [await question_about(mount, await issue(mount)) for _ in range(18)]
    gate, sign = asyncio.Event(), mount.keys.sign

    async def wait(*given: Any, **more: Any) -> Any:
        await gate.wait()
        return await sign(*given, **more)

    monkeypatch.setattr(mount.keys, "sign", wait)
    asking = [asyncio.create_task(ask(mount, question)) for question in questions]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    gate.set()
    answers = [await task for task in asking]
    assert [refusal(answer) for answer in answers].count((503, TRY_LATER)) == 2
    assert read(await ask(mount, questions[-1])).certificate_status is GOOD


async def test_many_with_the_same_question_take_one_signature(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when an answer that all clients of a proxy want has just ended."""
    question = await question_about(mount, await issue(mount))
    signed, sign = 0, mount.keys.sign

    async def slowly(*given: Any, **more: Any) -> Any:
        nonlocal signed
        signed += 1
        await asyncio.sleep(0)
        return await sign(*given, **more)

    monkeypatch.setattr(mount.keys, "sign", slowly)
    answers = await asyncio.gather(*(ask(mount, question) for _ in range(40)))
    assert {read(answer).certificate_status for answer in answers} == {GOOD}
    assert signed == 1


# --- the cache --------------------------------------------------------------------------------------------------------


def answered(size: int) -> Answered:
    issuer = Issuer(IssuerRow(issuer_id="i", certificate=b""), None)
    authority = Authority(CaIndex(), {}, {})
    return Answered(
        body=bytes(size), authority=authority, rows=(), issuer=issuer, delegate=None, this_update=0, next_update=10
    )


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = OcspCache(3 * 2_000)
    for name in (b"a", b"b", b"c"):
        cache.put(name, answered(1_000))
    assert cache.find(b"a")
    cache.put(b"d", answered(1_000))
    assert [name for name in (b"a", b"b", b"c", b"d") if cache.find(name) is None] == [b"b"]


def test_an_answer_in_the_place_of_another_weighs_once() -> None:
    cache = OcspCache(10_000)
    for _ in range(20):
        cache.put(b"a", answered(1_000))
    once = OcspCache(10_000)
    once.put(b"a", answered(1_000))
    assert cache.weight == once.weight


def test_what_is_larger_than_all_is_not_kept() -> None:
    cache = OcspCache(1_000)
    cache.put(b"a", answered(2_000))
    assert cache.find(b"a") is None
    assert cache.weight == 0
