#!/bin/bash
# Proves that a full disk declines stores and hurts no build: first only the large entry does not fit, then nothing does.
source "$(dirname "$0")/../lib.sh"
need_gradle
[ "$(id -u)" = 0 ] || skip "a file system of 2 MiB needs root to mount" "run it as root"

mkdir "$DATA"
mount -t tmpfs -o size=2m larder-e2e "$DATA" 2>/dev/null || skip "no tmpfs can be mounted here" "run it with CAP_SYS_ADMIN"
mounted=$DATA

# New sources, so that there is something to store.
changed() {
    checkout "$1"
    find "$WORK/$1" -name '*.java' -exec sed -i "\$a // $1" {} +
    gradle_in "$1" build
}

start_node
build first
assert_metric 'larder_gradle_declined_total{reason="no-space"}' '>=' 1

# Not one byte left.
dd if=/dev/zero of="$DATA/filler" bs=4096 status=none 2>/dev/null || true
before=$(metric 'larder_gradle_declined_total{reason="no-space"}')
changed second
assert_metric 'larder_gradle_declined_total{reason="no-space"}' '>' "$before"

# Started again on the full disk it serves, too.
kill_node
start_node
changed third

# And when there is space again, it stores again.
rm "$DATA/filler"
stored=$(metric larder_gradle_stores_total)
changed fourth
assert_metric larder_gradle_stores_total '>' "$stored"
