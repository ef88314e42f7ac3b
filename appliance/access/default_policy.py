"""The policy "default" as a new appliance has it: what every token may do with itself.

Written as a table, so that initialising needs no HCL parser; a test holds that the text compiles to the same rules.
"""

from appliance.access.rules import PathRule

_TABLE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("A token may look itself up,", "auth/token/lookup-self", ("read",)),
    ("renew itself,", "auth/token/renew-self", ("update",)),
    ("revoke itself,", "auth/token/revoke-self", ("update",)),
    ("and ask what it may do on a path.", "sys/capabilities-self", ("update",)),
    ("What it may do in all, for user interfaces.", "sys/internal/ui/resultant-acl", ("read",)),
    ("Renew a lease whose id it knows (old path),", "sys/renew", ("update",)),
    ("(new path),", "sys/leases/renew", ("update",)),
    ("and look one up.", "sys/leases/lookup", ("update",)),
    ("Its own cubbyhole.", "cubbyhole/*", ("create", "delete", "list", "read", "update")),
    ("Wrap a response,", "sys/wrapping/wrap", ("update",)),
    ("look at the wrapping token's life,", "sys/wrapping/lookup", ("update",)),
    ("and unwrap it.", "sys/wrapping/unwrap", ("update",)),
    ("Hash a value,", "sys/tools/hash", ("update",)),
    ("with a named algorithm.", "sys/tools/hash/*", ("update",)),
)


def _block(comment: str, path: str, capabilities: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{capability}"' for capability in capabilities)
    return f'# {comment}\npath "{path}" {{\n    capabilities = [{listed}]\n}}\n'


DEFAULT_TEXT = "\n".join(_block(*row) for row in _TABLE)
DEFAULT_RULES = tuple(
    PathRule(path=path, capabilities=capabilities, line=2 + 5 * i) for i, (_, path, capabilities) in enumerate(_TABLE)
)
