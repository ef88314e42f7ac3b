# Names for what the scripts do.
.PHONY: check check-all format lock bench quickstart

check:       ; scripts/test
check-all:   ; scripts/test --all
format:      ; .venv/bin/ruff format . && .venv/bin/ruff check --fix .
lock:        ; scripts/lock
bench:       ; bench/run
quickstart:  ; scripts/quickstart
