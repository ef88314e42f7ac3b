"""The service: composition root, HTTP, request pipeline, mounts, tokens, policies, the sys/ engine, workers."""
