"""Webhooks: events of the log, posted to receivers that operators name, signed, at least once each."""
