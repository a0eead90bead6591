#!/bin/bash
# Proves that --cache=true alone does: kaniko keeps its layers in <destination>/cache then, a deeper repository that
# nobody has made, and a second build gets them from there.
source "$(dirname "$0")/lib.sh"
need_kaniko

start_node
put_small_base team/base:1
two_steps "$PORT"

build() { # NAME
    kaniko "$1" "$context" --cache=true --destination="127.0.0.1:$PORT/team/area/app:$1"
}

build first
assert_layers first 0 1
grep -q "Pushed 127.0.0.1:$PORT/team/area/app/cache@" "$WORK/first.log" || fail "kaniko's cache is elsewhere: $(cat "$WORK/first.log")"
build second
assert_layers second 2 0
assert_file team/area/app:second two "$(printf 'one\none')"
