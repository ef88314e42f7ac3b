"""The HTTP listener: bytes of a connection to `WireRequest` and back. The only server-side aiohttp."""
