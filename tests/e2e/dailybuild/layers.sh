#!/bin/bash
# Proves what deploy/dailybuild/Dockerfile.layers promises: the install steps come from the layer cache when only sources
# changed, and with a new password, too; and the password is not in the image's configuration, as it is with Dockerfile.
source "$(dirname "$0")/lib.sh"
need_dailybuild
install='RUN node web/tools/install.js'
scripts='RUN gradle --no-daemon help'
mapfile -t tasks < <(cacheable)

start_node
put_base

daily first Dockerfile.layers
assert_cache_on "$WORK/first.log"
assert_not_from_cache "$WORK/first.log" "${tasks[@]}"
for step in "$install" "$scripts"; do
    grep -qF "Running: [/bin/sh -c ${step#RUN }]" "$WORK/first.log" || fail "first: there was no step $step"
done

change_source
daily second Dockerfile.layers
assert_hit second "$install" "$scripts"
assert_miss second 'RUN gradle --no-daemon --build-cache'
assert_one_changed second

# Only the last step saw the password.
stop_node
PASSWORD=another-$PASSWORD
start_node
daily third Dockerfile.layers
assert_hit third "$install" "$scripts"
assert_cache_on "$WORK/third.log"
assert_from_cache "$WORK/third.log" "${tasks[@]}"

configuration() { inspect_image "dailybuild:$1" --config --raw; } # NAME
if configuration third | grep -F "$PASSWORD"; then
    fail "the password is in the configuration of the image"
fi
