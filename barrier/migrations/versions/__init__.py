"""One module per schema version. Written once, never edited: databases out there have run it."""
