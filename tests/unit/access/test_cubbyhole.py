"""cubbyhole/: what a token stores is its own, and goes with it."""

import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.cubbyhole import cubbyhole_attachment, cubbyhole_engine
from appliance.access.request import AccessRequest
from appliance.access.tokens import TokenSpec, TokenStore
from appliance.router import RouteTable
from core.bodies import parse_body
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError, RequestTooLargeError
from core.requests import NO_CONTENT, Operation


@pytest.fixture
async def tokens(access):
    tokens = TokenStore(access.storage, access.clock, attachments=[cubbyhole_attachment])
    await tokens.open()
    return tokens


@pytest.fixture
def call(access):
    routes = RouteTable(cubbyhole_engine(access.storage).routes)

    async def _call(entry, path, operation=Operation.READ, /, **data):
        route, params = routes.find(path)
        method = route.methods[operation]
        request = AccessRequest(
            request_id="r", operation=operation, mount_path="cubbyhole/", path=path, params=params, data=data,
            token="t", entry=entry, acl=ROOT_ACL,
        )  # fmt: skip
        return await method.handler(request, parse_body(data, method.body))

    return _call


def rows(access):
    return [path for path in access.storage._state.entries if path.startswith("core/cubbyhole/")]


async def test_a_token_reads_lists_and_deletes_what_it_wrote(access, call):
    _token, entry = await access.child()
    assert await call(entry, "a/b", Operation.UPDATE, k="v", n=1) is NO_CONTENT
    await call(entry, "c", Operation.UPDATE, k="w")
    assert (await call(entry, "a/b")).data == {"k": "v", "n": 1}
    assert (await call(entry, "", Operation.LIST)).data == {"keys": ["a/", "c"]}
    for folder in ("a", "a/"):
        assert (await call(entry, folder, Operation.LIST)).data == {"keys": ["b"]}
    assert await call(entry, "a/b", Operation.DELETE) is NO_CONTENT
    assert await call(entry, "a/b", Operation.DELETE) is NO_CONTENT
    with pytest.raises(NotFoundError):
        await call(entry, "a/b")


async def test_no_other_token_sees_it(access, call):
    _token, entry = await access.child()
    await call(entry, "a", Operation.UPDATE, k="v")
    for _token, other in (await access.child(), await access.child(entry)):
        with pytest.raises(NotFoundError):
            await call(other, "a")
        with pytest.raises(NotFoundError):
            await call(other, "", Operation.LIST)


@pytest.mark.parametrize("path", ["a/", "a//b", "../x/a", "a/../b", ".", "/a", "x/" * 32 + "x"])
async def test_paths_that_are_refused(access, call, path):
    _token, entry = await access.child()
    for operation in (Operation.READ, Operation.UPDATE, Operation.DELETE):
        with pytest.raises(InvalidRequestError, match="a path here has"):
            await call(entry, path, operation, k="v")
    assert not rows(access)


async def test_a_value_needs_members_and_may_not_be_too_large(access, call):
    _token, entry = await access.child()
    with pytest.raises(InvalidRequestError, match="missing data fields"):
        await call(entry, "a", Operation.UPDATE)
    with pytest.raises(RequestTooLargeError):
        await call(entry, "a", Operation.UPDATE, k="v" * 1024 * 1024)


async def test_batch_tokens_have_none(access, call, tokens):
    batch = TokenSpec(policies=("default",), path="auth/token/create", type="batch", renewable=False)
    _token, entry = await tokens.create(batch, parent=await access.root())
    for operation in (Operation.READ, Operation.UPDATE, Operation.DELETE, Operation.LIST):
        with pytest.raises(
            InvalidRequestError, match=r'^cubbyhole operations are only supported by "service" type tokens$'
        ):
            await call(entry, "a", operation, k="v")


async def test_it_goes_with_the_token_however_much_it_holds(access, call, tokens):
    _token, entry = await access.child()
    _token, other = await access.child()
    for number in range(350):
        await call(entry, f"f{number % 7}/{number % 3}/v{number}", Operation.UPDATE, k="v")
    await call(other, "a", Operation.UPDATE, k="v")
    await tokens.revoke(entry.record_id)
    await tokens.revoke_expired()
    assert await tokens.find_accessor(entry.accessor) is None
    assert len(rows(access)) == 1


async def test_a_token_that_is_gone_leaves_nothing_behind(access, call, tokens):
    _token, entry = await access.child()
    await tokens.revoke(entry.record_id)
    with pytest.raises(PermissionDeniedError):
        await call(entry, "a", Operation.UPDATE, k="v")
    assert not rows(access)
