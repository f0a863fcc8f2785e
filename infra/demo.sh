#!/usr/bin/env bash
# Start a Ray head of our own in the repository, submit the demo job to it, print what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
gcs_port=$1 dashboard_port=$2
export RAY_ADDRESS="http://127.0.0.1:${dashboard_port}"

stop_head() { [ -z "${head:-}" ] || { kill "$head" 2>/dev/null || true; wait "$head" 2>/dev/null || true; }; }
trap stop_head EXIT

env -u RAY_ADDRESS ray start --head --block --port "$gcs_port" --dashboard-host 127.0.0.1 \
    --dashboard-port "$dashboard_port" --disable-usage-stats >"${OMNIMAT_STORAGE}.head.log" 2>&1 &
head=$!
for _ in $(seq 60); do
    ray job list >/dev/null 2>&1 && break
    kill -0 "$head" || { cat "${OMNIMAT_STORAGE}.head.log"; exit 1; }
    sleep 1
done

ray job submit jobs/demo.yaml

env -u RAY_ADDRESS omnimat leaderboard show
echo "HTML page: $(omnimat leaderboard export "${OMNIMAT_STORAGE}/leaderboard.html")"
