#!/bin/sh
# Make the virtual environment and install joulestat, with everything its tests need, into it.
#
#   .ci/venv.sh DIRECTORY
#
# Takes the first Python >= 3.11 that can make virtual environments: $PYTHON if it is set, else
# python3, else a versioned one. An environment whose Python has gone is made anew.
set -eu
venv=$1

# Tells apart "too old or absent" (1) and "cannot make environments" (2): on Debian and Ubuntu
# the venv module is there, but ensurepip comes in a package of its own.
examine() {
    "$1" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(2)
' >/dev/null 2>&1
}

find_python() {
    without_venv=
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14}; do
        if ! command -v "$candidate" >/dev/null 2>&1; then continue; fi
        if examine "$candidate"; then
            command -v "$candidate"
            return
        elif [ $? -eq 2 ]; then
            without_venv=${without_venv:-$candidate}
        fi
    done
    if [ -n "$without_venv" ]; then
        package=$("$without_venv" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        echo "joulestat: $without_venv cannot make virtual environments: ensurepip is missing." >&2
        echo "  On Debian and Ubuntu it is a package: sudo apt-get install $package" >&2
    else
        echo "joulestat: no Python 3.11 or newer found (looked for ${PYTHON:-python3, python3.11 to python3.14})." >&2
        echo "  Install one (Debian 12+, Ubuntu 24.04+: sudo apt-get install python3 python3-venv)," >&2
        echo "  or name one: make PYTHON=/path/to/python3.12 ..." >&2
    fi
    return 1
}

if ! examine "$venv/bin/python"; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
fi
echo "Installing joulestat and its tools into $venv (takes a minute, once)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
