#!/bin/bash
# Proves that eight builds can push one tag and fill one layer cache at the same time: all of them succeed, the tag is one
# of the eight images afterwards, whole, and every layer that was stored can be used.
source "$(dirname "$0")/lib.sh"
need_kaniko

start_node
put_small_base team/base:1

# The first step is the same in all, the others differ. A megabyte that no compression makes smaller.
for builder in {1..8}; do
    mkdir "$WORK/context-$builder"
    head -c 1048576 /dev/urandom >"$WORK/context-$builder/bulk"
    cat >"$WORK/context-$builder/Dockerfile" <<END
FROM 127.0.0.1:$PORT/team/base:1
RUN echo common >/common
RUN echo $builder >/builder
COPY bulk /bulk
RUN cat /bulk /bulk >/twice
END
done

build_all() { # NAME
    local builder processes=()
    for builder in {1..8}; do
        start_kaniko "$1-$builder" "$WORK/context-$builder" --cache=true --cache-repo="127.0.0.1:$PORT/team/cache" \
            --destination="127.0.0.1:$PORT/team/app:latest"
        processes+=("$EXECUTOR")
    done
    for builder in {1..8}; do
        ended "$1-$builder" "${processes[builder - 1]}"
    done
}

build_all cold
digests=$(sed -n "s|.*Pushed 127.0.0.1:$PORT/team/app@\(sha256:[0-9a-f]*\).*|\1|p" "$WORK"/cold-?.log)
[ "$(sort -u <<<"$digests" | wc -l)" = 8 ] || fail "there are not eight images: $digests"
# A build that stored a layer said so, or warned.
! grep -E 'level=(warning|error|fatal)' "$WORK"/cold-?.log || fail "kaniko complains"

digest=$(inspect_image team/app:latest --format '{{.Digest}}')
grep -qxF "$digest" <<<"$digests" || fail "the tag is $digest, none of: $digests"
get_image team/app:latest "dir:$WORK/latest"
# The other seven are still there by their digests: somebody may be pulling them.
for digest in $digests; do
    registry_copy "docker://127.0.0.1:$PORT/team/app@$digest" "dir:$WORK/image" --src-creds "$LOGIN:$PASSWORD"
    rm -r "$WORK/image"
done

build_all warm
for builder in {1..8}; do
    assert_layers "warm-$builder" 3 0
done
