"""The HTTP client of one webhook. Importing this imports aiohttp: only who has something to send does.

It follows no redirect, keeps no cookies, asks no proxy of the environment, and reads 1 KiB of an answer at most: what
a receiver says beyond its status is of no interest.
"""

import asyncio
import os
import ssl
from dataclasses import dataclass
from functools import lru_cache

import aiohttp
from yarl import URL

from appliance.webhooks.checks import trusting
from appliance.webhooks.signature import signature_header
from appliance.webhooks.webhook import Webhook
from core.clock import Clock

TIMEOUT = 10.0  # seconds, from connecting to the whole of the answer's head
_ANSWER = 1024  # bytes that are read, so that the connection can be used again
_ANSWER_TIME = 1.0  # seconds for that
_MAX_HEAD = 8190  # bytes of one line of the answer's head


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one attempt. `error` is a sentence of ours."""

    status: int = 0  # 0: there was no answer
    error: str = ""
    retry_after: float = 0.0  # seconds that the receiver asked for

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        return not self.error


class Sender:
    """Keeps one connection and uses it again. `close` it."""

    def __init__(self, webhook: Webhook, clock: Clock, *, version: str) -> None:
        self._webhook = webhook
        self._clock = clock
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Mimir/{version}",
            "Accept-Encoding": "identity",
        }
        self._session: aiohttp.ClientSession | None = None

    async def send(self, message_id: str, body: bytes) -> Outcome:
        """One attempt, signed as of now."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._post(message_id, body)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            return Outcome(error=_sentence(exc))

    async def _post(self, message_id: str, body: bytes) -> Outcome:
        url = URL(self._webhook.url, encoded=True)
        headers = self._headers | self._signed(message_id, body)
        async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as response:
            outcome = _outcome(response)
            await _discard(response)
            return outcome

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        now = self._clock.now()
        keys = self._webhook.keys(now)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signature_header(keys, message_id=message_id, timestamp=int(now), body=body),
        }

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = trusting(self._webhook.ca_cert) if self._webhook.ca_cert else _of_the_machine()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=1, keepalive_timeout=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                read_bufsize=_ANSWER,
                max_line_size=_MAX_HEAD,
                max_field_size=_MAX_HEAD,
            )
        return self._session

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


_SENTENCES: tuple[tuple[type[Exception], str], ...] = (  # the first that fits; most are kinds of a later one
    (TimeoutError, f"the receiver did not answer within {TIMEOUT:.0f} seconds"),
    (
        aiohttp.ClientConnectorCertificateError,
        "the certificate of the receiver is not valid for its name and the trusted authorities",
    ),
    (aiohttp.ClientConnectorDNSError, "the name of the receiver was not found"),
    (aiohttp.ClientConnectorSSLError, "no TLS connection with the receiver came about"),
)


def _sentence(exc: Exception) -> str:
    """Of ours: theirs may quote the receiver."""
    for kind, sentence in _SENTENCES:
        if isinstance(exc, kind):
            return sentence
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"the receiver could not be reached ({os.strerror(exc.os_error.errno or 0)})"
    return "the receiver closed the connection, or its answer was not HTTP"


@lru_cache(maxsize=1)
def _of_the_machine() -> ssl.SSLContext:
    """Reading the authorities takes a while and 10 MiB: once, and for all."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _discard(response: aiohttp.ClientResponse) -> None:
    """A short answer is read, so that the connection can be used again; of another one nothing more is wanted."""
    try:
        async with asyncio.timeout(_ANSWER_TIME):
            size = 0
            while size <= _ANSWER and not response.content.at_eof():
                size += len(await response.content.read(_ANSWER))
    except (aiohttp.ClientError, OSError):  # of which TimeoutError is one
        pass
    if not response.content.at_eof():
        response.close()


def _outcome(response: aiohttp.ClientResponse) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        return Outcome(status=status)
    if 300 <= status < 400:
        error = (
            f"the receiver answered with a redirect ({status}), and none is followed: write the new address into url"
        )
    elif status == 410:
        error = "the receiver answered with status 410: it wants no more; disable or delete the webhook"
    else:
        error = f"the receiver answered with status {status}"
    return Outcome(status=status, error=error, retry_after=_retry_after(response))


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """RFC 9110, 10.2.3, in seconds; a date is not worth parsing."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0.0
