#!/bin/bash
# Proves that deploy/dailybuild works as it is shipped: kaniko pulls its base image from the node, keeps its layers there
# and pushes there, and Gradle within uses the node's build cache. A changed source costs one task; in a container of the
# image a clean checkout has every task from the cache.
source "$(dirname "$0")/lib.sh"
need_dailybuild
mapfile -t tasks < <(cacheable)
# As they begin.
versions='RUN (java -version'

start_node
put_base

daily first Dockerfile
assert_cache_on "$WORK/first.log"
assert_not_from_cache "$WORK/first.log" "${tasks[@]}"
assert_metric larder_gradle_stores_total == ${#tasks[@]}
assert_metric larder_gradle_hits_total == 0

# One file: the steps before COPY are layers, the tasks come from Gradle's cache, but for one.
change_source
daily second Dockerfile
assert_hit second "$versions"
assert_miss second 'RUN gradle'
assert_one_changed second
assert_metric larder_gradle_hits_total == $((${#tasks[@]} - 1))
assert_metric larder_gradle_stores_total == $((${#tasks[@]} + 1))

# A container of the image, and a clean checkout in it. Address and password come with the image.
root=$WORK/container
unpack_image dailybuild:second "$root"
rm -rf "$root/repo"
cp -r "$CONTEXT" "$root/repo"
mapfile -t environment < <(inspect_image dailybuild:second --config --format '{{range .Config.Env}}{{println .}}{{end}}' | grep '=')
in_container "$root" '' '' env "${environment[@]}" \
    sh -c 'cd /repo && exec gradle --no-daemon --build-cache buildAllWithoutArtifact'
wait "$EXECUTOR" || { tail -n 60 "$root.log"; fail "Gradle failed in the container"; }
assert_cache_on "$root.log"
assert_from_cache "$root.log" "${tasks[@]}"
for made in app/build/checks/report.txt core/build/classes/java/main/sample/core/Tally.class web/build/bundle/web.js; do
    [ -s "$root/repo/$made" ] || fail "the container's build has no $made"
done
assert_metric larder_gradle_declined_total == 0

# Nothing changed: all of it is layers, and Gradle does not run.
daily third Dockerfile
assert_hit third "$versions" 'RUN gradle'
! grep 'No cached layer found' "$WORK/third.log" || fail "third: a step was not in the cache"
assert_metric larder_gradle_stores_total == $((${#tasks[@]} + 1))
