"""Issuers: list, read, change, delete; which one is the default."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import StringList
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import Event
from core.requests import NO_CONTENT, Operation, Request, Response
from pki.authority import DEFAULT, USAGES, Authority, Issuer, IssuerRow
from pki.chains import chain_of
from pki.moments import format_moment
from pki.parts import Parts
from pki.reference_names import check_issuer_name
from pki.serials import format_serial
from pki.signature_words import checked_algorithm, shown_algorithm
from pki.store import AuthorityChange
from pki.url_rules import check_urls

BEHAVIOURS = ("err", "truncate", "permit", "always_enforce_err")
_ALL_GONE = (
    "DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and DELETE /issuer/:issuer_ref for"
    " finer granularity, unless removal of all keys and issuers is desired."
)


class IssuerBody(msgspec.Struct, kw_only=True):
    """Members that are given; None: not given. A write sets those that are not back, a patch leaves them."""

    issuer_name: str | None = None
    leaf_not_after_behavior: str | None = None
    manual_chain: StringList | None = None
    usage: StringList | None = None
    revocation_signature_algorithm: str | None = None
    issuing_certificates: StringList | None = None
    crl_distribution_points: StringList | None = None
    delta_crl_distribution_points: StringList | None = None
    ocsp_servers: StringList | None = None
    enable_aia_url_templating: bool | None = None
    disable_critical_extension_checks: bool | None = None
    disable_path_length_checks: bool | None = None
    disable_name_constraint_checks: bool | None = None


class DefaultBody(msgspec.Struct, kw_only=True):
    """Which issuer is the default."""

    default: str = ""
    default_follows_latest_issuer: bool | None = None


class IssuerRoutes:
    """What is written of one is checked against all others, inside the transaction that writes it."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._mount = parts.mount

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="issuers",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Issuers")},
                unauthenticated=True,
            ),
            Route(
                pattern="issuer/{issuer_ref}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="An issuer"),
                    Operation.UPDATE: Method(handler=self._write, body=IssuerBody, summary="Set what holds for it"),
                    Operation.PATCH: Method(handler=self._patch, body=IssuerBody, summary="Change some of it"),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete an issuer, but not its key"),
                },
                help='An issuer is named by its id, by its name, or as "default".',
            ),
            Route(
                pattern="config/issuers",
                methods={
                    Operation.READ: Method(handler=self._read_default, mutates=False, summary="The default issuer"),
                    Operation.UPDATE: Method(handler=self._write_default, body=DefaultBody, summary="Choose it"),
                },
            ),
            Route(
                pattern="root/replace",
                methods={
                    Operation.UPDATE: Method(
                        handler=self._replace, body=DefaultBody, summary="Choose the default issuer"
                    )
                },
            ),
            Route(
                pattern="root",
                methods={Operation.DELETE: Method(handler=self._delete_all, summary="Delete all issuers and keys")},
                sudo=True,
            ),
        ]

    # --- one issuer ---------------------------------------------------------------------------------------------------

    async def _list(self, _request: Request, _body: NoBody) -> Response:
        authority = await self._store.authority()
        if not authority.issuers:
            raise NotFoundError("")
        info = {
            issuer_id: {
                "is_default": issuer_id == authority.index.default_issuer,
                "issuer_name": issuer.row.name,
                "key_id": issuer.row.key_id,
                "serial_number": format_serial(issuer.certificate.serial_number),
            }
            for issuer_id, issuer in authority.issuers.items()
        }
        return Response(data={"keys": sorted(info), "key_info": info})

    async def _read(self, request: Request, _body: NoBody) -> Response:
        authority = await self._store.authority()
        issuer = authority.issuer(request.params["issuer_ref"])
        return Response(data=issuer_data(issuer, authority))

    async def _write(self, request: Request, body: IssuerBody) -> Response:
        return await self._change(request, body, is_patch=False)

    async def _patch(self, request: Request, body: IssuerBody) -> Response:
        return await self._change(request, body, is_patch=True)

    async def _change(self, request: Request, body: IssuerBody, *, is_patch: bool) -> Response:
        async def work(change: AuthorityChange) -> tuple[str, list[str]]:
            issuer = change.before.issuer(request.params["issuer_ref"])
            row, warnings = changed_row(issuer, body, change.before, is_patch=is_patch)
            await change.put_issuer(row)
            await self._announce(change, "issuer-write", issuer.issuer_id)
            return issuer.issuer_id, warnings

        issuer_id, warnings = await self._store.change_authority(work)
        authority = await self._store.authority()
        return Response(data=issuer_data(authority.issuer(issuer_id), authority), warnings=warnings or None)

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        async def work(change: AuthorityChange) -> bool:
            try:
                issuer = change.before.issuer(request.params["issuer_ref"])
            except NotFoundError:
                return False
            was_default = change.before.index.default_issuer == issuer.issuer_id
            await self._unlink(change, issuer.issuer_id)
            await change.delete_issuer(issuer.issuer_id)
            await self._announce(change, "issuer-delete", issuer.issuer_id)
            return was_default

        if await self._store.change_authority(work):
            gone = f"Deleted issuer {request.params['issuer_ref']} was the default: choose another one (config/issuers)"
            return Response(warnings=[gone])
        return NO_CONTENT

    async def _unlink(self, change: AuthorityChange, issuer_id: str) -> None:
        """Take it out of the manual chains of others."""
        for other in change.before.issuers.values():
            if issuer_id in other.row.manual_chain and other.issuer_id != issuer_id:
                chain = tuple(known for known in other.row.manual_chain if known != issuer_id)
                await change.put_issuer(replace(other.row, manual_chain=chain))

    async def _delete_all(self, _request: Request, _body: NoBody) -> Response:
        async def work(change: AuthorityChange) -> None:
            for issuer_id in change.before.issuers:
                await change.delete_issuer(issuer_id)
            for key_id in change.before.keys:
                await change.delete_key(key_id)
            await self._announce(change, "root-delete", "")

        await self._store.change_authority(work)
        return Response(warnings=[_ALL_GONE])

    async def _announce(self, change: AuthorityChange, word: str, issuer_id: str) -> None:
        path = f"issuer/{issuer_id}" if issuer_id else "root"
        metadata = {"operation": word, "path": f"{self._mount.path}{path}", "modified": "true"}
        await change.txn.announce(Event(type=f"pki/{word}", path=path, metadata=metadata))

    # --- the default --------------------------------------------------------------------------------------------------

    async def _read_default(self, _request: Request, _body: NoBody) -> Response:
        return Response(data=_default_data(await self._store.authority()))

    async def _write_default(self, _request: Request, body: DefaultBody) -> Response:
        return await self._choose(body, _set_default)

    async def _replace(self, _request: Request, body: DefaultBody) -> Response:
        chosen = DefaultBody(default=body.default or "next")
        return await self._choose(chosen, _set_default)

    async def _choose(
        self, body: DefaultBody, work: Callable[[AuthorityChange, DefaultBody], Awaitable[None]]
    ) -> Response:
        await self._store.change_authority(lambda change: work(change, body))
        authority = await self._store.authority()
        warnings = None
        default = authority.issuers.get(authority.index.default_issuer)
        if default is not None and default.key is None:
            warnings = ["the default issuer has no key here, so it issues nothing"]
        return Response(data=_default_data(authority), warnings=warnings)


