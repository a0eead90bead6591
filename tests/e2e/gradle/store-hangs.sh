#!/bin/bash
# Proves that a cold store that hangs or fails is a cache that misses: lookups are 404 and stores are declined within
# their deadlines, and no build loses its cache over it. Needs a node with a faulty store.
source "$(dirname "$0")/../lib.sh"
need_gradle
LARDER_FAULTY_BIN=${LARDER_FAULTY_BIN:-$(dirname "$LARDER_BIN")/examples/faulty_node}
[ -x "$LARDER_FAULTY_BIN" ] || skip "no node with a faulty store at $LARDER_FAULTY_BIN" \
    "cargo build --release --example faulty_node, or set LARDER_FAULTY_BIN"
mapfile -t tasks < <(cacheable)

deadlines=(LARDER_STORE_LOOKUP_DEADLINE=300ms LARDER_STORE_WRITE_DEADLINE=300ms)

start_node
build first
kill_node

# What is there cannot be read.
NODE_BIN=$LARDER_FAULTY_BIN
for fault in read=hang read=error,write=error; do
    start_node FAULTS=$fault "${deadlines[@]}"
    build "$fault"
    assert_not_from_cache "$WORK/$fault.log" "${tasks[@]}"
    kill_node
done

# It happens in the middle of a build, and passes: SIGUSR1 turns the faults on and off.
DATA=$WORK/other
start_node FAULTS=read=hang,write=hang "${deadlines[@]}"
kill -USR1 "$NODE"
on_hook=hang
hang() { kill -USR1 "$NODE"; }
build midway -Phook="$(hook_script)"
on_hook=
assert_metric larder_gradle_stores_total == 6
assert_metric 'larder_gradle_declined_total{reason="unavailable"}' == 4
kill -USR1 "$NODE"
build after
kill_node

# Nothing of that stays: the store in order again.
NODE_BIN=
start_node
build last
assert_from_cache "$WORK/last.log" "${tasks[@]:0:6}"
