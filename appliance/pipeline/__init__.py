"""One request's way through the appliance, from the wire to an engine and back."""
