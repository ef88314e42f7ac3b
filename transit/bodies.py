"""The bodies of transit's requests, as Vault's clients send them."""

from typing import Literal

import msgspec

from core.bodies import Duration
from transit.key_types import DEFAULT_TYPE

CustodyName = Literal["", "hsm", "sealed"]
RequiredCustody = Literal["", "hsm"]
Padding = Literal["", "oaep"]  # Vault's pkcs1v15 cannot be decrypted without telling attackers something


class CreateKeyBody(msgspec.Struct):
    """keys/<name>. `custody`, `require_custody` and `max_encryptions` are Mimir's own."""

    type: str = DEFAULT_TYPE
    parameter_set: str = ""
    derived: bool = False
    convergent_encryption: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    auto_rotate_period: Duration = Duration(0)
    key_size: int = 0
    custody: CustodyName = ""
    require_custody: RequiredCustody = ""
    max_encryptions: int = 0


class ConfigureKeyBody(msgspec.Struct):
    """keys/<name>/config; what is left out stays as it is."""

    min_decryption_version: int | None = None
    min_encryption_version: int | None = None
    deletion_allowed: bool | None = None
    exportable: bool | None = None
    allow_plaintext_backup: bool | None = None
    auto_rotate_period: Duration | None = None
    max_encryptions: int | None = None


class TrimBody(msgspec.Struct):
    """keys/<name>/trim."""

    min_available_version: int


class MountConfigBody(msgspec.Struct):
    """config/keys; what is left out stays as it is."""

    disable_upsert: bool | None = None
    require_custody: RequiredCustody | None = None


class CacheConfigBody(msgspec.Struct):
    """cache-config; 0 is as many as there are."""

    size: int = 0


class BatchItem(msgspec.Struct, gc=False):
    """One item of batch_input; which members count depends on the operation."""

    plaintext: str | None = None
    ciphertext: str | None = None
    associated_data: str | None = None
    key_version: int | None = None
    context: str | None = None
    nonce: str | None = None
    bits: int | None = None
    reference: str | None = None
    padding_scheme: Padding = ""


class DataBody(msgspec.Struct):
    """encrypt, decrypt and rewrap; with `batch_input`, the members of a single item are ignored."""

    plaintext: str | None = None
    ciphertext: str | None = None
    associated_data: str | None = None
    key_version: int | None = None
    context: str | None = None
    nonce: str | None = None
    batch_input: list[BatchItem] | None = None
    partial_failure_response_code: int | None = None
    type: str = DEFAULT_TYPE
    parameter_set: str = ""
    convergent_encryption: bool = False
    bits: int | None = None
    padding_scheme: Padding = ""
