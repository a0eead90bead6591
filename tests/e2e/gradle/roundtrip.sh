#!/bin/bash
# Proves that a build stores what it made, and that another machine's build of the same sources (a clean checkout,
# an empty Gradle home, no daemon) gets every cacheable task from the node, byte for byte, with user and password.
source "$(dirname "$0")/../lib.sh"
need_gradle

# As on two machines: nothing is shared but the node.
machine() {
    gradle_home=$WORK/home-$1
    mkdir -p "$gradle_home"
    build "$1" --no-daemon --parallel
}

start_node
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/cache/00000000000000000000000000000000")" = 401 ] ||
    fail "the cache can be read without a password"

mapfile -t tasks < <(cacheable)
machine first
assert_not_from_cache "$WORK/first.log" "${tasks[@]}"
assert_metric larder_gradle_stores_total == ${#tasks[@]}
assert_metric larder_gradle_misses_total '>=' ${#tasks[@]}
assert_metric larder_gradle_hits_total == 0

machine second
assert_from_cache "$WORK/second.log" "${tasks[@]}"
assert_metric larder_gradle_hits_total == ${#tasks[@]}
assert_metric larder_gradle_stores_total == ${#tasks[@]}
assert_metric larder_saved_seconds_total '>' 0
assert_metric larder_gradle_declined_total == 0
grep -qE 'hit:? :[a-z]+:[A-Za-z]+, saved' "$WORK/larder.log" || fail "the node does not tell the first hit by its task"

for made in app/build/generated/digests.bin core/build/classes/java/main/sample/core/Trie.class; do
    cmp "$WORK/first/$made" "$WORK/second/$made" || fail "$made came back different"
done
grep -q 'name=app' "$WORK/second/app/build/resources/main/sample/app/module.properties" || fail "resources were not processed"
