"""The documents, followed as a reader would."""
