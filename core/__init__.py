"""The words every part of Mimir shares: errors, ids, time, requests, and the protocols that engines are given."""
