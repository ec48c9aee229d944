#!/bin/sh
# Makes .venv with the locked versions and hookmill in it. Says in one line what is missing.
set -eu

missing() {
    echo "hookmill needs $1: $2" >&2
    exit 1
}

PYTHON="${PYTHON:-python3}"
command -v "$PYTHON" >/dev/null || missing "Python 3.11 or newer" "apt install python3 python3-venv"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    missing "Python 3.11 or newer" "set PYTHON, as in: make demo PYTHON=python3.12"
command -v java >/dev/null || missing "Java 17 or newer" "apt install openjdk-17-jre-headless"
command -v mvn >/dev/null || missing "Maven" "apt install maven"

if command -v uv >/dev/null; then
    uv venv --quiet --allow-existing --python "$PYTHON" .venv
    uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock
    uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
else
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        missing "Python's venv" "apt install python3-venv"
    "$PYTHON" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
