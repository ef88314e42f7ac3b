"""Identity: who stands behind tokens (entities, aliases, groups), and the policies that follow from it."""