async def _set_default(change: AuthorityChange, body: DefaultBody) -> None:
    if not body.default or body.default == DEFAULT:
        raise InvalidRequestError("Invalid issuer specification; must be non-empty and can't be 'default'.")
    try:
        issuer = change.before.issuer(body.default)
    except NotFoundError:
        raise InvalidRequestError(f"there is no issuer {body.default!r}, so it cannot be the default") from None
    index = replace(change.index, default_issuer=issuer.issuer_id)
    if body.default_follows_latest_issuer is not None:
        index = replace(index, default_follows_latest_issuer=body.default_follows_latest_issuer)
    change.set_index(index)


def _default_data(authority: Authority) -> dict[str, Any]:
    index = authority.index
    return {
        "default": index.default_issuer,
        "default_follows_latest_issuer": index.default_follows_latest_issuer,
    }


# --- what one is, as plain values -----------------------------------------------------------------------------------


def changed_row(
    issuer: Issuer, body: IssuerBody, authority: Authority, *, is_patch: bool
) -> tuple[IssuerRow, list[str]]:
    """The row that a write or a patch makes, and what to warn of. Raises InvalidRequestError."""
    row, blank = issuer.row, IssuerRow(issuer_id="", certificate=b"")
    before = row if is_patch else replace(blank, issuer_id=row.issuer_id, certificate=row.certificate)
    name = before.name if body.issuer_name is None else body.issuer_name
    check_issuer_name(name, authority, but=row.issuer_id)
    usage = before.usage if body.usage is None else _usage(body.usage)
    urls = before.urls
    given = {
        "issuing_certificates": body.issuing_certificates,
        "crl_distribution_points": body.crl_distribution_points,
        "delta_crl_distribution_points": body.delta_crl_distribution_points,
        "ocsp_servers": body.ocsp_servers,
    }
    urls = replace(urls, **{member: tuple(value) for member, value in given.items() if value is not None})
    if body.enable_aia_url_templating is not None:
        urls = replace(urls, enable_templating=body.enable_aia_url_templating)
    warnings = check_urls(urls, authority.index.cluster)
    algorithm = before.revocation_signature_algorithm
    if body.revocation_signature_algorithm is not None:
        algorithm = checked_algorithm(body.revocation_signature_algorithm, issuer)
    changed = replace(
        row,
        name=name,
        leaf_not_after_behavior=_behaviour(body.leaf_not_after_behavior or before.leaf_not_after_behavior),
        manual_chain=before.manual_chain if body.manual_chain is None else _chain(body.manual_chain, issuer, authority),
        usage=_possible(usage, issuer),
        revocation_signature_algorithm=algorithm,
        urls=urls,
        **{
            member: getattr(before if getattr(body, member) is None else body, member)
            for member in (
                "disable_critical_extension_checks",
                "disable_path_length_checks",
                "disable_name_constraint_checks",
            )
        },
    )
    return changed, warnings


