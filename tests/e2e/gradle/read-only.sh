#!/bin/bash
# Proves that a user who may only read can build with push switched on: what is there comes from the cache, the store of
# what is new is declined with success and counted, and nothing of it can be read afterwards.
source "$(dirname "$0")/../lib.sh"
need_gradle

CONFIG=$WORK/larder.toml
cat >"$CONFIG" <<TOML
[auth]
anonymous = "none"

[[auth.user]]
name = "ci"
password = "$PASSWORD"
grants = ["gradle:**=read-write"]

[[auth.user]]
name = "dev"
password = "$PASSWORD"
grants = ["gradle:**=read"]
TOML
mapfile -t others < <(cacheable | grep -v :core:compileJava)

LOGIN=ci
start_node
build first

# A comment: the sources differ, what is compiled does not.
LOGIN=dev
changed() {
    checkout "$1"
    echo '// changed' >>"$WORK/$1/core/src/main/java/sample/core/Trie.java"
    gradle_in "$1" build
    assert_not_from_cache "$WORK/$1.log" :core:compileJava
    assert_from_cache "$WORK/$1.log" "${others[@]}"
}
changed second
assert_metric 'larder_gradle_declined_total{reason="read-only"}' == 1
changed third
assert_metric 'larder_gradle_declined_total{reason="read-only"}' == 2
