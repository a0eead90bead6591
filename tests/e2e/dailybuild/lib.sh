# shellcheck shell=bash
# What the tests of deploy/dailybuild share: its base image, made once per machine, and kaniko with the very arguments of
# the Jenkinsfile.
source "$(dirname "${BASH_SOURCE[0]}")/../kaniko/lib.sh"

DAILYBUILD=$E2E/../../deploy/dailybuild
CONTEXT=$WORK/repo # a checkout that a test may change
SUITE=bookworm     # the one whose Gradle and JDK fit each other

need_dailybuild() {
    need_kaniko
    command -v mmdebstrap >/dev/null || skip "no mmdebstrap" "tests/e2e/install.sh"
    cp -r "$DAILYBUILD" "$CONTEXT"
}

# The tasks that Gradle can cache.
cacheable() {
    local module
    for module in core app; do
        printf ":$module:%s\n" compileJava compileCheckJava runChecks
    done
    printf ':web:%s\n' bundle runChecks
}

# Making the base image takes a minute and a Debian mirror; it is kept in the user's cache, by its list of packages.
put_base() {
    local include keep
    include=$(paste -sd, "$DAILYBUILD/base-packages")
    keep=${XDG_CACHE_HOME:-$HOME/.cache}/larder-test/base-$(printf %s "$SUITE $include" | sha256sum | cut -c1-16)
    if [ ! -d "$keep" ]; then
        TMPDIR=$WORK setpriv --pdeathsig TERM mmdebstrap --mode=root --variant=minbase --include="$include" \
            "$SUITE" "$WORK/base.tar" >"$WORK/mmdebstrap.log" 2>&1 &
        executors+=("$!")
        if ! wait "$!"; then
            tail -n 20 "$WORK/mmdebstrap.log"
            skip "no base image: $(tail -n 1 "$WORK/mmdebstrap.log")" "mmdebstrap has to reach a Debian mirror"
        fi
        layout_of "$WORK/base.tar" "$WORK/base.oci"
        rm "$WORK/base.tar"
        mkdir -p "$(dirname "$keep")"
        # Never there by halves: the cache may be on another file system.
        cp -r "$WORK/base.oci" "$keep.$$"
        rm -r "$WORK/base.oci"
        mv -T "$keep.$$" "$keep" 2>/dev/null || rm -rf "$keep.$$"
    fi
    put_image "oci:$keep" dailybuild/base:1
}

# daily NAME DOCKERFILE: builds the checkout as the Jenkinsfile does, on this node, and pushes dailybuild:NAME.
# shellcheck disable=SC2034 # eval needs the variables
daily() {
    local line arguments=() BUILD_CACHE_PASSWORD=$PASSWORD BUILD_NUMBER=$1
    while read -r line; do
        case $line in
            --context=*) ;; # kaniko has it mounted
            --dockerfile=*) arguments+=("--dockerfile=$2") ;;
            *)
                # The words of our own file, read as the shell in the pod reads them.
                eval "line=$line"
                arguments+=("${line//larder:5071/127.0.0.1:$PORT}")
                ;;
        esac
    done < <(sed -n 's/^ *\(--[a-z].*[^ \\]\) *\\*$/\1/p' "$DAILYBUILD/Jenkinsfile")
    [ ${#arguments[@]} -ge 6 ] || fail "the Jenkinsfile has no arguments for kaniko: ${arguments[*]}"
    kaniko "$1" "$CONTEXT" "${arguments[@]}" --build-arg="REGISTRY=127.0.0.1:$PORT" \
        --build-arg="BUILD_CACHE_URL=http://127.0.0.1:$PORT/cache/"
    if grep -E 'level=(warning|error|fatal)' "$WORK/$1.log"; then
        fail "$1: kaniko complains"
    fi
}

# The change that a test makes: a comment, so that the class stays as it is.
change_source() {
    echo "// $RANDOM$RANDOM" >>"$CONTEXT/app/src/main/java/sample/app/Report.java"
}

# After change_source: one task runs, and what depends on its output is found all the same.
assert_one_changed() { # NAME
    local tasks
    mapfile -t tasks < <(cacheable | grep -vx :app:compileJava)
    assert_cache_on "$WORK/$1.log"
    assert_not_from_cache "$WORK/$1.log" :app:compileJava
    assert_from_cache "$WORK/$1.log" "${tasks[@]}"
}

# unpack_image NAME:TAG ROOT: as a container would see it. Within ROOT, so that no link in it leads out.
# shellcheck disable=SC2016
unpack_image() {
    local layer
    get_image "$1" "dir:$WORK/pulled"
    mkdir "$2"
    while read -r layer; do
        ln "$WORK/pulled/${layer#sha256:}" "$2/layer" # an image may have a layer twice
        if [ ! -e "$2/bin" ]; then
            tar -C "$2" --numeric-owner -xf "$2/layer" || fail "the first layer of $1 cannot be unpacked"
        else
            chroot "$2" /bin/sh -euc '
                tar -tf /layer | grep -E "(^|/)\.wh\." | while read -r gone; do
                    base=${gone##*/}
                    rm -rf "/${gone%"$base"}${base#.wh.}"
                done
                tar -C / --numeric-owner --keep-directory-symlink --exclude=".wh.*" -xf /layer' ||
                fail "a layer of $1 cannot be unpacked: $layer"
        fi
        rm "$2/layer"
    done < <(inspect_image "$1" --format '{{range .Layers}}{{println .}}{{end}}' | grep .)
    rm -r "$WORK/pulled"
}
