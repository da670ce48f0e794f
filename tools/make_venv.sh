#!/bin/sh
# make_venv.sh FOLDER: a virtual environment with pip, on the newest Python from 3.11 on that runs
# here; also where the distribution left out what `python -m venv` needs (Debian's python3-venv).
# PYTHON in the environment chooses the interpreter. An environment that works is kept.
set -eu
venv=$1

say() { echo "make_venv: $*" >&2; }
works() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
has_pip() { works "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

if has_pip; then
    exit 0
fi

python=
for candidate in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3}; do
    if works "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "no Python from 3.11 on found. Install one, or set PYTHON to its path."
    exit 1
fi
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

rm -rf "$venv"
if "$python" -m venv "$venv" >/dev/null 2>&1 && has_pip; then
    say "$venv, Python $version"
    exit 0
fi

# ensurepip is missing. The pip of that Python may fill an environment that has none (pip 22.3+).
rm -rf "$venv"
if "$python" -m venv --without-pip "$venv" >/dev/null 2>&1 \
    && "$python" -m pip --python "$venv/bin/python" install --quiet pip >/dev/null 2>&1 && has_pip; then
    say "$venv, Python $version; without ensurepip: pip installed by $python's own pip"
    exit 0
fi

# Some Pythons lack venv itself; virtualenv brings all it needs, and can stand beside us.
rm -rf "$venv"
beside=$venv.virtualenv
if "$python" -m pip install --quiet --target "$beside" virtualenv >/dev/null 2>&1 \
    && PYTHONPATH=$beside "$python" -m virtualenv --quiet "$venv" >/dev/null 2>&1 && has_pip; then
    rm -rf "$beside"
    say "$venv, Python $version; without venv: made by virtualenv"
    exit 0
fi
rm -rf "$beside" "$venv"

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing python$version-venv with apt-get"
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --yes --no-install-recommends "python$version-venv" >/dev/null
    if "$python" -m venv "$venv" && has_pip; then
        say "$venv, Python $version; python$version-venv installed"
        exit 0
    fi
fi

say "cannot make a virtual environment with $python:"
"$python" -m venv "$venv" >&2 || true
say "install pip for it, or its venv package (python$version-venv on Debian), and run this again."
exit 1
