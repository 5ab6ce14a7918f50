#!/bin/sh
# Install what training code is written in, for the tests of the callbacks and of the examples.
#
#   .ci/frameworks.sh DIRECTORY
#
# DIRECTORY is the virtual environment that .ci/venv.sh made. Takes a few gigabytes where PyTorch
# comes with its GPU libraries. Never fails: without frameworks, or with FRAMEWORKS=no, their
# tests are skipped, and pytest says so.
set -u
venv=$1

if [ "${FRAMEWORKS:-yes}" = no ]; then
    echo "FRAMEWORKS=no: the tests of PyTorch, Transformers, Lightning, Keras and JAX are skipped"
    exit 0
fi
echo "Installing PyTorch, Transformers, Lightning, Keras and JAX into $venv (takes minutes, once)"
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable '.[dev,test-frameworks]'; then
    echo "joulestat: the frameworks could not be installed (see above); their tests are skipped." >&2
    echo "  To try again: rm $venv/frameworks && make test" >&2
fi
