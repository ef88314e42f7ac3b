"""The sys/ engine: the appliance's own operations, as routes like every engine's."""
