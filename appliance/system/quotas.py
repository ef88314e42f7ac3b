"""`sys/quotas`: rate limits and what holds for all of them."""

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Literal

import msgspec

from appliance.settings import QuotaConfig, RateLimit, Settings, SystemSettings
from appliance.system.within import check_root
from core.bodies import Duration, StringList
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response

MAX_QUOTAS = 1000
MAX_PATH = 512
MAX_EXEMPT = 200
MAX_RATE = 1_000_000_000
MAX_INTERVAL = 7 * 86_400  # seconds; so that nobody locks operators out of sys/ for good

# "team-a/secret/data/x" to ("team-a/", "secret/", "data/x"); None when nothing is mounted there
Split = Callable[[str], tuple[str, str, str] | None]


def splitter(namespaces: Callable[[], Iterable[str]], mounts: Callable[[str], Iterable[str]]) -> Split:
    """From the paths of all namespaces, and those of the mounts of one: "team-a/" to "secret/", "auth/approle/"."""

    def split(path: str) -> tuple[str, str, str] | None:
        whole = path if path.endswith(("/", "*")) else path + "/"
        namespace = max((known for known in namespaces() if whole.startswith(known)), key=len, default="")
        below = whole[len(namespace) :]
        if not below:
            return namespace, "", ""
        for mount in mounts(namespace):
            if below.startswith(mount):
                return namespace, mount, path[len(namespace) + len(mount) :]
        return None

    return split


class RateLimitBody(msgspec.Struct):
    """A rate limit. `type` is only ever "rate-limit"; a missing interval is one second."""

    rate: Annotated[float, msgspec.Meta(gt=0, le=MAX_RATE)]
    type: Literal["rate-limit", ""] = ""
    path: str = ""
    role: str = ""
    interval: Duration | None = None
    block_interval: Duration = Duration()
    inheritable: bool | None = None


class QuotaConfigBody(msgspec.Struct):
    """What is absent keeps its value."""

    rate_limit_exempt_paths: StringList | None = None
    enable_rate_limit_audit_logging: bool | None = None
    enable_rate_limit_response_headers: bool | None = None


