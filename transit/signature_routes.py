"""sign and verify: field names, base64, batches, and the shape of answers. HMACs and CMACs are verified here, too."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from transit.batch import check_size, item_response, run_batch
from transit.format import decode_base64, encode_base64
from transit.mac_routes import cmac_length, read_mac_input
from transit.macs import CMAC, MacClaim, MacMaker, hmac_method
from transit.names import key_in_path
from transit.parts import Parts
from transit.signature_bodies import SignBody, SignItem, VerifyBody, VerifyItem
from transit.signature_format import format_jws, format_tagged, parse_tagged
from transit.signing import Claim, Message, Signed, Signer
from transit.signing_methods import DEFAULT_HASH, SigningMethod, signing_method
from transit.store import OpenKey

Evidence = Literal["signature", "hmac", "cmac"]

_EVIDENCE: tuple[Evidence, ...] = ("signature", "hmac", "cmac")
_MADE_BY = {20: "sha1", 28: "sha2-224", 32: "sha2-256", 48: "sha2-384", 64: "sha2-512"}  # by bytes of the digest
_ED25519_BYTES = 32  # at the end of its SubjectPublicKeyInfo (RFC 8410, 4)


class SignatureRoutes:
    """What a key vouches for."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._signer = Signer(parts.store, parts.keys)
        self._macs = MacMaker(parts.store, parts.keys)

    def routes(self) -> list[Route]:
        """Below the mount."""
        sign = Method(handler=self._sign, body=SignBody, mutates=False, summary="Sign data")
        verify = Method(handler=self._verify, body=VerifyBody, mutates=False, summary="Verify a signature or MAC")
        return [
            *(
                Route(
                    pattern=pattern,
                    methods={Operation.UPDATE: sign},
                    help="Signs base64 input; an ed25519 or ml-dsa key signs it as it is, others sign its hash.",
                )
                for pattern in ("sign/{name}", "sign/{name}/{hash_algorithm}")
            ),
            *(
                Route(
                    pattern=pattern,
                    methods={Operation.UPDATE: verify},
                    help="Whether a signature, an HMAC or a CMAC is that of the input by this key.",
                )
                for pattern in ("verify/{name}", "verify/{name}/{hash_algorithm}")
            ),
        ]

    # --- sign ---------------------------------------------------------------------------------------------------------

    async def _sign(self, request: Request, body: SignBody) -> Response:
        name = request.params["name"]
        key = self._store.peek(name) or await key_in_path(self._store, request, otherwise="signing key not found")
        method = _method(key, request.params, body)
        if body.batch_input is not None:
            return await self._sign_batch(key, method, body.key_version, body.batch_input)
        message = decode_base64(body.input, field="input")
        context = decode_base64(body.context, field="context") if body.context else b""
        version, signature, public_key = await self._signer.sign_one(key, method, body.key_version, message, context)
        text = format_jws(version, signature) if method.jws else format_tagged(version, signature)
        data: dict[str, Any] = {"signature": text, "key_version": version}
        if public_key is not None:
            data["public_key"] = data["publickey"] = _raw(public_key)  # Vault's names for one and in batches
        return Response(data=data)

    async def _sign_batch(
        self, key: OpenKey, method: SigningMethod, version: int, items: Sequence[SignItem]
    ) -> Response:
        check_size(items)
        key.keyring.check_usable()

        def show(signed: Signed) -> dict[str, Any]:
            version, signature, public_key = signed
            text = format_jws(version, signature) if method.jws else format_tagged(version, signature)
            shown: dict[str, Any] = {"signature": text, "key_version": version}
            return shown if public_key is None else {**shown, "publickey": _raw(public_key)}

        answers = await run_batch(items, _to_sign, lambda messages: self._signer.sign(key, method, version, messages))
        return item_response(items, answers, show, failed={"key_version": 0})

    # --- verify -------------------------------------------------------------------------------------------------------

    async def _verify(self, request: Request, body: VerifyBody) -> Response:
        items = body.batch_input
        if items is None:
            evidence = _evidence_of_one(body)
        else:
            check_size(items)
            evidence = _evidence_of_all(items)
        if evidence != "signature":
            return await self._verify_macs(request, body, evidence)
        key = await key_in_path(self._store, request, otherwise="signature verification key not found")
        method = _method(key, request.params, body)
        imported = key.keyring.imported
        if items is None:
            claim = _to_verify(body, imported=imported, jws=method.jws)
            return Response(data={"valid": await self._signer.verify_one(key, method, claim)})
        answers = await run_batch(
            items,
            lambda item: _to_verify(item, imported=imported, jws=method.jws),
            lambda claims: self._signer.verify(key, method, claims),
        )
        return item_response(items, answers, _show_valid, failed={"valid": False})

    async def _verify_macs(self, request: Request, body: VerifyBody, evidence: Evidence) -> Response:
        key = await key_in_path(self._store, request, otherwise="encryption key not found")
        if evidence == "hmac":
            method = hmac_method(
                request.params.get("hash_algorithm") or body.algorithm or body.hash_algorithm or DEFAULT_HASH
            )
        else:
            method = CMAC
        items, imported, length = body.batch_input, key.keyring.imported, body.mac_length
        if items is None:
            claim = _to_compare(body, evidence, imported=imported, mac_length=length)
            return Response(data={"valid": await self._macs.verify_one(key, method, claim)})
        answers = await run_batch(
            items,
            lambda item: _to_compare(item, evidence, imported=imported, mac_length=length),
            lambda claims: self._macs.verify(key, method, claims),
        )
        return item_response(items, answers, _show_valid, failed={"valid": False})


