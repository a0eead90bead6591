#!/bin/bash
# Proves that a damaged entry is a miss and never more: whatever is flipped, cut off or emptied on disk, the task runs
# again, its store replaces the damage, and the build after that gets everything from the cache.
source "$(dirname "$0")/../lib.sh"
need_gradle
mapfile -t tasks < <(cacheable)

start_node
build first --info
for task in "${tasks[@]}"; do
    printf '%s %s\n' "$task" "$(key_of "$WORK/first.log" "$task")"
done >"$WORK/keys"
record() { record_of "$(awk -v task="$1" '$1 == task { print $2 }' "$WORK/keys")"; }
payload() { payload_of "$(awk -v task="$1" '$1 == task { print $2 }' "$WORK/keys")"; }

# All but :app:test, each in a way of its own.
damage() {
    local file
    flip "$(record :core:compileJava)" 0                                           # the header's first byte
    file=$(record :core:compileTestJava) && flip "$file" "$(offset_of "$file" '"size":')"
    file=$(record :core:test) && flip "$file" "$(offset_of "$file" '"sums":[^A-Za-z0-9]*')"
    file=$(record :text:compileJava) && flip "$file" "$(head -n 1 "$file" | wc -c)" # the body's first byte
    file=$(record :text:compileTestJava) && flip "$file" $(($(stat -c %s "$file") - 1))
    truncate -s -10 "$(record :text:test)"                                         # in the body
    truncate -s 20 "$(record :app:compileJava)"                                    # in the header
    truncate -s 0 "$(record :app:compileTestJava)"
    flip "$(payload :app:digestTable)" 2500000                                     # in its last chunk
}

# While the node runs: memory may answer, or a miss; never a bad byte.
damage
build warm

# Cold: the disk is all there is. What memory hid above is on disk still, or has been replaced.
kill_node
start_node
build replace
kill_node
damage
start_node
build cold
assert_from_cache "$WORK/cold.log" :app:test
mapfile -t damaged < <(cacheable | grep -v :app:test)
assert_not_from_cache "$WORK/cold.log" "${damaged[@]}"
assert_metric larder_store_corrupt_total '>=' ${#damaged[@]}

# Healed, and not only in memory.
kill_node
start_node
build healed
assert_from_cache "$WORK/healed.log" "${tasks[@]}"

# A payload can be damaged in more ways; each is a 404, twice, and is gone with the next store.
key=$(awk '$1 == ":app:digestTable" { print $2 }' "$WORK/keys")
http "/cache/$key" -f -o "$WORK/entry"
for harm in 'flip FILE 0' 'flip FILE 3000000' 'truncate -s 2000000 FILE' 'truncate -s 0 FILE' 'rm FILE'; do
    kill_node
    ${harm/FILE/"$(payload :app:digestTable)"}
    start_node
    for _ in 1 2; do
        status=$(http "/cache/$key" -o "$WORK/answer" -w '%{http_code}') || fail "'$harm': the answer broke off"
        [ "$status" = 404 ] || fail "'$harm' is answered with $status"
    done
    http "/cache/$key" -f -T "$WORK/entry" -o "$WORK/answer"
    http "/cache/$key" -f | cmp - "$WORK/entry" || fail "'$harm' was not healed by a store"
done