def _behaviour(word: str) -> str:
    if word not in BEHAVIOURS:
        raise InvalidRequestError(f"leaf_not_after_behavior must be one of {', '.join(BEHAVIOURS)}")
    return word


def _usage(words: list[str]) -> tuple[str, ...]:
    """Those words, in one order; read-only is always there, as in Vault."""
    unknown = [word for word in words if word not in USAGES]
    if unknown:
        raise InvalidRequestError(f"usage must be of {', '.join(USAGES)}")
    return tuple(word for word in USAGES if word in words or word == "read-only")


def _possible(usage: tuple[str, ...], issuer: Issuer) -> tuple[str, ...]:
    if "crl-signing" in usage and not issuer.can_sign_crls:
        raise InvalidRequestError("the certificate's key usages lack cRLSign, so usage cannot have crl-signing")
    return usage


def _chain(references: list[str], issuer: Issuer, authority: Authority) -> tuple[str, ...]:
    found = []
    for reference in references:
        if reference == "self":
            found.append(issuer.issuer_id)
            continue
        try:
            found.append(authority.issuer(reference).issuer_id)
        except NotFoundError:
            raise InvalidRequestError(f"manual_chain names the issuer {reference!r}, which there is not") from None
    if found and found[0] != issuer.issuer_id:
        raise InvalidRequestError('manual_chain begins with the issuer itself: write "self" first')
    if len(set(found)) != len(found):
        raise InvalidRequestError("manual_chain names an issuer twice")
    return tuple(found)


def issuer_data(issuer: Issuer, authority: Authority) -> dict[str, Any]:
    """As Vault answers it, and where its key is."""
    row = issuer.row
    data: dict[str, Any] = {
        "issuer_id": row.issuer_id,
        "issuer_name": row.name,
        "key_id": row.key_id,
        "certificate": issuer.pem,
        "manual_chain": list(row.manual_chain) or None,
        "ca_chain": [member.pem for member in chain_of(issuer, authority)],
        "leaf_not_after_behavior": row.leaf_not_after_behavior,
        "usage": ",".join(sorted(row.usage)),
        "revocation_signature_algorithm": shown_algorithm(issuer),
        "revoked": bool(row.revoked_at),
        "issuing_certificates": list(row.urls.issuing_certificates),
        "crl_distribution_points": list(row.urls.crl_distribution_points),
        "delta_crl_distribution_points": list(row.urls.delta_crl_distribution_points),
        "ocsp_servers": list(row.urls.ocsp_servers),
        "enable_aia_url_templating": row.urls.enable_templating,
    }
    if row.revoked_at:
        data |= {"revocation_time": row.revoked_at, "revocation_time_rfc3339": format_moment(row.revoked_at)}
    if issuer.key is not None:
        data["custody"] = issuer.key.key.custody.value
    return data
