"""AppRole over Vault's API: paths, bodies and the shape of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from auth.approle.engine import AppRoleEngine
from auth.approle.role_fields import field_routes
from auth.approle.roles import Role, RoleBody, changed_role, is_role_name, role_name
from auth.approle.secret_ids import SecretId, SecretIdBody
from auth.listing import keys_response, page
from core.engine import Engine, EngineContext, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Login, Operation, Request, Response

_TIDIED = "Tidy operation finished: {} expired secret ids were removed."
_NAMED = "role/{name}/"


class LoginBody(msgspec.Struct):
    """login."""

    role_id: str = ""
    secret_id: str = ""


class SecretIdName(msgspec.Struct):
    """Names a secret id by itself."""

    secret_id: str = ""


class AccessorName(msgspec.Struct):
    """Names a secret id by its accessor."""

    secret_id_accessor: str = ""


def create(context: EngineContext) -> Engine:
    """The entry point `approle`."""
    return AppRoleRoutes(AppRoleEngine(context.storage, context.clock, context.mount))


class AppRoleRoutes:
    """The routes of one mount."""

    def __init__(self, engine: AppRoleEngine) -> None:
        self._engine = engine
        of_roles = (*self._role_routes(), *field_routes(engine), *self._secret_id_routes())
        self.routes: Sequence[Route] = [
            *(replace(route, ignores_case=True) for route in of_roles),
            self._login_route(),
        ]

    async def close(self) -> None:
        """Nothing is held here."""

    async def renew_login(self, renewal: Mapping[str, str]) -> Login:
        """As RenewingMethod: a role that is gone renews nothing; its changed TTLs count from now on."""
        return await self._engine.renewed(renewal)

    async def policies_of(self, name: str) -> tuple[str, ...] | None:
        """As NamedRoles: the policies of a role's tokens."""
        return await self._engine.policies_of(name.lower())

    def _role_routes(self) -> list[Route]:
        read, update, create_ = Operation.READ, Operation.UPDATE, Operation.CREATE
        put = Method(handler=self._put, body=RoleBody, summary="Make or change a role")
        return [
            Route(
                pattern="role",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Names of the roles")},
                help="The roles of this mount.",
            ),
            Route(
                pattern="role/{name}",
                methods={
                    create_: put,
                    update: put,
                    read: Method(handler=self._read, mutates=False, summary="A role"),
                    Operation.DELETE: Method(handler=self._delete, summary="Remove a role and its secret ids"),
                },
                exists=self._exists,
                help="A role: who may log in as it, and what the tokens of its logins may do.",
            ),
            Route(
                pattern=_NAMED + "role-id",
                methods={
                    read: Method(handler=self._read_role_id, mutates=False, summary="The role's id"),
                    update: Method(handler=self._write_role_id, body=RoleBody, summary="Choose the role's id"),
                },
                help="The id by which a login names the role. It is no secret.",
            ),
        ]

    def _secret_id_routes(self) -> list[Route]:
        update, delete = Operation.UPDATE, Operation.DELETE
        look = Method(handler=self._look, body=SecretIdName, mutates=False, summary="What is known of a secret id")
        destroy = Method(handler=self._destroy, body=SecretIdName, summary="Remove a secret id")
        look_accessor = Method(
            handler=self._look_accessor, body=AccessorName, mutates=False, summary="What is known of a secret id"
        )
        destroy_accessor = Method(handler=self._destroy_accessor, body=AccessorName, summary="Remove a secret id")
        issue = Method(handler=self._issue, body=SecretIdBody, summary="Issue a secret id")
        assign = Method(handler=self._assign, body=SecretIdBody, summary="Assign a secret id of one's choice")
        accessors = Method(handler=self._accessors, mutates=False, summary="Accessors of the role's secret ids")
        by_id = "About a secret id, which is in the body."
        by_accessor = "About a secret id, whose accessor is in the body."
        return [
            Route(
                pattern=_NAMED + "secret-id",
                methods={update: issue, Operation.LIST: accessors},
                help="Issues a secret id, which is shown this once; ask for it wrapped where others carry it.",
            ),
            Route(pattern=_NAMED + "custom-secret-id", methods={update: assign}, help="As secret-id, with one given."),
            Route(pattern=_NAMED + "secret-id/lookup", methods={update: look}, help=by_id),
            Route(pattern=_NAMED + "secret-id/destroy", methods={update: destroy, delete: destroy}, help=by_id),
            Route(pattern=_NAMED + "secret-id-accessor/lookup", methods={update: look_accessor}, help=by_accessor),
            Route(
                pattern=_NAMED + "secret-id-accessor/destroy",
                methods={update: destroy_accessor, delete: destroy_accessor},
                help=by_accessor,
            ),
            Route(
                pattern="tidy/secret-id",
                methods={update: Method(handler=self._tidy, summary="Remove expired secret ids", statuses=(202,))},
                help="Removes secret ids whose time is over. They are refused without it.",
            ),
        ]

    def _login_route(self) -> Route:
        # What a login writes does nothing before its answer has left: a token that was told nobody opens nothing, and a
        # use of a secret id that is taken without an answer only narrows. So its two audit records may be written
        # together, before the answer, and need not be waited for one after the other.
        login = Method(handler=self._login, body=LoginBody, mutates=False, summary="Log in")
        return Route(
            pattern="login",
            methods={Operation.UPDATE: login},
            unauthenticated=True,
            login_name=lambda _request, body: str(body.role_id).strip(),
            help="Logs in with the id of a role and a secret id.",
        )

    # --- roles ----------------------------------------------------------------------------------------------------

    async def _list(self, request: Request, _body: NoBody) -> Response:
        return keys_response(await self._engine.store.names(**page(request)))

    async def _exists(self, request: Request) -> bool:
        name = request.params["name"]
        return is_role_name(name) and await self._engine.store.role(name.lower()) is not None

    async def _put(self, request: Request, body: RoleBody) -> Response:
        warnings = await self._engine.put_role(role_name(request.params["name"]), body)
        return Response(warnings=warnings) if warnings else NO_CONTENT

    async def _read(self, request: Request, _body: NoBody) -> Response:
        return Response(data=(await self._role(request)).shown())

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._engine.delete_role(role_name(request.params["name"]))
        return NO_CONTENT

    async def _read_role_id(self, request: Request, _body: NoBody) -> Response:
        return Response(data={"role_id": (await self._role(request)).role_id})

    async def _write_role_id(self, request: Request, body: RoleBody) -> Response:
        if not body.role_id:
            raise InvalidRequestError("missing role_id")
        wanted = RoleBody(role_id=body.role_id)

        def alter(role: Role, warnings: list[str]) -> Role:
            return changed_role(role, wanted, warnings, is_new=False)

        await self._engine.change_role(role_name(request.params["name"]), alter)
        return NO_CONTENT

    async def _role(self, request: Request) -> Role:
        """For a read: what is not there is Vault's empty 404."""
        role = await self._engine.store.role(role_name(request.params["name"]))
        if role is None:
            raise NotFoundError("")
        return role

    # --- secret ids -----------------------------------------------------------------------------------------------

    async def _issue(self, request: Request, body: SecretIdBody) -> Response:
        return await self._add(request, msgspec.structs.replace(body, secret_id=""))

    async def _assign(self, request: Request, body: SecretIdBody) -> Response:
        if not body.secret_id.strip():
            raise InvalidRequestError("missing secret_id")
        return await self._add(request, body)

    async def _add(self, request: Request, body: SecretIdBody) -> Response:
        secret_id, secret = await self._engine.add_secret_id(role_name(request.params["name"]), body)
        return Response(
            data={
                "secret_id": secret_id,
                "secret_id_accessor": secret.accessor,
                "secret_id_num_uses": secret.num_uses,
                "secret_id_ttl": secret.ttl,
            }
        )

    async def _accessors(self, request: Request, _body: NoBody) -> Response:
        role = await self._engine.known_role(role_name(request.params["name"]))
        return keys_response(await self._engine.store.accessors(role.uid, **page(request)))

    async def _look(self, request: Request, body: SecretIdName) -> Response:
        found = await self._by_itself(request, body)
        return NO_CONTENT if found is None else Response(data=found[1].shown())

    async def _destroy(self, request: Request, body: SecretIdName) -> Response:
        found = await self._by_itself(request, body)
        if found is not None:
            await self._engine.destroy_secret_id(found[0], found[2])
        return NO_CONTENT

    async def _look_accessor(self, request: Request, body: AccessorName) -> Response:
        return Response(data=(await self._by_accessor(request, body))[1].shown())

    async def _destroy_accessor(self, request: Request, body: AccessorName) -> Response:
        role, _secret, digest = await self._by_accessor(request, body)
        await self._engine.destroy_secret_id(role, digest)
        return NO_CONTENT

    async def _by_itself(self, request: Request, body: SecretIdName) -> tuple[Role, SecretId, str] | None:
        if not body.secret_id:
            raise InvalidRequestError("missing secret_id")
        role = await self._engine.known_role(role_name(request.params["name"]))
        found = await self._engine.find_secret_id(role, body.secret_id)
        return None if found is None else (role, *found)

    async def _by_accessor(self, request: Request, body: AccessorName) -> tuple[Role, SecretId, str]:
        if not body.secret_id_accessor:
            raise InvalidRequestError("missing secret_id_accessor")
        role = await self._engine.known_role(role_name(request.params["name"]))
        found = await self._engine.find_accessor(role, body.secret_id_accessor)
        if found is None:
            raise NotFoundError("failed to find accessor entry for secret_id_accessor")
        return role, *found

    async def _tidy(self, _request: Request, _body: NoBody) -> Response:
        removed = await self._engine.tidy()
        return Response(status=202, warnings=[_TIDIED.format(removed)])

    # --- login ----------------------------------------------------------------------------------------------------

    async def _login(self, request: Request, body: LoginBody) -> Response:
        role_id = body.role_id.strip()
        if not role_id:
            raise InvalidRequestError("missing role_id")
        login = await self._engine.login(role_id, body.secret_id.strip(), address=request.client_address)
        return Response(login=login)
