#!/usr/bin/env bash
# Make the environment: infra/setup.sh FOLDER
#
# requirements.lock says which version of everything; which build of torch (CPU or CUDA) depends on
# the machine:
#   * a torch that is in the environment already stays;
#   * a CPU build that pip's own configuration offers (find-links) is taken;
#   * else TORCH_BACKEND decides (cpu, cu130, ...; uv's names), or whether the machine has an NVIDIA GPU.
set -euo pipefail
venv=$1
cd "$(dirname "$0")/.."

python=$(command -v python3.13 || command -v python3.12 || command -v python3.11 || command -v python3)
"${PYTHON:-$python}" - <<'PY' || exit 2
import sys
if sys.version_info < (3, 11):
    sys.exit(f"error: Python {sys.version.split()[0]} is too old; install 3.11 or newer, or name one: PYTHON=... make setup")
PY
[ -x "$venv/bin/python" ] || "${PYTHON:-$python}" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c requirements.lock uv 2>/dev/null ||
  { echo "error: pip could not install uv; check that a package index is reachable" >&2; exit 2; }

links=${PIP_FIND_LINKS:-$("$venv/bin/python" -m pip config get global.find-links 2>/dev/null || true)}
install=("$venv/bin/uv" pip install -q --python "$venv/bin/python" -c requirements.lock)
for place in $links; do install+=(--find-links "$place"); done

locked=$(sed -n 's/^torch==\([^ ;]*\).*/\1/p' requirements.lock)
present=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null || true)
if [ -n "$present" ] && [ "${present%%+*}" != "$locked" ]; then
  echo "error: $venv holds torch $present, requirements.lock asks for $locked; remove $venv and run make setup again," \
       "or change the lock (see README, Versions)" >&2
  exit 2
fi
if [ -z "$present" ]; then
  backend=${TORCH_BACKEND:-}
  if [ -z "$backend" ] && ! ls $(printf '%s/torch-'"$locked"'+cpu* ' $links) >/dev/null 2>&1 && ! command -v nvidia-smi >/dev/null; then
    backend=cpu
  fi
  "${install[@]}" ${backend:+--torch-backend "$backend"} "torch==$locked"
fi
"${install[@]}" -e '.[dev]'
"$venv/bin/python" -c 'import torch; print(f"ready: torch {torch.__version__}, GPU: {torch.cuda.is_available()}")'
