"""ocsp: whether certificates of this mount still hold, for anybody who asks (RFC 6960, A.1)."""

import base64
import binascii

from core.engine import Method, Route
from core.errors import HsmError, InvalidRequestError, KeyPolicyError
from core.prepared_signature import sign_prepared
from core.requests import Operation, RawBody, Request, Response
from pki.authority import Authority
from pki.certificates import Known
from pki.ocsp import (
    INTERNAL_ERROR,
    MALFORMED_REQUEST,
    TRY_LATER,
    UNAUTHORIZED,
    OcspQuestion,
    build_answer,
    parse_question,
)
from pki.ocsp_cache import Answered, OcspCache
from pki.ocsp_responder import Responder, Responders
from pki.parts import Parts
from pki.serials import format_serial

_TYPE = "application/ocsp-response"
_BUDGET = 8 * 1024 * 1024  # bytes of cached answers in one worker
_UNKNOWN_FOR = 60  # seconds: a serial number that is unknown may be known soon
_MAX_SIGNING = 16  # answers that one mount signs at a time: anybody may ask, and the HSM has other work


class OcspRoutes:
    """Answers signed before are given again while nothing that they rest on has changed."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._keys = parts.keys
        self._clock = parts.clock
        self._cache = OcspCache(_BUDGET)
        self._responders: Responders | None = None
        self._signing = 0

    def routes(self) -> list[Route]:
        """Below the mount."""
        post = Method(
            handler=self._post,
            mutates=False,
            takes_bytes=True,
            summary="The status of certificates, for an OCSP request in DER",
            statuses=(400, 401, 500, 503),
        )
        get = Method(
            handler=self._get,
            mutates=False,
            summary="The status of certificates, for an OCSP request in base64",
            statuses=(400, 401, 500, 503),
        )
        return [
            Route(pattern="ocsp", unauthenticated=True, methods={Operation.UPDATE: post}),
            Route(pattern="ocsp/{request...}", unauthenticated=True, methods={Operation.READ: get}),
            Route(pattern="unified-ocsp", unauthenticated=True, methods={Operation.UPDATE: _REFUSED}),
            Route(pattern="unified-ocsp/{request...}", unauthenticated=True, methods={Operation.READ: _REFUSED}),
        ]

    async def _post(self, request: Request, _body: object) -> Response:
        return await self._answer(request.body)

    async def _get(self, request: Request, _body: object) -> Response:
        try:  # who joins a URL that ends in a slash and the request asks for "ocsp//MF…"
            asked = base64.b64decode(request.params["request"].lstrip("/"), validate=True)
        except (binascii.Error, ValueError):
            return _raw(MALFORMED_REQUEST, 400)
        return await self._answer(asked)

    async def _answer(self, asked: bytes) -> Response:
        authority = await self._store.authority()
        if authority.index.crl.ocsp_disable:
            return _raw(UNAUTHORIZED, 401)
        answered = self._cache.find(asked)
        if answered is not None and await self._holds(answered, authority):
            return _raw(answered.body)
        return await self._answer_anew(asked, authority)

    async def _answer_anew(self, asked: bytes, authority: Authority) -> Response:
        try:
            question = parse_question(asked)
        except InvalidRequestError:
            return _raw(MALFORMED_REQUEST, 400)
        responder = self._responder(question, authority)
        if responder is None or responder.signer is None:
            return _raw(UNAUTHORIZED, 401)
        return await self._answer_signed(asked, question, responder, authority)

    async def _answer_signed(
        self, asked: bytes, question: OcspQuestion, responder: Responder, authority: Authority
    ) -> Response:
        if self._signing >= _MAX_SIGNING:
            return _raw(TRY_LATER, 503)
        self._signing += 1
        try:
            return _raw(await self._sign(asked, question, responder, authority))
        except KeyPolicyError:
            return _raw(INTERNAL_ERROR, 500)
        except HsmError:
            return _raw(TRY_LATER, 503)
        finally:
            self._signing -= 1

    async def _holds(self, answered: Answered, authority: Authority) -> bool:
        """Whether it would be answered again: the same objects, and time left."""
        if answered.authority is not authority or not answered.since <= self._clock.now() < answered.until:
            return False
        for serial, row in answered.rows:  # what was unknown is looked up again when its short time is over
            if row is not None and await self._store.certificate(serial) is not row:
                return False
        return True

    def _responder(self, question: OcspQuestion, authority: Authority) -> Responder | None:
        """Who answers for all certificates of the request; None when nobody does, or more than one would have to."""
        responders = self._responders
        if responders is None or responders.authority is not authority:
            responders = self._responders = Responders(authority)
        found = {id(each): each for each in map(responders.find, question.certificates)}
        return found.popitem()[1] if len(found) == 1 else None

    async def _sign(self, asked: bytes, question: OcspQuestion, responder: Responder, authority: Authority) -> bytes:
        signer = responder.signer
        if signer is None or signer.key is None:
            raise KeyPolicyError("no issuer of this name and key signs OCSP answers")
        now = int(self._clock.now())
        rows: list[tuple[str, Known | None]] = []
        for certificate in question.certificates:
            serial = format_serial(certificate.serial)
            rows.append((serial, await self._store.certificate(serial)))
        statuses = [
            responder.status(certificate, row)
            for certificate, (_, row) in zip(question.certificates, rows, strict=True)
        ]
        lasts = authority.index.crl.ocsp_expiry
        if not all(status.is_known for status in statuses):
            lasts = min(lasts, _UNKNOWN_FOR)
        build = build_answer(
            statuses,
            responder_key=responder.key_bits,
            this_update=now,
            next_update=now + lasts if lasts else 0,
            nonce=question.nonce,
            certificates=(signer.row.certificate,),  # without it GnuTLS does not find who is named by a key
        )
        body = (await sign_prepared(self._keys, signer.key.key, build)).der
        if lasts and not question.nonce:  # without nextUpdate nothing may be given twice (RFC 6960, 4.2.2.1)
            until = now + lasts / 2
            self._cache.put(asked, Answered(body=body, authority=authority, rows=tuple(rows), since=now, until=until))
        return body


async def _refuse(_request: Request, _body: object) -> Response:
    return _raw(UNAUTHORIZED, 401)


# what OpenBao answers without unified CRLs, which are for clusters that replicate
_REFUSED = Method(
    handler=_refuse,
    mutates=False,
    takes_bytes=True,
    summary="Refused: there is no unified OCSP",
    statuses=(401,),
)


def _raw(body: bytes, status: int = 200) -> Response:
    return Response(status=status, raw=RawBody(body=body, content_type=_TYPE))
