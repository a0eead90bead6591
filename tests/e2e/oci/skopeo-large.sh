#!/bin/bash
# Shows that an image of 300 MiB goes in with skopeo and, after kill -9 of the node, comes out byte for byte; that it is
# copied inside the registry without its bytes (mounted) and into Docker's format; that an index goes with both of its
# platforms; that tags are listed, manifests are what was pushed, and an admin, nobody else, can delete.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/image.bash"
need skopeo jq openssl

mib=$((1024 * 1024))
image_manifest amd64 $((160 * mib)) $((100 * mib)) $((39 * mib)) $((mib - 1)) 4
large=$(tagged large)
image_manifest amd64 $mib 5000 && platforms=$descriptor
image_manifest arm64 $((2 * mib)) 5001 && platforms+=,$descriptor
printf '{"schemaVersion":2, "mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' \
    "$platforms" >"$WORK/index"
keep "$WORK/index" application/vnd.oci.image.index.v1+json
both=$(tagged both)
layout "$large" "$both"

# copy USER FROM TO [OPTION ...]
copy() { must "skopeo does not copy $2 to $3 as ${1:-nobody}" skopeo_as "$1" copy "${@:4}" "$2" "$3"; }
raw() { must "skopeo does not inspect $1" skopeo_as gradle inspect --raw "docker://$REGISTRY/$1"; }
tags() {
    must "skopeo does not list the tags of $1" skopeo_as gradle list-tags "docker://$REGISTRY/$1" |
        jq -r '.Tags | sort | join(" ")'
}
# pulled REFERENCE BLOBS [OPTION ...]: a pull brings so many blobs of the layout, byte for byte.
pulled() {
    local file found=0
    rm -rf "$WORK/pulled"
    copy gradle "docker://$REGISTRY/$1" "dir:$WORK/pulled" "${@:3}"
    for file in "$WORK"/pulled/*; do
        [ -e "$image/blobs/sha256/${file##*/}" ] || continue
        cmp "$file" "$image/blobs/sha256/${file##*/}" || fail "$1: ${file##*/} came back different"
        found=$((found + 1))
    done
    [ $found = "$2" ] || { ls -l "$WORK/pulled"; fail "$1: $found of $2 blobs came back"; }
}

users gradle='oci:**=read-write' keeper='oci:**=admin'
start_registry

# In and, from a node that was killed, out.
copy gradle "oci:$image:large" "docker://$REGISTRY/team/large:one" --preserve-digests
kill_node
start_registry
raw team/large:one | cmp - "$(blob_of "$large")" || fail "the manifest is not what was pushed"
pulled team/large:one 6

# Inside the registry. That it is mounted is told at length only.
skopeo_debug=1 copy gradle "docker://$REGISTRY/team/large:one" "docker://$REGISTRY/other/large:one" --preserve-digests
mounted_blobs=$(grep -c 'mount OK' "$WORK/skopeo.err" || true)
[ "$mounted_blobs" = 5 ] || { grep -i mount "$WORK/skopeo.err"; fail "$mounted_blobs of 5 layers were mounted"; }
raw other/large:one | cmp - "$(blob_of "$large")" || fail "the copy's manifest is another"

# Docker's format, and from there OCI's. Its configuration is written anew on the way.
copy gradle "docker://$REGISTRY/team/large:one" "docker://$REGISTRY/team/docker:v2s2" --format v2s2
type=$(raw team/docker:v2s2 | jq -r .mediaType)
[ "$type" = application/vnd.docker.distribution.manifest.v2+json ] || fail "with --format v2s2 there is $type"
pulled team/docker:v2s2 6
copy gradle "docker://$REGISTRY/team/docker:v2s2" "docker://$REGISTRY/team/docker:oci" --format oci
type=$(raw team/docker:oci | jq -r '.mediaType // "application/vnd.oci.image.manifest.v1+json"')
[ "$type" = application/vnd.oci.image.manifest.v1+json ] || fail "with --format oci there is $type"
pulled team/docker:oci 5
[ "$(tags team/docker)" = "oci v2s2" ] || fail "team/docker has the tags $(tags team/docker)"

# Both platforms, and one of them.
copy gradle "oci:$image:both" "docker://$REGISTRY/team/large:both" --all --preserve-digests
raw team/large:both | cmp - "$(blob_of "$both")" || fail "the index is not what was pushed"
pulled team/large:both 6 --all
for architecture in amd64 arm64; do
    found=$(skopeo_as gradle inspect --config "docker://$REGISTRY/team/large@$(jq -r --arg wanted "$architecture" \
        '.manifests[] | select(.platform.architecture == $wanted) | .digest' "$(blob_of "$both")")" | jq -r .architecture)
    [ "$found" = "$architecture" ] || fail "the image for $architecture is for ${found:-nothing}"
done
[ "$(tags team/large)" = "both one" ] || fail "team/large has the tags $(tags team/large)"

# Deleted by whoever may; what was mounted elsewhere stays.
! skopeo_as gradle delete "docker://$REGISTRY/team/large:one" || fail "a user with read-write deletes"
pulled team/large:one 6
must "an admin cannot delete" skopeo_as keeper delete "docker://$REGISTRY/team/large:one"
[ "$(tags team/large)" = both ] || fail "after the delete team/large has the tags $(tags team/large)"
! skopeo_as gradle inspect --raw "docker://$REGISTRY/team/large:one" >"$WORK/answer" || fail "what was deleted is still there"
pulled other/large:one 6
