"""approle: who gets in, and who does not."""

import asyncio
import hmac

import pytest

from auth.approle.hashes import IdHashes
from core.errors import InvalidRequestError, LoginFailedError
from core.protocols import Entry
from core.requests import LoginAlias
from tests.support.memory_storage import MemoryStorage
from tests.unit.auth.login_mount import ApproleMount


async def test_a_login_brings_what_the_role_says(approle: ApproleMount) -> None:
    role_id = await approle.role(
        token_policies="web",
        token_ttl=60,
        token_max_ttl=120,
        token_explicit_max_ttl=240,
        token_period=30,
        token_num_uses=9,
        token_bound_cidrs="10.0.0.0/8",
        token_no_default_policy=True,
        token_type="service",
    )
    login = await approle.login(role_id, await approle.secret_id())
    assert (login.display_name, login.policies, login.no_default_policy) == ("", ("web",), True)
    assert (login.ttl, login.max_ttl, login.explicit_max_ttl, login.period, login.num_uses) == (60, 120, 240, 30, 9)
    assert (login.bound_cidrs, login.token_type, login.renewable) == (("10.0.0.0/8",), "service", True)
    assert login.alias == LoginAlias(name=role_id, metadata={"role_name": "web"})
    assert login.metadata == login.renewal == {"role_name": "web"}


async def test_a_secret_id_narrows_where_its_tokens_are_used(approle: ApproleMount) -> None:
    role_id = await approle.role(token_bound_cidrs="10.0.0.0/8")
    login = await approle.login(role_id, await approle.secret_id(token_bound_cidrs="10.1.0.0/16"))
    assert login.bound_cidrs == ("10.1.0.0/16",)


async def test_a_role_that_was_narrowed_since_binds_older_secret_ids_too(approle: ApproleMount) -> None:
    role_id = await approle.role(token_bound_cidrs="10.0.0.0/8")
    wide = await approle.secret_id(token_bound_cidrs="10.0.0.0/9")
    await approle.write("role/web/token-bound-cidrs", token_bound_cidrs="10.1.0.0/16")
    assert (await approle.login(role_id, wide)).bound_cidrs == ("10.1.0.0/16",)


async def test_a_role_that_was_moved_since_does_not_widen_a_secret_id(approle: ApproleMount) -> None:
    role_id = await approle.role(token_bound_cidrs="10.0.0.0/8")
    secret_id = await approle.secret_id(token_bound_cidrs="10.1.0.0/16,10.2.0.0/16")
    await approle.write("role/web/token-bound-cidrs", token_bound_cidrs="10.2.3.0/24,10.3.0.0/16")
    assert (await approle.login(role_id, secret_id)).bound_cidrs == ("10.2.3.0/24",)
    await approle.write("role/web/token-bound-cidrs", token_bound_cidrs="192.168.0.0/16")
    with pytest.raises(InvalidRequestError, match="lie outside"):
        await approle.login(role_id, secret_id)


async def test_metadata_of_one_machine_stays_out_of_the_alias_of_all(approle: ApproleMount) -> None:
    role_id = await approle.role()
    login = await approle.login(role_id, await approle.secret_id(metadata="pod=7"))
    assert login.alias is not None
    assert (login.metadata, login.alias.metadata) == ({"pod": "7", "role_name": "web"}, {"role_name": "web"})


async def failed(approle: ApproleMount, role_id: str, secret_id: str) -> str:
    with pytest.raises(LoginFailedError) as refused:
        await approle.login(role_id, secret_id)
    return refused.value.sentence


async def test_every_wrong_credential_is_answered_alike(approle: ApproleMount) -> None:
    nobody = await failed(approle, "nobody", "wrong")  # before there is any role
    role_id = await approle.role()
    other_id = await approle.role("other")
    expired, destroyed = await approle.secret_id(ttl=60), await approle.secret_id()
    await approle.write("role/web/secret-id/destroy", secret_id=destroyed)
    others = await approle.secret_id("other")
    approle.clock.advance(60)
    accessor = (await approle.list("role/other/secret-id"))[0]
    cases = [("nobody", others), (role_id, "wrong"), (role_id, expired), (role_id, destroyed), (role_id, others)]
    cases += [(other_id, accessor), (role_id, "\ud800"), ("\ud800", "x"), (role_id, "x" * 100_000), ("web", others)]
    assert {await failed(approle, *case) for case in cases} == {nobody} == {"invalid role or secret ID"}


def test_ids_are_hashed_by_hmac_sha256() -> None:
    """FIPS 198-1."""
    hashes = IdHashes(bytes(range(32)))
    for digest, domain in ((hashes.role_id, b"role-id:"), (hashes.secret_id, b"secret-id:")):
        assert digest("é") == hmac.digest(bytes(range(32)), domain + "é".encode(), "sha256").hex()


