"""What the scenarios of databases use: a connection to one PostgreSQL server, a role and static roles."""

from bench.http_api import Api
from bench.postgres_server import DATABASE, PASSWORD, shared_server

ROLE, QUICK_ROLE, STATIC_ROLE = "orders-api", "quick-api", "fixed"
# a membership, since two who grant on one table at once are refused by PostgreSQL, and OpenBao hands that on as a 500
_CREATE = (
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "
    'GRANT readers TO "{{name}}";'
)


def make_connections(api: Api) -> None:
    """The mount with its roles, unless they are there. A worker of Mimir has a pool of its own, so each has half."""
    if "database/" in api.call("GET", "sys/mounts")["data"]:
        return
    api.call("POST", "sys/mounts/database", {"type": "database"})
    is_mimir = api.call("GET", "sys/health").get("version", "").startswith("0.")
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{shared_server().port}/{DATABASE}?sslmode=disable"
    details = {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": url,
        "username": "root",
        "password": PASSWORD,
        "allowed_roles": "*",
        "max_open_connections": 4 if is_mimir else 8,
    }
    api.call("POST", "database/config/orders-db", details)
    for role, database in ((ROLE, "orders-db"), (QUICK_ROLE, "quick-db")):
        if database == "quick-db":  # Mimir's own option; OpenBao keeps it and does nothing with it
            api.call("POST", "database/config/quick-db", {**details, "scram_iterations": 1})
        rules = {"db_name": database, "creation_statements": _CREATE, "default_ttl": "1h", "max_ttl": "4h"}
        api.call("POST", f"database/roles/{role}", rules)


def make_static_role(api: Api) -> None:
    """A static role beside them; each server has an account of its own."""
    make_connections(api)
    static = {"db_name": "orders-db", "username": f"fixed_{api.address.rpartition(':')[2]}", "rotation_period": "24h"}
    shared_server().script(f"CREATE ROLE {static['username']} LOGIN")
    api.call("POST", f"database/static-roles/{STATIC_ROLE}", static)
