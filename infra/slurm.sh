#!/usr/bin/env bash
# Run a job file on nodes of Slurm, in the environment that is active:
#
#   OMNIMAT_STORAGE=s3://your-bucket/omnimat sbatch infra/slurm.sh jobs/pretrain.yaml
#
# Killed or out of time, submit it again: the run goes on where it stopped.
#SBATCH --job-name=omnimat --time=24:00:00 --requeue
# CPU nodes, for featurizers; the first runs the head too.
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=32 --mem=64G
#SBATCH hetjob
# GPU nodes, for trainers.
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=32 --mem=256G --gpus-per-node=4
set -euo pipefail
: "${OMNIMAT_STORAGE:?set it to a URI that all nodes reach}"
[ $# -ge 1 ] || { echo "usage: sbatch infra/slurm.sh JOB_FILE [--set key=value...]" >&2; exit 2; }
cd "$SLURM_SUBMIT_DIR"

RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
# Other jobs may be on these nodes, and both kinds of workers on one: ports and folder of our own.
port=$((20000 + SLURM_JOB_ID % 4000 * 8))
export DASHBOARD_PORT=$((port + 1))
address=$(hostname --all-ip-addresses | cut -d' ' -f1):$port
export TEMP_FOLDER=/tmp/omnimat-$SLURM_JOB_ID

trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
infra/ray_cluster.sh head "$address" --metrics-export-port $((port + 2)) &
head=$!
workers() {
    srun --het-group="$1" --kill-on-bad-exit=0 \
        infra/ray_cluster.sh worker "$address" "$2" --metrics-export-port $((port + 3 + $1)) &
}
workers 0 featurizer
workers 1 trainer
num_nodes=$((SLURM_JOB_NUM_NODES_HET_GROUP_0 + SLURM_JOB_NUM_NODES_HET_GROUP_1))
infra/ray_cluster.sh run "$num_nodes" "$@" &
wait -n "$head" $! # without its head the job would wait in vain