async def test_an_unknown_role_costs_the_same_reads_as_a_wrong_secret_id(
    approle: ApproleMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    role_id = await approle.role()
    await approle.login(role_id, await approle.secret_id())  # a role in use is in memory
    reads: list[str] = []
    original = MemoryStorage.get

    async def counting(self: MemoryStorage, path: str) -> Entry | None:
        reads.append(path.partition("/")[0])
        return await original(self, path)

    monkeypatch.setattr(MemoryStorage, "get", counting)
    await failed(approle, role_id, "wrong")
    assert reads == ["secret-id"]
    reads.clear()
    await failed(approle, "nobody", "wrong")
    assert reads == ["role-id"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(("", "x"), "missing role_id"), (("  ", ""), "missing role_id"), (("r", ""), "missing secret_id")],
)
async def test_a_login_without_credentials_is_told_what_is_missing(
    approle: ApproleMount, body: tuple[str, str], sentence: str
) -> None:
    await approle.role(role_id="r")
    with pytest.raises(InvalidRequestError, match=sentence) as refused:
        await approle.login(*body)
    assert not isinstance(refused.value, LoginFailedError)


async def test_missing_secret_ids_tell_nothing_of_roles(approle: ApproleMount) -> None:
    role_id = await approle.role()
    for name in (role_id, "nobody"):
        with pytest.raises(InvalidRequestError, match=r"^missing secret_id$"):
            await approle.login(name)


async def test_blanks_around_credentials_do_not_count(approle: ApproleMount) -> None:
    role_id = await approle.role()
    await approle.login(f" {role_id}\n", f"{await approle.secret_id()}\n")


async def test_a_role_without_secret_ids_lets_in_by_address(approle: ApproleMount) -> None:
    role_id = await approle.role(bind_secret_id=False, secret_id_bound_cidrs="10.0.0.0/8")
    await approle.login(role_id, address="10.1.2.3")
    for address in ("11.0.0.1", ""):
        with pytest.raises(InvalidRequestError, match="unauthorized by CIDR restrictions on the role"):
            await approle.login(role_id, address=address)


async def test_a_secret_id_is_bound_to_its_networks(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id(cidr_list="10.0.0.0/8", num_uses=1)
    with pytest.raises(InvalidRequestError, match="CIDR restrictions on the secret ID"):
        await approle.login(role_id, secret_id, address="11.0.0.1")
    await approle.login(role_id, secret_id, address="::ffff:10.0.0.1")  # the refused one took no use


async def test_a_login_from_elsewhere_takes_no_use(approle: ApproleMount) -> None:
    role_id = await approle.role(secret_id_bound_cidrs="10.0.0.0/8")
    secret_id = await approle.secret_id(num_uses=1)
    with pytest.raises(InvalidRequestError, match="restrictions on the role"):
        await approle.login(role_id, secret_id, address="11.0.0.1")
    await approle.login(role_id, secret_id, address="10.0.0.1")


async def test_of_n_uses_exactly_n_succeed_over_two_workers(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id(num_uses=5)
    workers = (approle, approle.other_worker())
    tries = [workers[i % 2].login(role_id, secret_id) for i in range(12)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(answer, LoginFailedError) for answer in answers) == 7
    with pytest.raises(InvalidRequestError, match="invalid role or secret ID"):
        await workers[1].login(role_id, secret_id)


async def test_uses_are_counted_down(approle: ApproleMount) -> None:
    role_id = await approle.role(secret_id_num_uses=2)
    secret_id = await approle.secret_id()
    await approle.login(role_id, secret_id)
    assert (await approle.write("role/web/secret-id/lookup", secret_id=secret_id)).data["secret_id_num_uses"] == 1


async def test_a_login_of_unlimited_uses_writes_nothing_and_reads_memory(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id(ttl=600)
    await approle.login(role_id, secret_id)
    commits = approle.storage._state.commits
    approle.storage._state.sealed = True  # whatever asks the store now, fails
    await approle.login(role_id, secret_id)
    assert approle.storage._state.commits == commits


async def test_a_destroyed_secret_id_is_refused_by_the_other_worker(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id()
    other = approle.other_worker()
    await other.login(role_id, secret_id)
    await approle.write("role/web/secret-id/destroy", secret_id=secret_id)
    await failed(other, role_id, secret_id)


async def test_a_changed_role_counts_at_once_everywhere(approle: ApproleMount) -> None:
    role_id = await approle.role()
    secret_id = await approle.secret_id()
    other = approle.other_worker()
    await other.login(role_id, secret_id)
    await approle.write("role/web/policies", token_policies="new")
    assert (await other.login(role_id, secret_id)).policies == ("new",)


async def test_a_renewal_takes_the_roles_present_ttls(approle: ApproleMount) -> None:
    await approle.role(token_ttl=60)
    await approle.write("role/web", token_ttl=90, token_max_ttl=900)
    renewed = await approle.engine.renew_login({"role_name": "web"})
    assert (renewed.ttl, renewed.max_ttl) == (90, 900)


async def test_a_role_that_is_gone_renews_nothing(approle: ApproleMount) -> None:
    await approle.role()
    await approle.delete("role/web")
    with pytest.raises(InvalidRequestError, match='role "web" does not exist during renewal'):
        await approle.engine.renew_login({"role_name": "web"})
