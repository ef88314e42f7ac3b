"""Standard Webhooks 1.0.0: keys and signatures."""

from __future__ import annotations

import base64

import pytest

from appliance.webhooks.signature import format_key, parse_key, signature_header
from core.errors import InvalidRequestError
from core.secret import Secret

# github.com/standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py, test_sign_function
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = {"message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": 1614265330, "body": b'{"test": 2432232314}'}
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    assert signature_header([Secret(parse_key(KEY))], **MESSAGE) == SIGNATURE


def test_two_keys_make_two_signatures_the_first_key_first() -> None:
    """ "Webhook headers": a space delimited list, for rotation without downtime."""
    first, second = signature_header([Secret(b"x" * 32), Secret(parse_key(KEY))], **MESSAGE).split(" ")
    assert second == SIGNATURE
    assert first.startswith("v1,")
    assert first != second


def test_a_key_is_shown_as_it_is_read() -> None:
    assert format_key(parse_key(KEY)) == KEY


def _whsec(length: int) -> str:
    return "whsec_" + base64.b64encode(b"k" * length).decode()


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_key_of_24_to_64_bytes_is_taken(length: int) -> None:
    assert parse_key(_whsec(length)) == b"k" * length


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("whsec_", id="no-bytes"),
        pytest.param(_whsec(23), id="short"),
        pytest.param(_whsec(65), id="long"),
        pytest.param(KEY.removeprefix("whsec_"), id="no-prefix"),
        pytest.param(KEY.replace("whsec_", "whsk_"), id="asymmetric"),
        pytest.param(_whsec(32)[:-1], id="no-padding"),
        pytest.param(_whsec(32)[:-2] + "!=", id="not-base64"),
        pytest.param("whsec_" + "é" * 32, id="not-ascii"),
    ],
)
def test_another_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse_key(text)
    assert len(text) < 12 or text[6:] not in str(refused.value)
