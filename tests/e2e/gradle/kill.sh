#!/bin/bash
# Proves that kill -9 loses nothing that was acknowledged and leaves nothing half: the node is killed again and again
# at a random moment among stores; after each start every acknowledged entry reads back equal, and an entry whose
# answer was lost is whole or absent. Then Gradle builds on what is left.
source "$(dirname "$0")/../lib.sh"
need_gradle
rounds=15

# One writer of three. Bodies from some bytes to 3 MiB: in the record, and beside it. Each is told by its key, and
# every fifth store overwrites the writer's own entry with a new body.
writer() { # ROUND WRITER
    local n key length status
    for ((n = 0; ; n++)); do
        case $((RANDOM % 4)) in
            0) length=$((RANDOM % 1000 + 1)) ;; 1) length=$((RANDOM * 3 + 1)) ;;
            2) length=$((RANDOM * 40 + 1)) ;; 3) length=$((RANDOM * 96 + 1)) ;;
        esac
        key=$(printf '%04x%04x%04x' "$1" "$2" "$n")
        [ $((n % 5)) != 4 ] || key=$(printf 'feed%04x' "$2")
        head -c "$length" /dev/urandom >"$WORK/bodies/$key.new"
        status=$(http "/cache/$key" -T "$WORK/bodies/$key.new" -o "$WORK/answer$2" -w '%{http_code}' 2>/dev/null) || return 0
        [ "$status" = 201 ] || echo "a store is answered with $status" >"$WORK/refused"
        mv "$WORK/bodies/$key.new" "$WORK/bodies/$key.kept"
    done
}

# Reads back what is named so: KEY.kept was acknowledged, KEY.new got no answer.
check() { # PATTERN
    local file key status
    while read -r key; do
        file=$WORK/bodies/$key
        status=$(http "/cache/$key" -o "$WORK/answer" -w '%{http_code}') || fail "round $round: reading $key broke off"
        case $status in
            200) cmp -s "$WORK/answer" "$file.kept" || cmp -s "$WORK/answer" "$file.new" || fail "round $round: $key came back different" ;;
            404) [ ! -e "$file.kept" ] || fail "round $round: $key was acknowledged and is gone" ;;
            *) fail "round $round: $key is answered with $status" ;;
        esac
        # From now on it is what was read that must stay.
        rm -f "$file.new"
        [ "$status" = 404 ] || mv "$WORK/answer" "$file.kept"
    done < <(find "$WORK/bodies" -name "$1" | sed -n 's|.*/\(.*\)\.\(kept\|new\)$|\1|p' | sort -u)
}

mkdir "$WORK/bodies"
for ((round = 1; round <= rounds; round++)); do
    start_node
    writers=()
    for id in 1 2 3; do
        writer "$round" "$id" &
        writers+=($!)
    done
    sleep "0.$((RANDOM % 50 + 10))"
    kill_node
    wait "${writers[@]}"
    start_node
    check "$(printf %04x "$round")*"
    check 'feed*'
    kill_node
done
[ ! -e "$WORK/refused" ] || fail "$(cat "$WORK/refused")"
kept=$(find "$WORK/bodies" -name '*.kept' | wc -l)
say "$kept entries were acknowledged"
[ "$kept" -ge "$rounds" ] || fail "too few to prove anything"

start_node
check '*'
build first
build second
mapfile -t tasks < <(cacheable)
assert_from_cache "$WORK/second.log" "${tasks[@]}"
