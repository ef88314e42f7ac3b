"""The processes of one node: a supervisor, workers, a housekeeper, and short-lived ones that prepare."""
