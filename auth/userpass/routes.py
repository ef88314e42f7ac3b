"""Userpass over Vault's API: paths, bodies and the shape of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import msgspec

from auth.listing import keys_response, page
from auth.userpass.engine import UserpassEngine
from auth.userpass.passwords import HashingThreads, Passwords
from auth.userpass.users import UserBody, check_no_hash, is_user_name, user_name
from core.engine import Engine, EngineContext, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Login, Operation, Request, Response


class PasswordBody(msgspec.Struct):
    """users/<name>/password, and login/<name>."""

    password: str = ""
    password_hash: str = ""


@cache
def _threads() -> HashingThreads:
    """Of this process."""
    return HashingThreads()


def create(context: EngineContext) -> Engine:
    """The entry point `userpass`."""
    return UserpassRoutes(UserpassEngine(context.storage, context.mount, Passwords(_threads())))


class UserpassRoutes:
    """The routes of one mount."""

    def __init__(self, engine: UserpassEngine) -> None:
        self._engine = engine
        self.routes: Sequence[Route] = [replace(route, ignores_case=True) for route in self._routes()]

    async def close(self) -> None:
        """Nothing is held here; the threads are the process's."""

    async def renew_login(self, renewal: Mapping[str, str]) -> Login:
        """As RenewingMethod: a user that is gone, or has other policies now, renews nothing."""
        return await self._engine.renewed(renewal)

    async def policies_of(self, name: str) -> tuple[str, ...] | None:
        """As NamedRoles: the policies of a user's tokens."""
        return await self._engine.policies_of(name.lower())

    def _routes(self) -> list[Route]:
        update = Operation.UPDATE
        put = Method(handler=self._put, body=UserBody, summary="Make or change a user")
        return [
            Route(
                pattern="users",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="Names of the users")},
                help="The users of this mount.",
            ),
            Route(
                pattern="users/{name}",
                methods={
                    Operation.CREATE: put,
                    update: put,
                    Operation.READ: Method(handler=self._read, mutates=False, summary="A user, without the password"),
                    Operation.DELETE: Method(handler=self._delete, summary="Remove a user"),
                },
                exists=self._exists,
                help="A user: a password, and what the tokens of the user's logins may do.",
            ),
            Route(
                pattern="users/{name}/password",
                methods={update: Method(handler=self._set_password, body=PasswordBody, summary="Change the password")},
                help="The user's password; it is kept as an Argon2id hash.",
            ),
            Route(
                pattern="users/{name}/policies",
                methods={update: Method(handler=self._set_policies, body=UserBody, summary="Change the policies")},
                help="The policies of the user's tokens.",
            ),
            Route(
                pattern="login/{name}",
                methods={update: Method(handler=self._login, body=PasswordBody, summary="Log in")},
                unauthenticated=True,
                login_name=lambda request, _body: request.params["name"].lower(),
                help="Logs in with a password.",
            ),
        ]

    async def _list(self, request: Request, _body: NoBody) -> Response:
        return keys_response(await self._engine.names(**page(request)))

    async def _exists(self, request: Request) -> bool:
        name = request.params["name"]
        return is_user_name(name) and await self._engine.user(name.lower()) is not None

    async def _put(self, request: Request, body: UserBody) -> Response:
        warnings = await self._engine.put_user(user_name(request.params["name"]), body)
        return Response(warnings=warnings) if warnings else NO_CONTENT

    async def _read(self, request: Request, _body: NoBody) -> Response:
        user = await self._engine.user(user_name(request.params["name"]))
        if user is None:
            raise NotFoundError("")
        return Response(data=user.token.shown())

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._engine.delete_user(user_name(request.params["name"]))
        return NO_CONTENT

    async def _set_password(self, request: Request, body: PasswordBody) -> Response:
        check_no_hash(body.password_hash)
        await self._engine.set_password(user_name(request.params["name"]), body.password)
        return NO_CONTENT

    async def _set_policies(self, request: Request, body: UserBody) -> Response:
        if body.token_policies is None and body.policies is None:
            raise InvalidRequestError("missing token_policies")
        await self._engine.set_policies(user_name(request.params["name"]), body)
        return NO_CONTENT

    async def _login(self, request: Request, body: PasswordBody) -> Response:
        login = await self._engine.login(request.params["name"], body.password, address=request.client_address)
        return Response(login=login)
