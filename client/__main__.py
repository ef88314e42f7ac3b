"""`python -m client` is `mimir`."""

from client.main import main

main()
