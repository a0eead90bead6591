#!/bin/bash
# Shows that the port, which speaks plain HTTP, ends a connection that begins with TLS at once: kaniko, skopeo and docker
# try TLS first, anew for every layer they look up, and wait for what comes. HTTP goes on beside it.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/image.bash"
need skopeo curl openssl jq
start_registry

milliseconds() { say $((${EPOCHREALTIME/[.,]/} / 1000)); }

# ended BYTES: the node ends a connection that begins with these bytes (in printf's words); how long it took is in $took.
# It may say something in HTTP before: "server gave HTTP response to HTTPS client" is what some clients try HTTP after.
ended() {
    local begun status=0
    begun=$(milliseconds)
    exec 3<>"/dev/tcp/127.0.0.1/$PORT"
    # shellcheck disable=SC2059 # the bytes are the format
    printf "$1" >&3
    timeout 10 cat <&3 >"$WORK/answer" 2>"$WORK/words" || status=$?
    exec 3>&-
    took=$(($(milliseconds) - begun))
    # A reset is an end, too.
    [ $status != 124 ] || fail "a connection that begins with $1 is left open"
    [ $took -lt 2000 ] || fail "a connection that begins with $1 is ended after $took ms"
    ! grep -aq '^HTTP/[0-9.]* [123]' "$WORK/answer" || fail "the answer to TLS is a success: $(head -n 1 "$WORK/answer")"
}

# A whole hello, by two that speak TLS. They fail because of the end, not because of their own time limit.
for ((round = 1; round <= 5; round++)); do
    begun=$(milliseconds)
    status=0
    timeout 10 openssl s_client -connect "$REGISTRY" </dev/null >"$WORK/answer" 2>&1 || status=$?
    took=$(($(milliseconds) - begun))
    [ $status != 0 ] || fail "somebody speaks TLS on the plain port"
    if [ $status = 124 ] || [ $took -ge 2000 ]; then fail "openssl waited $took ms for the end"; fi
    say "openssl saw the end after $took ms"
done
status=0
curl -ks --max-time 10 -o "$WORK/answer" -w '%{time_total}\n' "https://$REGISTRY/v2/" >"$WORK/words" || status=$?
[ $status != 28 ] || fail "curl waited for an answer to its hello"
[ $status = 35 ] || fail "curl ended with $status, not with the 35 of a handshake that failed"

# What comes first decides: the record's header, and its first byte alone.
ended '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
say "a hello's beginning is ended after $took ms"
ended '\x16'
say "its first byte alone is ended after $took ms"

# HTTP is served meanwhile: on a connection from before, and on new ones.
exec 4<>"/dev/tcp/127.0.0.1/$PORT"
hellos=()
for ((round = 1; round <= 50; round++)); do
    { timeout 10 openssl s_client -connect "$REGISTRY" </dev/null || true; } >"$WORK/hello.$round" 2>&1 &
    hellos+=($!)
    http /healthz -f -o "$WORK/answer" || fail "HTTP is not served beside TLS"
done
wait "${hellos[@]}"
printf 'GET /healthz HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n' >&4
timeout 10 cat <&4 | grep -q '^HTTP/1.1 200' || fail "a connection from before is not served"
exec 4>&-

# An image goes in and out by clients that try TLS first.
image_manifest amd64 100000 5000
layout "$(tagged small)"
must "skopeo does not push" skopeo_as gradle copy "oci:$image:small" "docker://$REGISTRY/team/small:1" --preserve-digests
must "skopeo does not pull" skopeo_as gradle copy "docker://$REGISTRY/team/small:1" "dir:$WORK/pulled"
cmp "$WORK/pulled/manifest.json" "$(blob_of "$descriptor")" || fail "the image came back different"
