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

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
for python in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 none; do
  # Tried, not only looked for: a version manager leaves commands that do not run.
  if [ -n "$python" ] && fits "$python"; then break; fi
done
if [ "$python" = none ]; then
  echo "error: found no Python of 3.11 or newer; install one, or name it: PYTHON=/path/to/python make setup" >&2
  exit 2
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
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
  # shellcheck disable=SC2046,SC2086 # several places, and a pattern in each
  if [ -z "$backend" ] && ! ls $(printf '%s/torch-'"$locked"'+cpu* ' $links) >/dev/null 2>&1 && ! command -v nvidia-smi >/dev/null; then
    backend=cpu
  fi
  "${install[@]}" ${backend:+--torch-backend "$backend"} "torch==$locked"
fi
# Compiled here rather than by the first run of every stage.
"${install[@]}" --compile-bytecode -e '.[dev]'
"$venv/bin/python" -c 'import torch; print(f"ready: torch {torch.__version__}, GPU: {torch.cuda.is_available()}")'
