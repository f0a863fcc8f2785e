#!/usr/bin/env bash
# Start a Ray head of our own in the repository, submit the demo job to it, print what came out.
# The head answers on loopback alone, and only to those who know this run's token.
set -euo pipefail
cd "$(dirname "$0")/.."
gcs_port=$1 dashboard_port=$2
mkdir -p "$OMNIMAT_STORAGE"
log="$OMNIMAT_STORAGE/ray-head.log"
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
# Where it may form clusters, `ray start` turns 127.0.0.1 into the address of the network card.
export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
# Known to the head too: Ray's own watchdogs would else ask any other Ray of this machine.
export RAY_API_SERVER_ADDRESS="http://127.0.0.1:$dashboard_port"
# There is nothing to drain at the end; the default waits for 30 s.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

stop_head() {
    kill "$head" 2>/dev/null || true
    wait "$head" 2>/dev/null || true
}
ray start --head --block --node-ip-address 127.0.0.1 --port "$gcs_port" \
    --dashboard-host 127.0.0.1 --dashboard-port "$dashboard_port" --disable-usage-stats \
    --dashboard-agent-listen-port 0 --min-worker-port 0 --max-worker-port 0 \
    >"$log" 2>&1 &
head=$!
trap stop_head EXIT

for _ in $(seq 60); do
    if ray job list >/dev/null 2>&1; then break; fi
    kill -0 "$head" || { cat "$log"; exit 1; }
    sleep 1
done

ray job submit jobs/demo.yaml

omnimat leaderboard show
echo "Pages for a browser: $(omnimat leaderboard export "$OMNIMAT_STORAGE/leaderboard")/index.html"
echo "The same, live, with comparisons: OMNIMAT_STORAGE=$OMNIMAT_STORAGE omnimat leaderboard serve"
