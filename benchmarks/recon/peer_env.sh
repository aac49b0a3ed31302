#!/usr/bin/env bash
# Make the environment of the peer napari-sim-processor: peer_env.sh FOLDER
#
# It has one of its own because its torch path does not run with numpy 2. Without its dependencies: those are a viewer
# and a screen, and only its processors run here. Which build of torch: see infra/setup.sh; never a CUDA one.
set -euo pipefail
venv=$1
[ ! -e "$venv/.ready" ] || exit 0

torch=2.13.0
pins=(
  "numpy==1.26.4" "scipy==1.17.1" "matplotlib==3.11.2" "tifffile==2026.3.3"
  "opencv-python-headless==4.11.0.86"
)
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
install=("${pip[@]}" install -q)

links=${PIP_FIND_LINKS:-$("${pip[@]}" config get global.find-links 2>/dev/null || true)}
if ls $(printf '%s/torch-'"$torch"'+cpu* ' $links) >/dev/null 2>&1; then
  "${install[@]}" "torch==$torch"
else
  "${install[@]}" uv
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" --torch-backend cpu "torch==$torch"
fi
"${install[@]}" "torch==$torch" "${pins[@]}"
"${install[@]}" --no-deps "napari-sim-processor==0.1.1"
touch "$venv/.ready"
