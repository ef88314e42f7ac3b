"""The capability `subscribe` and the event types it is for, as policies write them."""

import pytest

from appliance.access.acl import ROOT_ACL, Acl
from appliance.access.policy_text import parse_policy
from appliance.access.rules import Policy
from appliance.access.subject import Facts
from core.errors import InvalidRequestError


def acl(*texts: str) -> Acl:
    return Acl(("", Policy(name=f"p{i}", text=text, rules=parse_policy("", text))) for i, text in enumerate(texts))


def block(settings: str, path: str = "secret/*") -> str:
    return f'path "{path}" {{\n{settings}\n}}'


@pytest.mark.parametrize(
    ("settings", "kind", "granted"),
    [
        pytest.param('capabilities = ["subscribe"]', "kv-v2/data-write", True, id="any"),
        pytest.param('capabilities = ["read"]', "kv-v2/data-write", False, id="read"),
        pytest.param(
            'capabilities = ["subscribe"]\nsubscribe_event_types = ["kv-v2/data-*"]',
            "kv-v2/data-write",
            True,
            id="fits",
        ),
        pytest.param(
            'capabilities = ["subscribe"]\nsubscribe_event_types = ["kv-v2/data-*"]', "kv-v2/destroy", False, id="other"
        ),
        pytest.param('capabilities = ["subscribe", "deny"]', "kv-v2/data-write", False, id="deny"),
    ],
)
def test_which_types_are_granted(settings: str, kind: str, granted: bool) -> None:
    assert acl(block(settings)).subscribes("secret/data/a", kind) is granted


def test_blocks_with_the_same_path_add_their_types_up() -> None:
    one, two = (
        block(f'capabilities = ["subscribe"]\nsubscribe_event_types = ["{kind}"]') for kind in ("kv-v1/*", "kv-v2/*")
    )
    both = acl(one, two)
    assert [both.subscribes("secret/a", f"{kind}/write") for kind in ("kv-v1", "kv-v2", "pki")] == [True, True, False]


def test_the_most_specific_path_decides_alone() -> None:
    found = acl(block('capabilities = ["subscribe"]'), block('capabilities = ["update"]', "secret/data/a"))
    assert found.subscribes("secret/data/b", "x")
    assert not found.subscribes("secret/data/a", "x")


def test_a_condition_counts_for_events_too() -> None:
    found = acl(block('capabilities = ["subscribe"]\nsource_cidrs = ["10.0.0.0/8"]'))
    inside, outside = (Facts(now=0, address=address, headers={}, data={}) for address in ("10.1.1.1", "192.0.2.1"))
    assert found.subscribes("secret/a", "x", inside)
    assert not found.subscribes("secret/a", "x", outside)
    assert not found.subscribes("secret/a", "x")


def test_root_may_subscribe_to_everything() -> None:
    assert ROOT_ACL.subscribes("secret/a", "x")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        pytest.param('capabilities = ["subscribe"]\nsubscribe_event_types = []', "event types", id="none"),
        pytest.param('capabilities = ["subscribe"]\nsubscribe_event_types = "kv*"', "list of strings", id="string"),
        pytest.param('capabilities = ["subscribe"]\nsubscribe_event_types = [""]', "event types", id="empty"),
        pytest.param('capabilities = ["read"]\nsubscribe_event_types = ["*"]', "does nothing", id="without"),
        pytest.param('capabilities = ["deny"]\nsubscribe_event_types = ["*"]', "denied", id="denied"),
    ],
)
def test_types_that_cannot_be_meant_are_refused(settings: str, word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        parse_policy("", block(settings))
