#!/usr/bin/env bash
# From a bare Ubuntu to a Python that runs mien; cluster.yaml mounts this script and runs it on every node.
#
# It makes ~/mien/.venv with exactly what ~/mien/requirements.lock says, and does nothing at all where a stamp tells
# that this very lock is installed: on a node that is set up again, and on one that starts from a baked image.
# A folder ~/mien/wheelhouse with a wheel of every line of the lock, and of uv where the host has none, makes it do
# without a network; the host must then have Python 3.11.
set -euo pipefail

HOME_OF_MIEN=${1:-$HOME/mien}
PYTHON_VERSION=3.11
UV_VERSION=0.13.9

lock=$HOME_OF_MIEN/requirements.lock
venv=$HOME_OF_MIEN/.venv
wheelhouse=$HOME_OF_MIEN/wheelhouse
stamp=$venv/.installed.sha256

# For people on the node, and for `ray exec`: Ray reads ~/.bashrc before each command that it runs here.
path_line="export PATH=\"$venv/bin:\$PATH\" RAY_AUTH_MODE=token  # mien"
grep -qxF "$path_line" ~/.bashrc 2>/dev/null || echo "$path_line" >>~/.bashrc

wanted=$(sha256sum "$lock" | cut -d' ' -f1)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "node_setup: $lock is installed"
  exit 0
fi

if [[ -d $wheelhouse ]]; then
  export UV_OFFLINE=1 UV_NO_INDEX=1 UV_FIND_LINKS=$wheelhouse
fi
export PATH="$HOME/.local/bin:$PATH"
if ! command -v uv >/dev/null; then
  if [[ -d $wheelhouse ]]; then
    python3 -m zipfile -e "$wheelhouse"/uv-*.whl "$HOME_OF_MIEN/.uv"
    mkdir -p ~/.local/bin
    install -m 755 "$HOME_OF_MIEN"/.uv/uv-*.data/scripts/uv ~/.local/bin/uv
  else
    curl --proto '=https' -LsSf --retry 5 "https://astral.sh/uv/$UV_VERSION/install.sh" | UV_NO_MODIFY_PATH=1 sh
  fi
fi

started=$SECONDS
rm -f "$stamp"
[[ -x $venv/bin/python ]] || uv venv --quiet --python "$PYTHON_VERSION" "$venv"
uv pip sync --quiet --python "$venv/bin/python" "$lock" # exactly the lock: nothing is resolved, what is not in it goes
echo "$wanted" >"$stamp.new"
mv "$stamp.new" "$stamp"
echo "node_setup: installed $lock in $((SECONDS - started)) s"
