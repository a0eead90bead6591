# shellcheck shell=bash
# An image made of random bytes, without a builder: an OCI layout in $image that skopeo pushes as it is.

image=$WORK/image
mkdir -p "$image/blobs/sha256"
printf '{"imageLayoutVersion":"1.0.0"}' >"$image/oci-layout"

# keep FILE MEDIATYPE [REST]: into the layout; $descriptor describes it, with the rest of the JSON object.
keep() {
    local digest
    digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
    printf -v descriptor '{"mediaType":"%s","size":%d,"digest":"sha256:%s"%s}' "$2" "$(stat -c %s "$1")" "$digest" "${3:-}"
    mv "$1" "$image/blobs/sha256/$digest"
}

# image_manifest ARCHITECTURE BYTES ...: an image with layers of that size; $descriptor describes it. Random bytes that
# begin as gzip's do: skopeo takes them as they are.
image_manifest() {
    local bytes platform=$1 layers=() ids=()
    for bytes in "${@:2}"; do
        { printf '\x1f\x8b\x08' && head -c "$((bytes - 3))" /dev/urandom; } >"$WORK/layer"
        keep "$WORK/layer" application/vnd.oci.image.layer.v1.tar+gzip
        layers+=("$descriptor")
        ids+=("\"sha256:$(openssl rand -hex 32)\"")
    done
    printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":[%s]}}' \
        "$platform" "$(IFS=, && printf %s "${ids[*]}")" >"$WORK/config"
    keep "$WORK/config" application/vnd.oci.image.config.v1+json
    # Blanks that nobody who makes JSON anew would put there.
    printf '{ "schemaVersion": 2,  "mediaType":"application/vnd.oci.image.manifest.v1+json",\n"config":%s,"layers":[%s]}\n' \
        "$descriptor" "$(IFS=, && printf %s "${layers[*]}")" >"$WORK/manifest"
    keep "$WORK/manifest" application/vnd.oci.image.manifest.v1+json \
        ",\"platform\":{\"os\":\"linux\",\"architecture\":\"$platform\"}"
}

# tagged TAG: the description with that name.
tagged() { jq -c --arg tag "$1" '.annotations = { "org.opencontainers.image.ref.name": $tag }' <<<"$descriptor"; }
# blob_of DESCRIPTOR: its file.
blob_of() { say "$image/blobs/sha256/$(jq -r .digest <<<"$1" | cut -d : -f 2)"; }

# layout DESCRIPTION ...: what is in it, by its tags.
layout() { printf '{"schemaVersion":2,"manifests":[%s]}' "$(IFS=, && printf %s "$*")" >"$image/index.json"; }
