"""Root tokens that a quorum of recovery keys asks for."""

from appliance.access.token_entry import TokenSpec
from appliance.access.tokens import TokenStore


async def create_root_token(tokens: TokenStore) -> str:
    """An orphan that may do everything and does not expire, as `sys/generate-root` hands it out."""
    spec = TokenSpec(policies=("root",), path="auth/token/root", display_name="root", renewable=False)
    token, _ = await tokens.create(spec, parent=None, orphan=True)
    return token
