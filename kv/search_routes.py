"""search: secrets by name and metadata, a page at a time, each only for those who may know of it."""

from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError
from core.requests import Access, Operation, Request, Response
from kv.parts import Parts
from kv.search import Row, Sought, match_name, match_secret
from kv.walk import access_of, span_of, walk

_LONGEST = 1024  # characters of what is sought; nothing that is stored is longer but names


class SearchRoutes:
    """A name shows to whom it could be listed or read; metadata only matches for those who may read it."""

    def __init__(self, parts: Parts) -> None:
        self._store = parts.store
        self._cursors = parts.cursors

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [
            Route(
                pattern="search",
                methods={
                    Operation.READ: Method(
                        handler=self._search,
                        mutates=False,
                        asks_access=True,
                        summary="Secrets by name, owner, classification and custom metadata",
                    )
                },
                help="Choose by `q` (part of a name or of metadata), `owner`, `classification` and `custom_metadata`"
                " (key=value). Shows what the caller may see, by pages with `prefix`, `limit` and `after`.",
            )
        ]

    async def _search(self, request: Request, _body: NoBody) -> Response:
        sought, span, access = sought_of(request), await span_of(request, self._cursors), access_of(request)
        page = await walk(
            self._store,
            span,
            is_visible=lambda name: is_visible(access, name),
            look=lambda name: self._look(name, sought, access),
        )
        after = await self._cursors.hide(page.last) if page.last else ""
        return Response(data={"secrets": page.rows, "next": after})

    async def _look(self, name: str, sought: Sought, access: Access) -> Row | None:
        if not access.allows(f"metadata/{name}", "read"):
            return match_name(name, sought)
        secret = await self._store.glance(name)
        return None if secret is None else match_secret(name, secret, sought)


def is_visible(access: Access, name: str) -> bool:
    """Whether the caller may know that there is a secret of that name."""
    folder = name[: name.rfind("/") + 1]
    return (
        access.allows(f"metadata/{name}", "read")
        or access.allows(f"data/{name}", "read")
        or access.allows(f"metadata/{folder}", "list", "scan")
    )


def sought_of(request: Request) -> Sought:
    """What the query asks for. Raises InvalidRequestError for nothing."""
    query = {name: request.query.get(name, "") for name in ("q", "owner", "classification", "custom_metadata")}
    if not any(query.values()):
        raise InvalidRequestError("say what is sought: q, owner, classification or custom_metadata=key=value")
    for name, text in query.items():
        if len(text) > _LONGEST:
            raise InvalidRequestError(f"{name} has at most {_LONGEST} characters")
    return Sought(query["q"], query["owner"], query["classification"], _pair(query["custom_metadata"]))


def _pair(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise InvalidRequestError("custom_metadata must be key=value")
    return key, value
