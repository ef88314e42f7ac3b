"""Early warnings: an issuer that ends, and a role that it can no longer serve in full."""

import pytest
from msgspec.structs import replace

from pki.authority import Authority, Issuer
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
