"""How a PostgreSQL role goes, with all that hangs on it: one round trip where it hangs on this database alone."""

from typing import Any

# Privileges on one table are one row of the catalog, and PostgreSQL answers two who change it at once with an error
# ("tuple concurrently updated"). So whoever grants or revokes holds this advisory lock until its transaction ends.
LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(7308604)"

# `%(who)s` is the role's name as a literal. The body is one transaction. The connection's user becomes a member first,
# for only members may end a role's sessions and reassign what it owns. What it owns is reassigned, never dropped; then
# DROP OWNED takes its privileges and default privileges. Sessions that began meanwhile are ended after the commit, as
# far as the connection's user may do that to a role that is no more (pg_signal_backend).
_OWNED = """
DECLARE who constant text := %(who)s; whose oid;
BEGIN
  SELECT oid INTO whose FROM pg_catalog.pg_roles WHERE rolname = who;
  IF whose IS NULL THEN RETURN; END IF;
  PERFORM pg_catalog.set_config('mimir.removed', whose::text, false);
  IF EXISTS (SELECT FROM pg_catalog.pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = whose)
      OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE usesysid = whose) THEN
    IF NOT pg_catalog.pg_has_role(whose, 'USAGE') THEN
      EXECUTE pg_catalog.format('GRANT %%I TO CURRENT_USER', who);
    END IF;
    PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usesysid = whose;
    PERFORM pg_catalog.pg_advisory_xact_lock(7308604);
    EXECUTE pg_catalog.format('REASSIGN OWNED BY %%I TO CURRENT_USER', who);
    EXECUTE pg_catalog.format('DROP OWNED BY %%I', who);
  END IF;
"""
_SESSIONS = """
DO $mimir$
BEGIN
  PERFORM pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE usesysid = nullif(pg_catalog.current_setting('mimir.removed', true), '')::oid
      AND pid <> pg_catalog.pg_backend_pid();
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $mimir$;
"""
REMOVE = (
    "BEGIN; SELECT pg_catalog.set_config('mimir.removed', '', false);\nDO $mimir$"
    + _OWNED
    + "  EXECUTE pg_catalog.format('DROP ROLE %%I', who);\nEND $mimir$;\nCOMMIT;"
    + _SESSIONS
)
REMOVE_OWNED = "BEGIN; DO $mimir$" + _OWNED + "END $mimir$;\nCOMMIT;"

_ELSEWHERE = """
SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
  JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass
  WHERE r.rolname = $1 AND d.datname <> pg_catalog.current_database() AND d.datallowconn ORDER BY 1
"""


async def elsewhere(connection: Any, username: str) -> list[str]:
    """Other databases of the server in which something hangs on the role."""
    return [row["datname"] for row in await connection.fetch(_ELSEWHERE, username)]