def _method(key: OpenKey, params: Mapping[str, str], body: SignBody | VerifyBody) -> SigningMethod:
    """What path and body ask for. Raises InvalidRequestError."""
    if body.signature_context:
        raise InvalidRequestError(
            "signature_context is not supported: signatures are made with an empty context string"
        )
    return signing_method(
        key.keyring.type,
        hash_algorithm=_hash_algorithm(key, params, body),
        signature_algorithm=body.signature_algorithm,
        marshaling_algorithm=body.marshalling_algorithm or body.marshaling_algorithm,
        salt_length=body.salt_length,
        prehashed=body.prehashed,
    )


def _hash_algorithm(key: OpenKey, params: Mapping[str, str], body: SignBody | VerifyBody) -> str:
    """The hash that is asked for. ECDSA signs any digest, so Vault's clients need not name the hash that made one."""
    named = params.get("hash_algorithm") or body.hash_algorithm or body.algorithm
    if named or not body.prehashed or not key.keyring.key_type.is_ecdsa:
        return named or DEFAULT_HASH
    first = body.batch_input[0].input if body.batch_input else body.input
    try:
        return _MADE_BY.get(len(decode_base64(first or "", field="input")), DEFAULT_HASH)
    except InvalidRequestError:
        return DEFAULT_HASH  # said where the input is read, of a batch beside its item


def _to_sign(item: SignItem) -> Message:
    if item.input is None:
        raise InvalidRequestError("missing input")
    return decode_base64(item.input, field="input"), decode_base64(item.context or "", field="context")


def _evidence_of_one(body: VerifyBody) -> Evidence:
    """What is to be verified, of exactly one kind. Raises InvalidRequestError."""
    given = [evidence for evidence in _EVIDENCE if getattr(body, evidence) is not None]
    if len(given) > 1:
        raise InvalidRequestError("provide one of 'signature', 'hmac' or 'cmac'")
    if not given:
        raise InvalidRequestError("neither a 'signature' nor an 'hmac' nor a 'cmac' were given to verify")
    return given[0]


def _evidence_of_all(items: Sequence[VerifyItem]) -> Evidence:
    """As `_evidence_of_one`, the same for every item of a batch."""
    found = [next((evidence for evidence in _EVIDENCE if getattr(item, evidence) is not None), None) for item in items]
    given = [evidence for evidence in _EVIDENCE if evidence in found]
    if len(given) > 1:
        raise InvalidRequestError("elements of batch_input must all provide 'signature', all 'hmac' or all 'cmac'")
    if not given:
        raise InvalidRequestError("no batch_input elements have 'signature', 'hmac' or 'cmac'")
    if None in found:
        raise InvalidRequestError(f"some elements of batch_input are missing '{given[0]}'")
    return given[0]


def _to_verify(item: VerifyItem | VerifyBody, *, imported: bool, jws: bool) -> Claim:
    if item.input is None:
        raise InvalidRequestError("missing input")
    message = decode_base64(item.input, field="input")
    context = decode_base64(item.context, field="context") if item.context else b""
    version, signature = parse_tagged(item.signature or "", what="signature", imported=imported, jws=jws)
    return version, signature, message, context


def _to_compare(item: VerifyItem | VerifyBody, evidence: Evidence, *, imported: bool, mac_length: int) -> MacClaim:
    message = read_mac_input(item.input, missing="missing input")
    given = item.hmac if evidence == "hmac" else item.cmac
    version, mac = parse_tagged(given or "", what=evidence.upper(), imported=imported)
    if evidence == "hmac":
        return version, mac, message, 0
    return version, mac, message, cmac_length(mac_length if item.mac_length is None else item.mac_length)


def _show_valid(valid: bool) -> dict[str, Any]:
    return {"valid": valid}


def _raw(public_key: bytes) -> str:
    """An Ed25519 public key as Vault shows a derived one: without what says that it is one."""
    return encode_base64(public_key[-_ED25519_BYTES:])
