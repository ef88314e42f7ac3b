"""ocsp: whether certificates of this mount still hold, for anybody who asks (RFC 6960, A.1)."""

import asyncio
import base64
import binascii
from email.utils import formatdate
from functools import lru_cache
from hashlib import sha256

from core.engine import Method, Route
from core.errors import HsmError, InvalidRequestError, KeyPolicyError
from core.requests import Operation, RawBody, Request, Response
from pki.authority import Authority
from pki.ocsp import INTERNAL_ERROR, MALFORMED_REQUEST, MAX_REQUEST, TRY_LATER, UNAUTHORIZED, parse_question
from pki.ocsp_answers import OcspAnswers
from pki.ocsp_cache import Answered
from pki.parts import Parts
from pki.tagged import tagged

_TYPE = "application/ocsp-response"
_MAX_SIGNING = 16  # answers that one mount signs at a time: anybody may ask, and the HSM has other work


class OcspRoutes:
    """Requests by POST and by GET."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._clock = parts.clock
        self._answers = OcspAnswers(parts)
        self._signing: dict[bytes, asyncio.Event] = {}  # by request: set when it is over

    def routes(self) -> list[Route]:
        """Below the mount."""
        post = Method(
            media_types=(_TYPE,),
            handler=self._post,
            mutates=False,
            takes_bytes=True,
            summary="The status of certificates, for an OCSP request in DER",
            statuses=(400, 401, 500, 503),
        )
        get = Method(
            media_types=(_TYPE,),
            handler=self._get,
            mutates=False,
            summary="The status of certificates, for an OCSP request in base64",
            statuses=(304, 400, 401, 500, 503),
        )
        return [
            Route(pattern="ocsp", unauthenticated=True, methods={Operation.UPDATE: post}),
            Route(pattern="ocsp/{request...}", unauthenticated=True, methods={Operation.READ: get}),
            Route(pattern="unified-ocsp", unauthenticated=True, methods={Operation.UPDATE: _REFUSED}),
            Route(pattern="unified-ocsp/{request...}", unauthenticated=True, methods={Operation.READ: _REFUSED}),
        ]

    async def _post(self, request: Request, _body: object) -> Response:
        answered = await self._answer(request.body)
        return answered if isinstance(answered, Response) else _raw(answered.body)

    async def _get(self, request: Request, _body: object) -> Response:
        try:  # who joins a URL that ends in a slash and the request asks for "ocsp//MF…"
            asked = base64.b64decode(request.params["request"].lstrip("/"), validate=True)
        except (binascii.Error, ValueError):
            return _raw(MALFORMED_REQUEST, 400)
        answered = await self._answer(asked)
        return answered if isinstance(answered, Response) else _cacheable(answered, request, self._clock.now())

    async def _answer(self, asked: bytes) -> Answered | Response:
        """What was asked for, or what is said instead."""
        authority = await self._store.authority()
        if authority.index.crl.ocsp_disable:
            return _raw(UNAUTHORIZED, 401)
        if len(asked) > MAX_REQUEST:
            return _raw(MALFORMED_REQUEST, 400)
        found = await self._answers.find(asked, authority)
        while found is None and (under_way := self._signing.get(asked)) is not None:
            await under_way.wait()
            found = await self._answers.find(asked, authority)
        return found or await self._answer_anew(asked, authority)

    async def _answer_anew(self, asked: bytes, authority: Authority) -> Answered | Response:
        try:
            question = parse_question(asked)
        except InvalidRequestError:
            return _raw(MALFORMED_REQUEST, 400)
        responder = self._answers.responder(question, authority)
        if responder is None or responder.signer is None:
            return _raw(UNAUTHORIZED, 401)
        if len(self._signing) >= _MAX_SIGNING:
            return _raw(TRY_LATER, 503)
        done = self._signing[asked] = asyncio.Event()
        try:
            return await self._answers.sign(asked, question, responder, authority)
        except KeyPolicyError:
            return _raw(INTERNAL_ERROR, 500)
        except HsmError:
            return _raw(TRY_LATER, 503)
        finally:
            del self._signing[asked]
            done.set()


async def _refuse(_request: Request, _body: object) -> Response:
    return _raw(UNAUTHORIZED, 401)


# what OpenBao answers without unified CRLs, which are for clusters that replicate
_REFUSED = Method(
    media_types=(_TYPE,),
    handler=_refuse,
    mutates=False,
    takes_bytes=True,
    summary="Refused: there is no unified OCSP",
    statuses=(401,),
)


def _cacheable(answered: Answered, request: Request, now: float) -> Response:
    """With what HTTP caches look at (RFC 5019, 6.2), so far as it may be given again."""
    if not answered.next_update:
        return _raw(answered.body)
    lasts = max(0, int(answered.until - now))
    headers = {
        "Cache-Control": f"max-age={lasts}, public, no-transform, must-revalidate",
        "Expires": _http_date(answered.next_update),
        "Last-Modified": _http_date(answered.this_update),
    }
    tag = sha256(answered.body).hexdigest()
    return tagged(request, answered.body, content_type=_TYPE, tag=tag, headers=headers)


@lru_cache(maxsize=256)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _raw(body: bytes, status: int = 200) -> Response:
    return Response(status=status, raw=RawBody(body=body, content_type=_TYPE))
