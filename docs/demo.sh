#!/bin/sh
# A server up, a video streamed through the client, its detections printed, the server down.
# usage: demo.sh PORT [VIDEO [BUNDLE]]   (with `selsa` and its `python` on the PATH)
# Without VIDEO and BUNDLE, those that come with the package.
set -eu
port=$1 video=${2:-} bundle=${3:-}
here=$(dirname "$0")
server=http://127.0.0.1:$port

if [ -z "$video" ]; then
    video=$(python -c 'from selsa_bundle.default_bundle import sample_video; print(sample_video())')
fi

echo "selsa serve${bundle:+ --bundle $bundle} --port $port"
selsa serve ${bundle:+--bundle "$bundle"} --port "$port" --log-level warning &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || true' EXIT INT TERM

tries=0
until python -c "import httpx, sys; sys.exit(httpx.get('$server/readyz').status_code != 200)" 2>/dev/null; do
    kill -0 $pid 2>/dev/null || { echo "the server did not start"; exit 1; }
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "the server was not ready within a minute"; exit 1; }
    sleep 0.2
done

echo "selsa detect $video --server $server --score-threshold 0.3"
selsa detect "$video" --server "$server" --score-threshold 0.3 | python "$here/readable_records.py"
