"""What can go wrong, grouped by who can act: the caller, the operator, or us.

Every message is a sentence for the person who must act, and never holds a secret: it reaches the caller as it stands.
Only `appliance.http_errors` knows status codes.
"""


class MimirError(Exception):
    """The root of every error that Mimir raises on purpose."""

    @property
    def sentence(self) -> str:
        """The message, as the caller may read it."""
        return str(self.args[0]) if self.args else ""


# --- the caller can act -------------------------------------------------------------------------------------------


class CallerError(MimirError):
    """The request cannot be served as it was made."""


class InvalidRequestError(CallerError):
    """A field is missing, malformed, or contradicts another."""


class RequestTooLargeError(CallerError):
    """The body, a header or a batch is over its limit."""


class UnsupportedMediaTypeError(CallerError):
    """The Content-Type does not fit the method (PATCH wants application/merge-patch+json)."""


class PermissionDeniedError(CallerError):
    """No token, an unknown or expired one, or a policy that does not allow it: the caller never learns which."""


class LoginFailedError(InvalidRequestError):
    """Wrong credentials. The sentence is the same for an unknown name and a wrong password."""


class QuotaExceededError(CallerError):
    """Too many requests; the caller may try again later."""

    def __init__(self, sentence: str, *, retry_after: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after  # seconds


class NotFoundError(CallerError):
    """Nothing is stored there. An empty sentence is Vault's `{"errors": []}`."""


class UnsupportedPathError(CallerError):
    """No engine or no route serves this path."""


class UnsupportedOperationError(CallerError):
    """The path exists, this operation on it does not."""


class CasMismatchError(CallerError):
    """A compare-and-set found another revision than the caller expected; nothing was written."""


class CiphertextError(CallerError):
    """A ciphertext or wrapped key is malformed, forged, or belongs elsewhere; which of these is not said."""


class InvalidSignatureError(CallerError):
    """A signature or MAC does not verify."""


class KeyPolicyError(CallerError):
    """The key exists, but its type, its custody or its configuration forbids this operation."""


# --- the operator can act -----------------------------------------------------------------------------------------


class OperatorError(MimirError):
    """The appliance cannot serve until somebody (or time) mends it."""


class NotInitializedError(OperatorError):
    """The store holds no cluster yet."""


class SealedError(OperatorError):
    """The keyring is not in memory."""


class StoreUnavailableError(OperatorError):
    """The database refuses: read-only, full, locked, unreachable, or of a newer schema."""


class AuditUnavailableError(OperatorError):
    """No audit device took the record, so the request is refused."""


class ConfigError(OperatorError):
    """The configuration, a file it names, or the HSM token is not what start-up needs."""


class HsmError(OperatorError):
    """The HSM refused or failed. `code` is the CKR_* name or number it gave."""

    def __init__(self, sentence: str, *, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class HsmRetryError(HsmError):
    """Passing trouble: the same call may succeed when made again."""


class HsmGoneError(HsmError):
    """The session, the token or the device is gone; the module must be re-opened (and is, in the background)."""


class HsmConfigError(HsmError, ConfigError):
    """Trying again is useless or harmful: wrong PIN, wrong module, missing or foreign KEK, missing mechanism."""


# --- we can act ---------------------------------------------------------------------------------------------------


class IntegrityError(MimirError):
    """A stored entry does not authenticate under its path: edited, moved, or of another cluster. Names the entry."""
