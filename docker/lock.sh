#!/bin/sh
# Locks what the images and the release are made of: exact versions with their hashes, for every platform that
# has wheels. `make lock` runs it; MAKE_LOCK="--upgrade" takes newer versions, otherwise those that are locked stay.
# usage: lock.sh UV   (from the repository's root)
set -eu
uv=$1
locks=docker/locks

# No address of an index and no path of this machine gets into a lock: what is in it holds anywhere.
lock() {
    name=$1
    shift
    echo "$locks/$name.txt"
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" ${MAKE_LOCK:-} \
        --output-file "$locks/$name.txt" "$@"
}

lock build "$locks/build.in"
lock release "$locks/release.in"
lock server-cpu pyproject.toml --extra server --extra tracing
lock server-cluster pyproject.toml "$locks/server-cluster.in" --extra server --extra cluster --extra tracing
lock server-gpu pyproject.toml "$locks/server-gpu.in" --extra server-gpu --extra tracing \
    --overrides "$locks/server-gpu.overrides"
lock server-gpu-cluster pyproject.toml "$locks/server-gpu.in" "$locks/server-cluster.in" \
    --extra server-gpu --extra cluster --extra tracing --overrides "$locks/server-gpu.overrides"
lock training pyproject.toml --extra training --extra export