class QuotaRoutes:
    """Reads and changes the quotas; they are in force on every worker from its next request on."""

    def __init__(self, settings: SystemSettings, split: Split) -> None:
        """`split` takes a path, a namespace's too, into namespace, mount and the rest."""
        self._settings = settings
        self._split = split

    def routes(self) -> list[Route]:
        """Below sys/."""
        names = Method(handler=self.names, mutates=False, summary="The names of all rate limits.")
        return [
            Route(
                pattern="quotas/rate-limit",
                methods={Operation.LIST: names, Operation.READ: names},
                help="The rate-limit quotas: how often one client address may ask.",
            ),
            Route(
                pattern="quotas/rate-limit/{name}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="Read a rate limit."),
                    Operation.UPDATE: Method(
                        handler=self.write, body=RateLimitBody, summary="Create or replace a rate limit."
                    ),
                    Operation.DELETE: Method(handler=self.delete, summary="Delete a rate limit."),
                },
                help="One rate limit, for a namespace, a mount, a path below it, or a role of a login method.",
            ),
            Route(
                pattern="quotas/config",
                methods={
                    Operation.READ: Method(
                        handler=self.read_config, mutates=False, summary="What holds for all quotas."
                    ),
                    Operation.UPDATE: Method(
                        handler=self.write_config, body=QuotaConfigBody, summary="Set what holds for all quotas."
                    ),
                },
                help="Exempt paths, response headers and audit records of rate limits.",
            ),
        ]

    async def names(self, request: Request, _body: object) -> Response:
        """404 when there are none, as for every empty list."""
        check_root(request)
        if not self._settings.value.quotas:
            raise NotFoundError("")
        return Response(data={"keys": sorted(self._settings.value.quotas)})

    async def read(self, request: Request, _body: object) -> Response:
        """With the path as it was given."""
        check_root(request)
        quota = self._settings.value.quotas.get(request.params["name"])
        if quota is None:
            raise NotFoundError("")
        return Response(data=_view(quota))

    async def write(self, request: Request, body: RateLimitBody) -> Response:
        """Refused when another quota stands for the very same path and role: neither could decide."""
        check_root(request)
        quota = self._quota(request.params["name"], body)

        def put(settings: Settings) -> Settings:
            rest = {name: other for name, other in settings.quotas.items() if name != quota.name}
            _check_place(quota, rest)
            return msgspec.structs.replace(settings, quotas={**rest, quota.name: quota})

        await self._settings.change(put)
        return NO_CONTENT

    def _quota(self, name: str, body: RateLimitBody) -> RateLimit:
        if not name.isprintable() or len(name) > 128:
            raise InvalidRequestError("the name of a quota is printable and has at most 128 characters")
        if not math.isfinite(body.rate):
            raise InvalidRequestError("rate must be a number")
        interval = 1 if body.interval is None else body.interval
        if not 1 <= interval <= MAX_INTERVAL or body.block_interval > MAX_INTERVAL:
            raise InvalidRequestError("interval must be at least one second, and both intervals at most seven days")
        path = body.path.removeprefix("/")
        namespace, mount, rest = self._place(path)
        if body.inheritable and mount:
            raise InvalidRequestError("only the quota of a namespace can be inheritable")
        if body.role and not mount.startswith("auth/"):
            raise InvalidRequestError("role needs the path of a login method, such as auth/approle/")
        return RateLimit(
            name=name,
            path=path,
            namespace=namespace,
            mount=mount,
            rest=rest,
            role=body.role,
            rate=body.rate,
            interval=interval,
            block_interval=body.block_interval,
            inheritable=body.inheritable if body.inheritable is not None else not path,
        )

    def _place(self, path: str) -> tuple[str, str, str]:
        if len(path) > MAX_PATH or not path.isprintable() or ".." in path.split("/") or "*" in path[:-1]:
            raise InvalidRequestError(
                f"path is printable, at most {MAX_PATH} characters, with at most one * at its end"
            )
        if not path:
            return "", "", ""
        found = self._split(path)
        if found is None:
            raise InvalidRequestError("path must name a namespace or a mount that exists")
        return found

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        check_root(request)
        name = request.params["name"]

        def remove(settings: Settings) -> Settings:
            rest = {other: quota for other, quota in settings.quotas.items() if other != name}
            return msgspec.structs.replace(settings, quotas=rest)

        await self._settings.change(remove)
        return NO_CONTENT

    async def read_config(self, request: Request, _body: object) -> Response:
        """The exempt paths, and two switches."""
        check_root(request)
        config = self._settings.value.quota_config
        return Response(
            data={
                "enable_rate_limit_audit_logging": config.audit_logging,
                "enable_rate_limit_response_headers": config.response_headers,
                "rate_limit_exempt_paths": list(config.exempt_paths),
            }
        )

    async def write_config(self, request: Request, body: QuotaConfigBody) -> Response:
        """Change what is given."""
        check_root(request)
        exempt = body.rate_limit_exempt_paths
        if exempt is not None and (len(exempt) > MAX_EXEMPT or any(len(path) > MAX_PATH for path in exempt)):
            raise InvalidRequestError(f"at most {MAX_EXEMPT} paths of {MAX_PATH} characters can be exempt")
        if exempt is not None and any(path == "*" for path in exempt):
            raise InvalidRequestError("the exempt path * would switch every quota off; delete the quotas instead")

        def put(settings: Settings) -> Settings:
            return msgspec.structs.replace(settings, quota_config=_altered(settings.quota_config, body))

        await self._settings.change(put)
        return NO_CONTENT


def _altered(old: QuotaConfig, body: QuotaConfigBody) -> QuotaConfig:
    exempt, logging = body.rate_limit_exempt_paths, body.enable_rate_limit_audit_logging
    headers = body.enable_rate_limit_response_headers
    return QuotaConfig(
        exempt_paths=old.exempt_paths if exempt is None else tuple(path.removeprefix("/") for path in exempt),
        audit_logging=old.audit_logging if logging is None else logging,
        response_headers=old.response_headers if headers is None else headers,
    )


def _check_place(quota: RateLimit, others: dict[str, RateLimit]) -> None:
    if len(others) >= MAX_QUOTAS:
        raise InvalidRequestError(f"there are {MAX_QUOTAS} quotas already; delete some first")
    where = (quota.namespace, quota.mount, quota.rest, quota.role)
    for other in others.values():
        if (other.namespace, other.mount, other.rest, other.role) == where:
            raise InvalidRequestError(f'quota rule with similar properties exists under the name "{other.name}"')


def _view(quota: RateLimit) -> dict[str, object]:
    return {
        "name": quota.name,
        "type": "rate-limit",
        "path": quota.path,
        "role": quota.role,
        "rate": int(quota.rate) if quota.rate.is_integer() else quota.rate,  # as Go writes numbers
        "interval": quota.interval,
        "block_interval": quota.block_interval,
        "inheritable": quota.inheritable,
    }
