#!/bin/bash
# Proves that a user who may only read builds with the layers that another one left, and that the build with --no-push
# and --no-push-cache does not fail where a layer is missing; and that this user's push is refused.
source "$(dirname "$0")/lib.sh"
need_kaniko

CONFIG=$WORK/larder.toml
cat >"$CONFIG" <<TOML
[auth]
anonymous = "none"

[[auth.user]]
name = "ci"
password = "$PASSWORD"
grants = ["oci:**=read-write", "gradle:**=read-write"]

[[auth.user]]
name = "dev"
password = "$PASSWORD"
grants = ["oci:**=read", "gradle:**=read"]
TOML

LOGIN=ci
start_node
put_small_base team/base:1
two_steps "$PORT"
cache=(--cache=true "--cache-repo=127.0.0.1:$PORT/team/cache")
kaniko writer "$context" "${cache[@]}" --destination="127.0.0.1:$PORT/team/app:1"
assert_layers writer 0 1

LOGIN=dev
kaniko reader "$context" "${cache[@]}" --no-push --no-push-cache
assert_layers reader 2 0

# One step more: it is made here and stays here.
echo 'RUN cat /two /two >/four' >>"$context/Dockerfile"
for name in once again; do
    kaniko "$name" "$context" "${cache[@]}" --no-push --no-push-cache
    assert_layers "$name" 2 1
done

# Without --no-push kaniko asks beforehand, and ends.
start_kaniko pusher "$context" "${cache[@]}" --destination="127.0.0.1:$PORT/team/app:2"
! wait "$EXECUTOR" || fail "a user who may only read has pushed an image"
grep -q 'checking push permission' "$WORK/pusher.log" ||
    { cat "$WORK/pusher.log"; fail "kaniko failed for another reason"; }
LOGIN=ci
status=$(http /v2/team/app/manifests/2 -o /dev/null -w '%{http_code}' -H 'Accept: */*')
[ "$status" = 404 ] || fail "larder has an answer for team/app:2: $status"
