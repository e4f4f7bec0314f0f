#!/bin/sh
# Locks the packages of the images and of the release: exact versions with hashes, for every platform that has wheels.
# `make lock` runs this. Locked versions stay unless MAKE_LOCK="--upgrade" is set.
# usage: lock.sh UV   (from the repository's root)
set -eu
uv=$1
locks=docker/locks

# A lock must contain no index address and no path of this machine, so that it works on every machine.
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
