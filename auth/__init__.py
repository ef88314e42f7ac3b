"""Login methods: siblings of the engines, found by the entry-point group `mimir.auth_methods`."""
