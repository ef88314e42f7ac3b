# shellcheck shell=bash
# Steps that the scripts share. Sourced, never run; the caller has set `-euo pipefail`.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
PROGRAM=$(basename "$0")

# The interpreter: Debian's own, where there is one, since it is built with profile-guided optimization; one that was
# built without takes half as long again for a request (docs/performance.md). MIMIR_PYTHON names another.
PYTHON=${MIMIR_PYTHON:-/usr/bin/python3}
if [ -z "${MIMIR_PYTHON:-}" ] && ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then PYTHON=python3; fi

say() { printf '==> %s\n' "$*"; }
warn() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; }
die() {
    warn "$*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- what the machine must have -------------------------------------------------------------------------------------

# is_there NEED: whether the machine has it already, however it came there.
is_there() {
    case $1 in
        python3-venv) "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ;;
        softhsm2) have softhsm2-util && [ -e /usr/lib/softhsm/libsofthsm2.so ] ;;
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
        systemd) have systemd-analyze ;;
        gnutls-bin) have certtool ;;
        mariadb-server) [ -x /usr/sbin/mariadbd ] && have mariadb-install-db ;;
        *) have "$1" ;;
    esac
}

# need PACKAGE...: install the Debian packages that are missing, or say in one sentence what to install.
need() {
    local package missing=() become=()
    for package in "$@"; do
        is_there "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "please install what Debian calls ${missing[*]}, then run this again"
    if [ "$(id -u)" != 0 ]; then
        have sudo || die "please run, as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
        become=(sudo)
    fi
    say "installing Debian packages: ${missing[*]}"
    # No service may start because its package came along: the tests want PostgreSQL's programs, not its server.
    if ! { "${become[@]}" apt-get update -qq && "${become[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }; then
        die "apt-get could not install ${missing[*]}: mend what it says above, then run this again"
    fi
    for package in "${missing[@]}"; do
        is_there "$package" || die "$package is installed but does not work; please look at it, then run this again"
    done
}

# --- the Python environment -----------------------------------------------------------------------------------------

# fingerprint LOCK: changes whenever the environment must be made again.
fingerprint() {
    { cat "$ROOT/$1" "$ROOT/pyproject.toml"; "$PYTHON" -c 'import sys; print(sys.version)'; echo "$PYTHON $ROOT"; } | sha256sum | cut -d' ' -f1
}

# python_environment run|dev: .venv in the checkout with exactly what the lock file names. One made for development
# holds all that running needs and is not taken back. One script at a time makes it; the others wait.
python_environment() {
    if [ ! -w "$ROOT" ]; then # somebody else's checkout: take what is there
        make_python_environment "$1"
        return
    fi
    (
        flock 9
        make_python_environment "$1" 9>&-
    ) 9>"$ROOT/.venv.lock"
}

make_python_environment() {
    local kind=$1 lock stamp=$VENV/.stamp
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$PYTHON is too old: Mimir needs Python 3.11 or newer"
    if [ -f "$stamp" ] && grep -q '^dev ' "$stamp"; then kind=dev; fi
    lock=requirements.lock
    if [ "$kind" = dev ]; then lock=requirements-dev.lock; fi
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$kind $(fingerprint "$lock")" ]; then
        compile_sources
        return 0
    fi

    say "making the Python environment in .venv from $lock"
    rm -f "$stamp"
    if [ ! -x "$VENV/bin/python" ] || ! "$VENV/bin/python" -c 'import pip' 2>/dev/null ||
        [ "$("$VENV/bin/python" -c 'import sys; print(sys.version)')" != "$("$PYTHON" -c 'import sys; print(sys.version)')" ]; then
        "$PYTHON" -m venv --clear "$VENV"
    fi
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
        --require-hashes --only-binary :all: -r "$ROOT/$lock" ||
        die "pip could not install $lock: mend what it says above (it needs a package index), then run this again"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
        --no-deps --no-build-isolation --config-settings editable_mode=compat -e "$ROOT" ||
        die "pip could not install this checkout in .venv: mend what it says above, then run this again"
    compile_sources
    printf '%s %s\n' "$kind" "$(fingerprint "$lock")" >"$stamp"
}

# compile_sources: write the byte code that Python may not or cannot write itself (PYTHONDONTWRITEBYTECODE, another user,
# a read-only tree). Without it every process compiles every module at every start.
compile_sources() {
    local package folders=()
    for package in "$ROOT"/*/__init__.py; do folders+=("$(dirname "$package")"); done
    "$VENV/bin/python" -m compileall -q "${folders[@]}" || warn "not all byte code could be written; starts are slower"
}
