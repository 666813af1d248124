# Sourced by deploy/demo and tests/run: makes the environment in .venv and builds the compiled modules, once.
#
#   rater_environment [EXTRA]    EXTRA: an optional-dependency group of pyproject.toml, such as "test"
#
# Runs again only when pyproject.toml, setup.py or the compiled sources have changed. Leaves the interpreter at
# .venv/bin/python. On failure prints a sentence that says how to mend it and returns 1.

rater_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    echo "No Python 3.11 or newer was found. Install one (Debian, Ubuntu: apt install python3 python3-venv python3-dev)." >&2
    return 1
}

rater_compiler() {
    command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 && return 0
    echo "No C compiler was found. Install one (Debian, Ubuntu: apt install gcc python3-dev)." >&2
    return 1
}

# Also the modules of the package that have a .pxd beside them.
rater_compiled_sources() {
    printf '%s\n' pyproject.toml setup.py native/rater_native/*.pyx native/rater_native/*.pxd
    find rater -name '*.pxd' | LC_ALL=C sort | sed 'p;s/pxd$/py/'
}

rater_environment() {
    local extra=${1:-} python stamp want log
    python=$(rater_python) || return 1
    rater_compiler || return 1
    want=$(rater_compiled_sources | xargs cat 2>/dev/null | cksum)
    want="$want $("$python" -V)"
    stamp=.venv/rater-installed${extra:+-$extra}
    if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
        return 0
    fi
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        rm -rf .venv
        echo "Making the Python environment in .venv with $("$python" -V) …"
        if ! "$python" -m venv .venv; then
            rm -rf .venv
            echo "Python's venv module is missing. Install it (Debian, Ubuntu: apt install python3-venv)." >&2
            return 1
        fi
    fi
    echo "Installing the dependencies and building the compiled modules (a minute or two the first time) …"
    log=.venv/install.log
    if ! .venv/bin/python -m pip install --disable-pip-version-check -q -e ".${extra:+[$extra]}" >"$log" 2>&1; then
        tail -n 25 "$log" >&2
        echo "The installation failed; the whole log is in $log. If a download failed, check the network and" >&2
        echo "run this again; if 'Python.h' is missing, install Python's headers (Debian, Ubuntu: python3-dev)." >&2
        return 1
    fi
    printf '%s' "$want" >"$stamp"
}
