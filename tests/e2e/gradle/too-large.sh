#!/bin/bash
# Proves that an entry above gradle.max_entry costs only itself: the store is declined with success, the build goes
# on with its cache, and everything else is there for the next one.
source "$(dirname "$0")/../lib.sh"
need_gradle

mapfile -t small < <(cacheable | grep -v :app:digestTable)

start_node LARDER_GRADLE_MAX_ENTRY=1MiB
build first
assert_metric 'larder_gradle_declined_total{reason="too-large"}' == 1
assert_metric larder_gradle_stores_total == ${#small[@]}

build second
assert_from_cache "$WORK/second.log" "${small[@]}"
assert_not_from_cache "$WORK/second.log" :app:digestTable
assert_metric 'larder_gradle_declined_total{reason="too-large"}' == 2
