#!/bin/sh
# Make .venv, where everything runs, and install requirements.lock and this package there.
#
#     ./setup.sh [PYTHON]           from PYTHON, a command or a path. Without it from the Python that .venv has,
#                                   else from the newest of python3.13, python3.12 and python3.11 that works
#     ./setup.sh --which [PYTHON]   only say which Python that is
#
# WEIGHTS=no in the environment leaves out the weights of MusiCNN, which it fetches otherwise.
#
# After an interruption, call it again: .venv/installed is written last, and what is installed stays.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "make setup: $1" >&2
    exit 1
}

# Print the version of Python $1, or nothing where it does not run. Fail where it lacks one of the modules $2.
probe() {
    "$1" -c "import sys; print('%d.%d.%d' % sys.version_info[:3]); import $2" 2>/dev/null
}

# Set python and version to the first of the commands that is a Python we support and can make a .venv.
choose() {
    if [ $# -gt 1 ]; then unfit=none; else unfit="no $1"; fi
    lacking=
    for python in "$@"; do
        if version=$(probe "$python" "ensurepip, venv"); then can_make_venv=yes; else can_make_venv=; fi
        case $version in
        3.11.* | 3.12.* | 3.13.*)
            [ -z "$can_make_venv" ] || return 0
            lacking=${lacking:-"Python $version ($python) lacks its venv module: install python${version%.*}-venv"}
            ;;
        ?*) unfit="Python $version ($python)" ;;
        esac
    done
    fail "${lacking:-"needs Python 3.11, 3.12 or 3.13, and finds $unfit; install one of them (on Debian and Ubuntu with \
its package python3.X-venv), or name one: make setup PYTHON=/path/to/python"}"
}

which=
if [ "${1-}" = --which ]; then which=yes; shift; fi

# A .venv of another Python is made anew, and so is half a one, which has no pip or no activate.
in_venv=$(probe .venv/bin/python pip) && [ -e .venv/bin/activate ] || in_venv=
if [ -n "${1-}" ]; then
    choose "$1"
else
    case $in_venv in
    3.11.* | 3.12.* | 3.13.*) python=.venv/bin/python version=$in_venv ;;
    *) choose python3.13 python3.12 python3.11 python3 ;;
    esac
fi
if [ "$which" ]; then
    echo "Python $version ($python)"
    exit
fi

if [ "${in_venv%.*}" != "${version%.*}" ]; then
    echo "Making .venv of Python $version ($python)${in_venv:+; the one there is of $in_venv}"
    "$python" -m venv --clear .venv
elif [ .venv/installed -nt requirements.lock ] && [ .venv/installed -nt pyproject.toml ]; then
    exit
fi
echo "Installing about 150 packages: up to 1.2 GB to fetch, 3.6 GB on disk." \
    "At the end pip unpacks them, which takes a minute or two."
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
pip install --require-hashes -r requirements.lock
pip install --no-deps --no-build-isolation --editable .
touch .venv/installed

# Without the weights all else works, so an index that has gone does not end the setup.
if [ "${WEIGHTS-}" != no ] && [ ! -e "${MUSICREC_CACHE:-${HOME-}/.cache/musicrec}/models/musicnn/card.toml" ]; then
    echo "Fetching the weights of MusiCNN, 29 MB, for better lists of similar songs (WEIGHTS=no leaves them out)."
    .venv/bin/python -m musicrec models add musicnn ||
        echo "make setup: all but these weights is there; to fetch them later: .venv/bin/musicrec models add musicnn" >&2
fi
