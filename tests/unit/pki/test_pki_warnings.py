"""Early warnings: an issuer that ends, and a role that it can no longer serve in full."""

import pytest
from msgspec.structs import replace

from pki.authority import Authority, Issuer
from pki.measuring import Measuring
from pki.warnings import RoleNeed, Warned, span, warnings_of
from tests.unit.pki.pki_mount import Mount

DAY = 86400


async def warned(
    days_before_the_end: float, *needs: RoleNeed, behaviour: str = "err", **changes: object
) -> list[Warned]:
    mount = Mount()
    issuer_id = await mount.seed_root(years=1)
    issuer = (await mount.parts.store.authority()).issuers[issuer_id]
    issuer = Issuer(replace(issuer.row, leaf_not_after_behavior=behaviour, **changes), issuer.key)
    index = (await mount.parts.store.authority()).index
    authority = Authority(index, {issuer_id: issuer}, {})
    return warnings_of(authority, needs, now=int(issuer.not_after - days_before_the_end * DAY))


async def test_an_issuer_with_time_left_is_no_news() -> None:
    assert await warned(300, RoleNeed("web", "default", 30 * DAY)) == []


async def test_a_role_is_warned_of_before_its_issuer_cannot_serve_it_in_full() -> None:
    [found] = await warned(35, RoleNeed("web", "default", 30 * DAY))
    assert (found.kind, found.role) == ("role_cut_short", "web")
    assert found.sentence == (
        "the role web may grant 30 days, and its issuer root ends too soon for that in 5 days: it refuses them"
    )


@pytest.mark.parametrize(("behaviour", "words"), [("truncate", "cuts them short"), ("permit", "lets them outlive it")])
async def test_the_sentence_says_what_the_issuer_does_then(behaviour: str, words: str) -> None:
    [found, *_] = await warned(31, RoleNeed("web", "root", 30 * DAY + 2 * DAY), behaviour=behaviour)
    assert words in found.sentence
    assert " now: " in found.sentence


async def test_a_role_of_another_issuer_is_not_warned_of() -> None:
    assert await warned(35, RoleNeed("web", "elsewhere", 300 * DAY)) == []


async def test_an_issuer_is_warned_of_a_month_ahead() -> None:
    [found] = await warned(29)
    assert found.kind == "issuer_ends"
    assert "ends in 29 days" in found.sentence


async def test_an_issuer_that_has_ended_is_said_to_have() -> None:
    [found] = await warned(-1, RoleNeed("web", "default", DAY))
    assert found.kind == "issuer_ended"


@pytest.mark.parametrize("changes", [{"revoked_at": 1}], ids=str)
async def test_what_cannot_issue_anyway_is_no_news(changes: dict[str, object]) -> None:
    assert await warned(3, **changes) == []


async def test_the_soonest_comes_first() -> None:
    found = await warned(20, RoleNeed("long", "default", 300 * DAY), RoleNeed("short", "default", 17 * DAY))
    assert [row.role for row in found] == ["long", "short", ""]


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "1m"), (3600, "1h"), (5400, "1h30m"), (47 * 3600, "47h"), (2 * DAY, "2 days")]
)
def test_spans_are_for_people(seconds: int, text: str) -> None:
    assert span(seconds) == text


# --- as an operator meets them ----------------------------------------------------------------------------------------


async def test_a_mount_tells_of_a_role_that_its_issuer_cannot_serve_any_more() -> None:
    mount = Mount()
    await mount.seed_root(years=1)
    await mount.data("update", "roles/web", {"max_ttl": "720h"})
    await mount.data("update", "roles/short", {"max_ttl": "1h"})
    await mount.engine.housekeep()
    assert await mount.data("read", "warnings") == {"warnings": []}
    mount.clock.advance(340 * DAY)
    found = (await mount.data("read", "warnings"))["warnings"]
    assert [(row["kind"], row["role"], row["issuer_name"]) for row in found] == [
        ("crl_overdue", "", "root"),
        ("role_cut_short", "web", "root"),
        ("issuer_ends", "", "root"),
    ]


async def test_a_role_without_a_limit_may_grant_what_the_mount_grants() -> None:
    mount = Mount()
    await mount.seed_root(years=1)
    await mount.data("update", "roles/web", {})
    mount.clock.advance(335 * DAY)  # the mount's longest is 32 days
    assert "role_cut_short" in [row["kind"] for row in (await mount.data("read", "warnings"))["warnings"]]


async def test_the_metrics_name_every_kind_and_count_what_there_is() -> None:
    mount = Mount()
    await mount.seed_root(years=1)
    await mount.engine.housekeep()
    mount.clock.advance(340 * DAY)
    found = {(row.name, *row.labels.values()): row.value for row in await mount.engine.measures()}
    assert found["pki_warnings", "issuer_ends"] == 1
    assert found["pki_warnings", "issuer_ended"] == 0
    assert found["pki_certificates", "valid"] == 1
    assert found["pki_certificates_expiring", "30d"] == 1
    assert found["pki_certificates_expiring", "7d"] == 0
    assert ("pki_crl_next_update_seconds", "root") in {key[:2] for key in found}


async def test_counting_that_takes_long_is_not_done_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    mount, now = Mount(), [0.0]
    asked = []

    async def slow(*_: object, **__: object) -> int:
        asked.append(now[0])
        now[0] += 0.1
        return 0

    monkeypatch.setattr(mount.parts.store.storage, "count_rows", slow)
    measuring = Measuring(mount.parts.store, mount.parts.watch, mount.clock, monotonic=lambda: now[0])
    for now[0] in (0, 15, 60, 90):
        await measuring.measures()
    assert {int(moment) for moment in asked} == {0, 90}
