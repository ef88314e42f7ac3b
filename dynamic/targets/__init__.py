"""Plugins of the databases that Mimir knows: the only modules of dynamic that import a driver or do I/O."""
