#!/bin/bash
# Proves that the node can be restarted while a build runs, in order and by kill -9, and that the build keeps its cache:
# what it stored before is there afterwards, and what comes afterwards is stored.
source "$(dirname "$0")/../lib.sh"
need_gradle
mapfile -t tasks < <(cacheable)
script=$(hook_script)

start_node
on_hook=in_order
in_order() {
    assert_metric larder_gradle_stores_total == 6
    stop_node
    start_node
    restarted=1
}
build first -Phook="$script"
[ "${restarted:-}" = 1 ] || fail "the hook was not reached"
assert_metric larder_gradle_stores_total == 4

on_hook=by_force
by_force() {
    assert_metric larder_gradle_hits_total '>=' 6
    kill_node
    start_node
    restarted=2
}
build second -Phook="$script"
[ "$restarted" = 2 ] || fail "the hook was not reached"
assert_from_cache "$WORK/second.log" "${tasks[@]}"
assert_metric larder_gradle_hits_total == 4
