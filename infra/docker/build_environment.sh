#!/usr/bin/env bash
# Build the locked environment of omnimat: what the image holds and what tests run in.
usage="usage: build_environment.sh cpu|cuda FOLDER [omnimat|dependencies|dev]
  omnimat       omnimat and all that it needs (default)
  dependencies  only what it needs
  dev           what its tests need too, and omnimat as the sources beside this script"
set -euo pipefail
accelerator=${1-} folder=${2-} content=${3-omnimat}
if ! [[ $accelerator =~ ^(cpu|cuda)$ && $folder && $content =~ ^(omnimat|dependencies|dev)$ ]]; then
    echo "$usage" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
repository=$(dirname "$(dirname "$here")")
python=$folder/bin/python

# Nothing comes in that a lock does not name with its hash, not even to build with.
with_pip() {
    "$python" -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation "$@"
}
with_uv() {
    "$folder/bin/uv" pip install --quiet --python "$python" --system-certs --compile-bytecode \
        --no-deps --no-build-isolation --require-hashes --requirement "$here/$1"
}

"${PYTHON:-python3.11}" -m venv "$folder"
with_pip --require-hashes --requirement "$here/requirements-build.txt"
# By pip, since torch's builds are where pip is told to look, on an index or in a folder.
with_pip --require-hashes --requirement "$here/requirements-$accelerator.txt"
# DeepSpeed has no wheel; built where it sees a GPU, it would ask for a package more.
DS_ACCELERATOR=cpu with_uv requirements.txt
if [ "$content" = dev ]; then
    with_uv requirements-dev.txt
    with_pip --editable "$repository"
elif [ "$content" = omnimat ]; then
    # From a copy: setuptools would put what an earlier build left in the tree into the wheel.
    sources=$(mktemp -d)
    trap 'rm -rf "$sources"' EXIT
    tar -C "$repository" -c --exclude='*.egg-info' --exclude=__pycache__ \
        pyproject.toml README.md LICENSE platform dashboards/leaderboard | tar -x -C "$sources"
    with_pip "$sources"
fi
"$python" -m pip check
