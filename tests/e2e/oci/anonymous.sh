#!/bin/bash
# Shows what auth.anonymous = "read" is to the registry's clients: whoever has no credentials can pull with skopeo,
# buildah and BuildKit and with a token as docker gets it, and can change nothing; a user with read-write can push, with
# the password and with a token. With "none" nobody else pulls.
source "$(dirname "$0")/lib.sh"
need_buildah
need skopeo jq curl

# refused WHAT COMMAND ...: it fails, and with what the client says of a refusal in $WORK/words.
refused() {
    local what=$1
    shift
    : >"$WORK/skopeo.err"
    if "$@" >"$WORK/words" 2>&1; then fail "$what"; fi
    cat "$WORK/skopeo.err" >>"$WORK/words"
    grep -qiE 'unauthorized|authentication required|authorization failed|denied|forbidden' "$WORK/words" ||
        { tail -n 20 "$WORK/words"; fail "$what: it failed for another reason"; }
}

# answer STATUS[|STATUS] PATH [OPTION ...]: curl without credentials of its own.
answer() {
    local status
    status=$(curl -sS --max-time 20 -o "$WORK/answer" -D "$WORK/head" -w '%{http_code}' "http://$REGISTRY$2" "${@:3}")
    [[ "|$1|" == *"|$status|"* ]] || { cat "$WORK/head" "$WORK/answer"; fail "$2 (${*:3}) is answered with $status, not $1"; }
}

# token SCOPE [OPTION ...]: from where the challenge sends its clients; in $bearer a header.
token() {
    curl -sS --max-time 20 -f -o "$WORK/token" -G "$realm" --data-urlencode "service=$service" \
        --data-urlencode "scope=$1" "${@:2}" || fail "no token for $1"
    bearer="Authorization: Bearer $(jq -er '.token // .access_token' "$WORK/token")" || fail "no token in $(cat "$WORK/token")"
}

# challenged FIELD: a field of the challenge.
challenged() { sed -nE "s/^www-authenticate: *bearer .*$1=\"([^\"]*)\".*/\1/Ip" "$WORK/head" | head -n 1; }

pull() { skopeo_as "$1" copy "docker://$REGISTRY/team/base:1" "dir:$WORK/pulled-${1:-nobody}"; }
tags() { skopeo_as gradle list-tags "docker://$REGISTRY/team/base" | jq -r '.Tags | sort | join(" ")'; }

anonymous="read" users gradle='oci:**=read-write'
start_registry
busybox_context "$WORK/base" <<'DOCKERFILE'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
ENV PATH=/bin
DOCKERFILE
must "buildah does not build" buildah_in first gradle build -t "$REGISTRY/team/base:1" "$WORK/base"
must "buildah does not push" buildah_in first gradle push "$REGISTRY/team/base:1"

# Without credentials: skopeo, buildah.
must "skopeo does not pull without credentials" pull ""
must "skopeo does not list tags without credentials" skopeo_as "" list-tags "docker://$REGISTRY/team/base" >"$WORK/answer"
refused "skopeo pushes without credentials" skopeo_as "" copy "dir:$WORK/pulled-nobody" "docker://$REGISTRY/team/base:2"
refused "skopeo deletes without credentials" skopeo_as "" delete "docker://$REGISTRY/team/base:1"
busybox_context "$WORK/app" <<DOCKERFILE
FROM $REGISTRY/team/base:1
RUN busybox cat /proc/sys/kernel/random/uuid >/one
DOCKERFILE
must "buildah does not build on an image that anybody may pull" buildah_in second "" build -t "$REGISTRY/team/app:1" "$WORK/app"
buildah_push() {
    local status=0
    buildah_in second "" push "$REGISTRY/team/app:1" || status=$?
    cat "$WORK/second.out"
    return $status
}
refused "buildah pushes without credentials" buildah_push

# As docker does: it asks for /v2/ first, and goes where the challenge sends it.
answer 401 /v2/
realm=$(challenged realm) service=$(challenged service)
[[ $realm == "http://$REGISTRY/"* ]] || { cat "$WORK/head"; fail "the challenge sends clients to '$realm'"; }
token repository:team/base:pull
answer 200 /v2/ -H "$bearer"
answer 200 /v2/team/base/manifests/1 -H "$bearer"
answer '401|403' /v2/team/base/blobs/uploads/ -H "$bearer" -X POST
# Docker asks for both; there is a token, and it may pull.
token repository:team/base:pull,push
answer 200 /v2/team/base/manifests/1 -H "$bearer"
answer '401|403' /v2/team/base/blobs/uploads/ -H "$bearer" -X POST
answer '401|403' /v2/team/base/manifests/2 -H "$bearer" -T "$WORK/pulled-nobody/manifest.json" \
    -H 'Content-Type: application/vnd.oci.image.manifest.v1+json'
answer '401|403' /v2/team/base/manifests/1 -H "$bearer" -X DELETE

# With the password, directly and for a token.
token repository:team/base:pull,push -u "gradle:$PASSWORD"
for credentials in "$bearer" "Authorization: Basic $(printf %s "gradle:$PASSWORD" | base64 -w 0)"; do
    answer 200 /v2/ -H "$credentials"
    answer 202 /v2/team/base/blobs/uploads/ -H "$credentials" -X POST
    location=$(sed -nE 's/^location: *([^[:space:]]*).*/\1/Ip' "$WORK/head")
    [ -n "$location" ] || fail "an upload has no location"
    answer 204 "${location#"http://$REGISTRY"}" -H "$credentials" -X DELETE
done
answer 401 "${realm#"http://$REGISTRY"}?service=$service&scope=repository:team/base:pull" -u gradle:wrong
must "a user with read-write does not push" skopeo_as gradle copy "dir:$WORK/pulled-nobody" "docker://$REGISTRY/team/base:2"
[ "$(tags)" = "1 2" ] || fail "team/base has the tags $(tags)"

# And with "none" nobody.
kill_node
users gradle='oci:**=read-write'
start_registry
refused "without auth.anonymous everybody pulls" pull ""
must "a user does not pull" pull gradle

kill_node
anonymous="read" users gradle='oci:**=read-write'
start_registry
need_buildkit
start_buildkit
buildkit_as "" pull "$WORK/app" || { cat "$WORK/pull.log"; fail "BuildKit does not pull without credentials"; }
grep -qE '^#[0-9]+ \[2/2\] RUN ' "$WORK/pull.log" || { cat "$WORK/pull.log"; fail "BuildKit did not build on what it pulled"; }
buildkit_push() {
    local status=0
    buildkit_as "" push "$WORK/app" --output "type=image,name=$REGISTRY/team/app:1,push=true" || status=$?
    cat "$WORK/push.log"
    return $status
}
refused "BuildKit pushes without credentials" buildkit_push
answer '200|404' /v2/team/app/tags/list -u "gradle:$PASSWORD"
! jq -e '.tags | length > 0' "$WORK/answer" >"$WORK/words" || fail "there is what nobody could push: $(cat "$WORK/answer")"
