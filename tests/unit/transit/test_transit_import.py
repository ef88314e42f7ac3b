"""Import and import_version: what a key from elsewhere may be, and how it arrives."""

import asyncio
import base64
import os
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind
from tests.support.memory_storage import memory_storage
from tests.support.software_keys import SoftwareKeys
from tests.unit.transit.transit_mount import Mount
from tests.unit.transit.wrapping import ASYMMETRIC, SYMMETRIC, TYPES, key_pair, material, public_pem, wrap
from transit.errors import UnknownKeyError
from transit.format import decode_base64, encode_base64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wrapped() -> tuple[Mount, str]:
    """A mount whose wrapping key (RSA-4096, a second of work) is made already, and that key."""
    mount = Mount()
    return mount, (await mount.read("wrapping_key"))["public_key"]


@pytest.fixture
def mount(wrapped: tuple[Mount, str]) -> Mount:
    """With none of the keys of the tests before."""
    before, _ = wrapped
    fresh = Mount(memory_storage(), before.keys)
    return fresh


pytestmark = pytest.mark.asyncio
