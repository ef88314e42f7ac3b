"""Answers that HTTP caches may keep and ask about again (RFC 9110, 8.8.3 and 13.1.2)."""

from collections.abc import Mapping

from core.requests import RawBody, Request, Response


def tagged(request: Request, body: bytes, *, content_type: str, tag: str, headers: Mapping[str, str]) -> Response:
    """The body under an entity tag; 304 and nothing for who has it already. `headers` hold a Cache-Control."""
    own = f'"{tag}"'
    is_known = _names(request.headers.get("If-None-Match", ""), own)
    raw = RawBody(body=b"" if is_known else body, content_type=content_type, headers={**headers, "ETag": own})
    return Response(status=304 if is_known else 200, raw=raw)


def _names(wanted: str, tag: str) -> bool:
    """Whether a list of entity tags has this one; compared weakly, as section 13.1.2 says."""
    return bool(wanted) and any(each.strip().removeprefix("W/") in (tag, "*") for each in wanted.split(","))
