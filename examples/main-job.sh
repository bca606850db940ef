#!/usr/bin/env bash
# The main job: two pipelines side by side, commits as they land, then SQL over both. Run it again to see it go on.
set -euo pipefail
cd "$(dirname "$0")/.."
spout=$1
export SPOUT_STORE=${SPOUT_STORE:-.spout/store}
mkdir -p .spout/events

# A file that grows while it is followed: 40 lines five times a second, for about eight seconds.
file=.spout/events/pushes.ndjson
touch "$file"
grow() {
  local n
  n=$(wc -l <"$file")
  for _ in $(seq 40); do
    for _ in $(seq 40); do
      n=$((n + 1))
      printf '{"id":%d,"repo":"repo-%d","kind":"%s","size":%d,"actor":{"login":"user-%d","mail":"user-%d@example.org"}}\n' \
        "$n" $((n % 17)) "$([ $((n % 3)) -eq 0 ] && echo issue || echo push)" $((n * 37 % 1000)) $((n % 101)) $((n % 101))
    done >>"$file"
    sleep 0.2
  done
}
grow &
grower=$!
trap 'kill $grower 2>/dev/null || true' EXIT

echo "Two pipelines: nexmark.yaml (a generator, finite) and files.yaml (a growing file). Store: $SPOUT_STORE"
"$spout" run examples/nexmark.yaml examples/files.yaml --until idle

echo
echo "The newest commits of both:"
"$spout" list commit nexmark@master | head -n 6
"$spout" list commit pushes@master | head -n 6
echo
echo "The most active auctions, by SQL over the committed bids:"
"$spout" sql "select auction, count(*) as bids, max(price) as highest from nexmark group by auction order by bids desc, auction limit 5"
echo
echo "Pushes by repo, now and one commit ago:"
"$spout" sql "select repo, count(*) as pushes, sum(size) as bytes from pushes group by repo order by pushes desc, repo limit 5"
"$spout" sql "select count(*) as pushes_one_commit_ago from pushes" --at pushes@master~1
echo
echo "Kill it anywhere, run it again: every row is there exactly once. rm -r .spout starts over."
