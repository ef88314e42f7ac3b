"""Issuers: list, read, change, delete; which one is the default."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import Event
from core.requests import NO_CONTENT, Operation, Request, Response
from pki.authority import DEFAULT, Authority, Issuer
from pki.issuer_settings import IssuerBody, changed_row, issuer_data, patch_of
from pki.parts import Parts
from pki.role_references import about_roles
from pki.serials import format_serial
from pki.store import AuthorityChange

_ALL_GONE = (
    "DELETE /root deletes all keys and issuers; prefer the new DELETE /key/:key_ref and DELETE /issuer/:issuer_ref for"
    " finer granularity, unless removal of all keys and issuers is desired."
)
_NO_KEY = (
    "This selected default issuer has no key associated with it. Some operations like issuing certificates and signing"
    " CRLs will be unavailable with the requested default issuer until a key is imported or the default issuer is"
    " changed."
)


class PageBody(msgspec.Struct):
    """A page of ids; `limit` 0: all."""

    after: str = ""
    limit: int = 0


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
                methods={Operation.LIST: Method(handler=self._list, body=PageBody, mutates=False, summary="Issuers")},
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

    async def _list(self, _request: Request, body: PageBody) -> Response:
        authority = await self._store.authority()
        if body.limit < 0:
            raise InvalidRequestError("limit must not be negative")
        ids = [issuer_id for issuer_id in sorted(authority.issuers) if issuer_id > body.after]
        page = ids[: body.limit] if body.limit else ids
        if not page:
            raise NotFoundError("")
        return Response(data={"keys": page, "key_info": {known: _info(known, authority) for known in page}})

    async def _read(self, request: Request, _body: NoBody) -> Response:
        authority = await self._store.authority()
        issuer = authority.issuer(request.params["issuer_ref"])
        return Response(data=issuer_data(issuer, authority))

    async def _write(self, request: Request, body: IssuerBody) -> Response:
        return await self._change(request, body, is_patch=False)

    async def _patch(self, request: Request, body: IssuerBody) -> Response:
        return await self._change(request, body, is_patch=True)

    async def _change(self, request: Request, body: IssuerBody, *, is_patch: bool) -> Response:
        async def work(change: AuthorityChange) -> tuple[Issuer, list[str]]:
            issuer = change.before.issuer(request.params["issuer_ref"])
            given = patch_of(body, request.data, issuer) if is_patch else body
            row, warnings = changed_row(issuer, given, change.before, is_patch=is_patch)
            await change.put_issuer(row)
            await self._announce(change, "issuer-write", issuer.issuer_id)
            return issuer, warnings

        before, warnings = await self._store.change_authority(work)
        authority = await self._store.authority()
        issuer = authority.issuer(before.issuer_id)
        if issuer.row.name != before.row.name:
            warnings += await about_roles(self._store, {before.row.name})
        return Response(data=issuer_data(issuer, authority), warnings=warnings or None)

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        async def work(change: AuthorityChange) -> tuple[Issuer, bool] | None:
            try:
                issuer = change.before.issuer(request.params["issuer_ref"])
            except NotFoundError:
                return None
            was_default = change.before.index.default_issuer == issuer.issuer_id
            await self._unlink(change, issuer.issuer_id)
            await change.delete_issuer(issuer.issuer_id)
            await self._announce(change, "issuer-delete", issuer.issuer_id)
            return issuer, was_default

        deleted = await self._store.change_authority(work)
        if deleted is None:
            return NO_CONTENT
        issuer, was_default = deleted
        references, warnings = {issuer.issuer_id, issuer.row.name}, []
        if was_default:
            references.add(DEFAULT)
            warnings.append(_gone(issuer.issuer_id, request.params["issuer_ref"]))
        warnings += await about_roles(self._store, references)
        return Response(warnings=warnings) if warnings else NO_CONTENT

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
            warnings = [_NO_KEY]
        return Response(data=_default_data(authority), warnings=warnings)


async def _set_default(change: AuthorityChange, body: DefaultBody) -> None:
    if not body.default or body.default == DEFAULT:
        raise InvalidRequestError("Invalid issuer specification; must be non-empty and can't be 'default'.")
    try:
        issuer = change.before.issuer(body.default)
    except NotFoundError:
        raise InvalidRequestError(f"there is no issuer {body.default[:64]!r}, so it cannot be the default") from None
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


def _info(issuer_id: str, authority: Authority) -> dict[str, Any]:
    issuer = authority.issuers[issuer_id]
    return {
        "is_default": issuer_id == authority.index.default_issuer,
        "issuer_name": issuer.row.name,
        "key_id": issuer.row.key_id,
        "serial_number": format_serial(issuer.certificate.serial_number),
    }


def _gone(issuer_id: str, reference: str) -> str:
    return (
        f"Deleted issuer {issuer_id} (via issuer_ref {reference}); this was configured as the default issuer."
        " Operations without an explicit issuer will not work until a new default is configured."
    )
