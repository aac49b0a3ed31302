#!/usr/bin/env bash
# Ray for the length of a SLURM job: a head on the first node, a worker node on every one, and a command beside the head.
#
#   SIM_MODELS_WORKERS=8 sbatch --nodes=4 --ntasks-per-node=1 --cpus-per-task=16 --gpus-per-node=2 --mem=64G --time=8:00:00 \
#     infra/slurm/launch.sh dvc repro
#
# Started in the folder of the project, with its environment in .venv (or VENV), on storage that all nodes see. MLflow,
# S3 and their accounts come from the environment (`source cluster.env`, a file that only you may read), as in
# docs/cluster.md. SLURM ends the job's processes when it ends; so does this script, in order.
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:TERM@120
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: sbatch [SLURM's options] infra/slurm/launch.sh COMMAND..." >&2; exit 2; }
: "${SLURM_JOB_ID:?this runs inside a SLURM job; use sbatch}"
# shellcheck disable=SC1091
source "${VENV:-.venv}/bin/activate"

# A token of this job's own, handed on by a file and not by a command line, which everybody on a node can read.
before=$(umask)
umask 077
secret=$(mktemp -d "$PWD/.ray-$SLURM_JOB_ID.XXXXXX")
python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$secret/token"
umask "$before"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$secret/token
export RAY_USAGE_STATS_ENABLED=0 RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=5
unset RAY_ADDRESS

# Jobs that share a host must not share ports: a thousand of this job's own, the first that are free on this host.
base=$(python - <<'PYTHON'
import os, socket, sys

for turn in range(12):
    base = 20000 + (int(os.environ["SLURM_JOB_ID"]) + turn) % 12 * 1000
    try:
        for port in (base, *range(base + 10, base + 30), base + 900, base + 901):
            with socket.socket() as probe:
                probe.bind(("", port))
    except OSError:
        continue
    print(base)
    break
else:
    sys.exit("error: too many jobs with a Ray of their own run on this host")
PYTHON
)
cpus=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=$cpus   # srun does not take it over from sbatch by itself
gpus=${SLURM_GPUS_ON_NODE:-0}
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

steps=()
finish() {
  # TERM lets `ray start --block` take its node with it. Never `ray stop`: it would end every Ray of ours on the node.
  [ ${#steps[@]} -eq 0 ] || kill -TERM "${steps[@]}" 2>/dev/null || true
  wait
  rm -rf "$secret"
}
trap finish EXIT
trap 'exit 143' TERM INT

# A step of this job beside what runs there already. Not a function: `kill` must reach srun, which hands signals on.
beside=(srun --nodes=1 --ntasks=1 --overlap)

# A job on one host keeps all of Ray on loopback.
[ ${#hosts[@]} -gt 1 ] || export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0

address_of() {
  if [ ${#hosts[@]} -eq 1 ]; then
    echo 127.0.0.1
  else
    "${beside[@]}" --nodelist="$1" hostname --all-ip-addresses | tr ' ' '\n' |
      awk '!NF || /:/ {next} !/^127\./ {print; found = 1; exit} {own = $0} END {if (!found) print own}'
  fi
}

start_node() {  # start_node NUMBER HOST ADDRESS OPTIONS...
  # By its number, for the day when two nodes of a job share a machine.
  local first=$((base + 10 + $1 % 10 * 8)) workers=$((base + 100 + $1 % 2 * 400)) host=$2 ip=$3
  shift 3
  "${beside[@]}" --nodelist="$host" ray start --block --disable-usage-stats --node-ip-address="$ip" \
    --node-manager-port=$((first + 0)) --object-manager-port=$((first + 1)) --runtime-env-agent-port=$((first + 2)) \
    --dashboard-agent-listen-port=$((first + 3)) --dashboard-agent-grpc-port=$((first + 4)) \
    --metrics-export-port=$((first + 5)) --min-worker-port="$workers" --max-worker-port=$((workers + 399)) \
    "$@" >"ray-$SLURM_JOB_ID-$host.log" 2>&1 &
  steps+=($!)
}

head=$(address_of "${hosts[0]}")
export RAY_ADDRESS=$head:$base
start_node 0 "${hosts[0]}" "$head" --head --port="$base" --num-cpus="$cpus" --num-gpus="$gpus" \
  --dashboard-host=127.0.0.1 --dashboard-port=$((base + 900)) --ray-client-server-port=$((base + 901))

COUNT='
import os
from ray._raylet import GcsClient
print(sum(node.state == 0 for node in GcsClient(address=os.environ["RAY_ADDRESS"]).get_all_node_info(timeout=5).values()))
'

wait_for() {  # wait_for NUMBER: until so many nodes have joined
  local deadline=$((SECONDS + 300)) step
  until [ "$(python -c "$COUNT" 2>/dev/null || echo 0)" -ge "$1" ]; do
    for step in "${steps[@]}"; do
      kill -0 "$step" 2>/dev/null || { echo "error: a Ray node ended; see ray-$SLURM_JOB_ID-*.log" >&2; exit 1; }
    done
    [ $SECONDS -lt $deadline ] || { echo "error: not all nodes of Ray came up; see ray-$SLURM_JOB_ID-*.log" >&2; exit 1; }
    sleep 1
  done
}

wait_for 1
for number in "${!hosts[@]}"; do
  [ "$number" -gt 0 ] || continue
  host=${hosts[$number]}
  start_node "$number" "$host" "$(address_of "$host")" --address="$RAY_ADDRESS" --num-cpus="$cpus" --num-gpus="$gpus"
done
wait_for ${#hosts[@]}
echo "Ray: ${#hosts[@]} nodes of $cpus CPUs and $gpus GPUs; dashboard on $(hostname) at http://127.0.0.1:$((base + 900))"

# In the background, so that SLURM's warning before the time runs out reaches this script.
"$@" &
steps+=($!)
wait $!
