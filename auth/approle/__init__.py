"""AppRole: machines log in with the id of a role and a secret id that was issued for it."""
