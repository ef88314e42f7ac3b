"""config/urls and config/cluster: where certificates of the mount say that more is to be found."""

from typing import Any

import msgspec
from msgspec.structs import replace

from core.bodies import StringList
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response
from pki.authority import Authority, Urls
from pki.parts import Parts
from pki.store import AuthorityChange
from pki.url_rules import check_urls, is_absolute_url


class UrlsBody(msgspec.Struct, kw_only=True):
    """Members that are given; None: as they are."""

    issuing_certificates: StringList | None = None
    crl_distribution_points: StringList | None = None
    delta_crl_distribution_points: StringList | None = None
    ocsp_servers: StringList | None = None
    enable_templating: bool | None = None


class ClusterBody(msgspec.Struct, kw_only=True):
    """Members that are given; None: as they are."""

    path: str | None = None
    aia_path: str | None = None


class ConfigRoutes:
    """Of the whole mount."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="config/urls",
                methods={
                    Operation.READ: Method(handler=self._read_urls, mutates=False, summary="URLs in certificates"),
                    Operation.UPDATE: Method(handler=self._write_urls, body=UrlsBody, summary="Set them"),
                },
                help="They stand in certificates that are issued from now on. An issuer may have its own.",
            ),
            Route(
                pattern="config/cluster",
                methods={
                    Operation.READ: Method(handler=self._read_cluster, mutates=False, summary="Where this mount is"),
                    Operation.UPDATE: Method(handler=self._write_cluster, body=ClusterBody, summary="Set it"),
                },
                help="What {{cluster_path}} and {{cluster_aia_path}} in templates of URLs stand for.",
            ),
        ]

    async def _read_urls(self, _request: Request, _body: NoBody) -> Response:
        return Response(data=_urls_data((await self._store.authority()).index.urls))

    async def _write_urls(self, _request: Request, body: UrlsBody) -> Response:
        async def work(change: AuthorityChange) -> list[str]:
            given = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
            members = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
            urls = replace(change.index.urls, **members)
            warnings = check_urls(urls, change.index.cluster)
            change.set_index(replace(change.index, urls=urls))
            return warnings

        warnings = await self._store.change_authority(work)
        return Response(data=_urls_data((await self._store.authority()).index.urls), warnings=warnings or None)

    async def _read_cluster(self, _request: Request, _body: NoBody) -> Response:
        return Response(data=_cluster_data(await self._store.authority()))

    async def _write_cluster(self, _request: Request, body: ClusterBody) -> Response:
        for member, url in (("path", body.path), ("aia_path", body.aia_path)):
            if url and not is_absolute_url(url):
                raise InvalidRequestError(
                    f"invalid, non-URL path given to cluster: {member} is like http://vault.example.com/v1/pki"
                )

        async def work(change: AuthorityChange) -> None:
            cluster = change.index.cluster
            path = cluster.path if body.path is None else body.path
            aia_path = cluster.aia_path if body.aia_path is None else body.aia_path
            cluster = replace(cluster, path=path.rstrip("/"), aia_path=aia_path.rstrip("/"))
            change.set_index(replace(change.index, cluster=cluster))

        await self._store.change_authority(work)
        return Response(data=_cluster_data(await self._store.authority()))


def _urls_data(urls: Urls) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(urls)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


def _cluster_data(authority: Authority) -> dict[str, Any]:
    cluster = authority.index.cluster
    return {"path": cluster.path, "aia_path": cluster.aia_path}
