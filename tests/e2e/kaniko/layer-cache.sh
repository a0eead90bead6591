#!/bin/bash
# Proves that kaniko finds every step of a Dockerfile in the node's layer cache when it builds the same again in an empty
# root, that the image has the same layers then, and that a changed file costs its step and those behind it, no more.
source "$(dirname "$0")/lib.sh"
need_kaniko

start_node
put_small_base team/base:1
context=$WORK/context
mkdir "$context"
printf '%s\n' pear apple fig >"$context/words"
cat >"$context/Dockerfile" <<END
FROM 127.0.0.1:$PORT/team/base:1
ENV GREETING=hello
RUN mkdir /out && echo "\$GREETING" >/out/greeting
COPY words /in/words
ENV SORTED=/out/sorted
RUN sort /in/words >"\$SORTED"
RUN rm /out/greeting && ln -s sorted /out/list
END

build() { # NAME
    kaniko "$1" "$context" --cache=true --cache-copy-layers=true --cache-repo="127.0.0.1:$PORT/team/cache" \
        --destination="127.0.0.1:$PORT/team/app:$1"
}
layers() { inspect_image "team/app:$1" --format '{{range .Layers}}{{println .}}{{end}}'; } # NAME

build first
assert_layers first 0 1
build second
assert_layers second 4 0
[ "$(layers first)" = "$(layers second)" ] || fail "the second image has other layers"
assert_file team/app:second out/sorted "$(printf '%s\n' apple fig pear)"

# With another file the step before it is still there.
echo date >>"$context/words"
build third
assert_layers third 1 1
assert_hit third 'RUN mkdir /out'
assert_file team/app:third out/sorted "$(printf '%s\n' apple date fig pear)"
build fourth
assert_layers fourth 4 0

# A node that starts again has it all.
stop_node
start_node
build fifth
assert_layers fifth 4 0
