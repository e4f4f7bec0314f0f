#!/bin/sh
# A server up, a video streamed through the client, its detections printed, the server down.
# usage: demo.sh BUNDLE VIDEO PORT   (with `selsa` on the PATH)
set -eu
bundle=$1 video=$2 port=$3
server=http://127.0.0.1:$port

echo "selsa serve --bundle $bundle --port $port"
selsa serve --bundle "$bundle" --port "$port" --log-level warning &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || true' EXIT INT TERM

tries=0
until python -c "import httpx, sys; sys.exit(httpx.get('$server/readyz').status_code != 200)" 2>/dev/null; do
    kill -0 $pid 2>/dev/null || { echo "the server did not start"; exit 1; }
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "the server was not ready within a minute"; exit 1; }
    sleep 0.2
done

echo "selsa detect $video --server $server --score-threshold 0.3 --max-detections 3"
selsa detect "$video" --server "$server" --score-threshold 0.3 --max-detections 3
echo "done; the weights of this demo were never trained, so its boxes mean nothing (README: Your own weights)"
