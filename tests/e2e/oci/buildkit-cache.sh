#!/bin/bash
# Shows that BuildKit keeps its cache in the registry, as an image manifest (what it does by itself) and as an index of
# blobs: a builder with nothing but the registry finds every step there and pushes the same image; and a cache that is
# exported again and again under one tag stays usable.
source "$(dirname "$0")/lib.sh"
need_buildkit
need jq skopeo

# What each step writes is told by nothing but the step that ran.
busybox_context "$WORK/context" <<'DOCKERFILE'
FROM scratch AS compiler
COPY busybox /bin/busybox
RUN ["/bin/busybox", "ln", "-s", "busybox", "/bin/sh"]
ENV PATH=/bin
RUN busybox cat /proc/sys/kernel/random/uuid >/one
RUN busybox dd if=/dev/urandom of=/two bs=1024 count=3000 2>/dev/null
FROM scratch
COPY --from=compiler /bin /bin
COPY --from=compiler /one /two /
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox cat /proc/sys/kernel/random/uuid >/three"]
DOCKERFILE

# build MACHINE KIND [ARGUMENT ...]: exports to and imports from team/cache:KIND, pushes team/app:MACHINE.
build() {
    buildkit_as gradle "$1" "$WORK/context" --output "type=image,name=$REGISTRY/team/app:$1,push=true" \
        --import-cache "type=registry,ref=$REGISTRY/team/cache:$2" "${@:3}" ||
        { tail -n 40 "$WORK/$1.log"; fail "BuildKit does not build: $1"; }
}
config() { skopeo_as gradle inspect --raw "docker://$REGISTRY/team/app:$1" | jq -r .config.digest; }

# expect_cached MACHINE STEPS PATTERN: so many steps of that name are CACHED.
expect_cached() {
    local cached
    cached=$(awk '/^#[0-9]+ \[/ { name[$1] = $0 } /^#[0-9]+ CACHED$/ { print name[$1] }' "$WORK/$1.log" | grep -cE "$3" || true)
    [ "$cached" = "$2" ] || { cat "$WORK/$1.log"; fail "$1: $cached steps are CACHED, not $2"; }
}

start_registry
for kind in image index; do
    export=(--export-cache "type=registry,ref=$REGISTRY/team/cache:$kind,mode=max")
    # The image manifest is what BuildKit makes by itself.
    [ $kind = image ] || export=(--export-cache "type=registry,ref=$REGISTRY/team/cache:$kind,mode=max,image-manifest=false")

    start_buildkit
    build $kind-first $kind "${export[@]}"
    # The same again: its export finds everything there.
    build $kind-again $kind "${export[@]}"
    stop_buildkit

    type=$(skopeo_as gradle inspect --raw "docker://$REGISTRY/team/cache:$kind" |
        jq -r '.mediaType + " " + (.config.mediaType // "without config")')
    case $kind in
        image) [ "$type" = "application/vnd.oci.image.manifest.v1+json application/vnd.buildkit.cacheconfig.v0" ] ;;
        index) [ "$type" = "application/vnd.oci.image.index.v1+json without config" ] ;;
    esac || fail "the cache as $kind is $type"

    # Nothing is left but the registry, and that was killed.
    kill_node
    start_registry
    start_buildkit
    build $kind-second $kind "${export[@]}"
    expect_cached $kind-second 7 '(COPY|RUN) '
    [ "$(config $kind-second)" = "$(config $kind-first)" ] || fail "$kind: from the cache comes another image"
    stop_buildkit

    # A step that changed needs the layers before it.
    start_buildkit
    sed -i "s|>/three|>/three-$kind|" "$WORK/context/Dockerfile"
    build $kind-third $kind "${export[@]}"
    expect_cached $kind-third 4 '\[compiler .*(COPY|RUN) '
    expect_cached $kind-third 0 three
    stop_buildkit
    skopeo_as gradle copy "docker://$REGISTRY/team/app:$kind-third" "dir:$WORK/pulled-$kind" ||
        { cat "$WORK/skopeo.err"; fail "$kind: the image cannot be pulled"; }
done
