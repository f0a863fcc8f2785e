#!/usr/bin/env bash
# A Ray cluster on machines that somebody else hands out; slurm.sh and skypilot.yaml use it.
#
#   ray_cluster.sh head ADDRESS [OPTION...]          be the head at ADDRESS, host:port, until ended
#   ray_cluster.sh worker ADDRESS ROLE [OPTION...]   serve that head as a trainer or featurizer
#   ray_cluster.sh run NUM_WORKERS JOB_FILE [...]    beside the head: wait for workers, run the job
#
# Options are those of `ray start`. Who has the token in RAY_AUTH_TOKEN may use the cluster. Sessions
# and logs go to TEMP_FOLDER, the head's dashboard to DASHBOARD_PORT.
set -euo pipefail
patience_s=900

usage() {
    sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}
start() { # free ports and a folder of its own, for a machine may hold the head and workers
    local folder=${TEMP_FOLDER:-/tmp/omnimat-$(id -u)}/$1
    shift
    exec ray start --block --disable-usage-stats --dashboard-agent-listen-port 0 \
        --min-worker-port 0 --max-worker-port 0 --temp-dir "$folder" "$@"
}
accepts() { (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; }
has_workers() {
    local nodes
    nodes=$(ray list nodes --address "$dashboard" --filter state=ALIVE --limit 10000 2>&1) || true
    [ "$(grep -c ALIVE <<<"$nodes")" -gt "$1" ] # the head is one
}
wait_until() {
    until "$@"; do
        ((SECONDS < patience_s)) || { echo "no success after $patience_s s: $*" >&2; exit 1; }
        sleep 2
    done
}

[ $# -ge 2 ] || usage
command=$1
shift
export RAY_AUTH_MODE=token
: "${RAY_AUTH_TOKEN:?set it to a secret that all machines share}"
dashboard_port=${DASHBOARD_PORT:-8265}
dashboard=http://127.0.0.1:$dashboard_port
case $command in
    head)
        address=$1
        shift
        export RAY_DASHBOARD_STARTUP_TIMEOUT_S=$patience_s # it takes the job; disks may be slow
        # No work and a small object store: a worker may share the machine.
        start head --head --node-ip-address "${address%:*}" --port "${address##*:}" \
            --dashboard-host 127.0.0.1 --dashboard-port "$dashboard_port" \
            --num-cpus 0 --num-gpus 0 --object-store-memory $((2 << 30)) "$@"
        ;;
    worker)
        [[ ${2-} =~ ^(trainer|featurizer)$ ]] || usage
        address=$1 role=$2
        shift 2
        wait_until accepts "$address"
        # The port opens before the head is ready; so many times 2 s Ray asks for it.
        export RAY_NUM_REDIS_GET_RETRIES=$((patience_s / 2))
        start "$role" --address "$address" --labels "omnimat.io/role=$role" \
            --num-cpus "$(env -u OMP_NUM_THREADS nproc)" "$@" # those this process may use
        ;;
    run)
        wait_until has_workers "$1"
        shift
        exec ray job submit --address "$dashboard" -- "$@"
        ;;
    *) usage ;;
esac
