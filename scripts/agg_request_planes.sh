#!/usr/bin/env bash
# Launches an aggregated deployment (one worker, one frontend) on the request plane of choice.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: scripts/agg_request_planes.sh [--tcp | --nats] [--model NAME] [--engine ENGINE] [--port PORT] [-- WORKER_FLAGS...]

Starts one worker and one OpenAI-compatible frontend that find each other, waits until requests can be answered,
prints a request to try, and stops both on Ctrl-C once they have finished their answers; a second Ctrl-C stops them at
once.

  --tcp            carry calls over TCP (the default)
  --nats           carry calls over NATS: over the server that NATS_SERVER names, or over one that is started here
                   (and installed first if there is none)
  --model NAME     model to serve            (or MODEL=..., default: echo)
  --engine ENGINE  echo, mock or openai      (or ENGINE=..., default: echo)
  --port PORT      HTTP port of the frontend (or HTTP_PORT=..., default: 8000)
  -- FLAGS...      more flags for the worker, for example: -- --token-delay 50ms

PLANE_BIN=path uses that binary instead of building one, PLANE_NATS_SERVER=path that nats-server instead of looking for
one. DYN_* and NATS_* variables are passed on to both processes.
EOF
}

fail() { echo "error: $1" >&2; exit "${2:-1}"; }

plane=tcp model=${MODEL:-echo} engine=${ENGINE:-echo} port=${HTTP_PORT:-8000}
while [ $# -gt 0 ]; do
    case $1 in
        --tcp) plane=tcp ;;
        --nats) plane=nats ;;
        --model | --engine | --port)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 2
            printf -v "${1#--}" '%s' "$2"
            shift ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) fail "unknown argument \"$1\"; see --help" 2 ;;
    esac
    shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${PLANE_BIN:-}
if [ -z "$bin" ]; then
    cargo build --manifest-path "$root/Cargo.toml" --package plane-cli >&2
    bin=${CARGO_TARGET_DIR:-$root/target}/debug/plane
fi
[ -x "$bin" ] || fail "there is no binary at $bin (PLANE_BIN)" 2

# Each process gets a group of its own: the terminal's Ctrl-C would reach them beside the signal that is passed on here,
# and a second signal cuts off what they still finish.
set -m
pids=()
nats_pid=
pass_on() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true; }
stop() {
    trap - EXIT
    trap pass_on INT TERM
    pass_on
    # A signal ends the wait early. The NATS server ends last: answers still travel over it.
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
    done
    [ -z "$nats_pid" ] || { kill "$nats_pid" 2>/dev/null; wait "$nats_pid" || true; }
    [ -z "${nats_dir:-}" ] || rm -rf "$nats_dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$plane" = nats ] && [ -z "${NATS_SERVER:-}" ]; then
    nats_server=${PLANE_NATS_SERVER:-$(bash "$root/scripts/install-nats-server.sh")}
    nats_dir=$(mktemp -d)
    "$nats_server" --addr 127.0.0.1 --port -1 --ports_file_dir "$nats_dir" --log "$nats_dir/log" & nats_pid=$!
    ports=$nats_dir/nats-server_$nats_pid.ports
    for _ in $(seq 100); do
        [ ! -s "$ports" ] || break
        kill -0 "$nats_pid" 2>/dev/null || fail "nats-server ended early: $(cat "$nats_dir/log")"
        sleep 0.1
    done
    NATS_SERVER=$(sed -n 's/.*"\(nats:[^"]*\)".*/\1/p' "$ports")
    [ -n "$NATS_SERVER" ] || fail "nats-server did not say where it listens: $(cat "$nats_dir/log")"
    export NATS_SERVER
    echo "A NATS server listens at $NATS_SERVER." >&2
fi

export DYN_REQUEST_PLANE=$plane
"$bin" worker --model "$model" --engine "$engine" "$@" & pids+=($!)
"$bin" frontend --http-port "$port" & pids+=($!)

url=http://127.0.0.1:$port
for _ in $(seq 300); do
    for pid in "${pids[@]}"; do
        kill -0 "$pid" 2>/dev/null || fail "a process ended early; its message is above"
    done
    if curl --silent --fail --max-time 2 --output /dev/null "$url/health"; then
        ready=yes
        break
    fi
    sleep 0.1
done
[ "${ready:-}" = yes ] || fail "the deployment was not ready within 30 seconds: $url/health"

cat <<EOF
The deployment is up on the $plane request plane. Try:

  curl -N $url/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "$model", "messages": [{"role": "user", "content": "Hello!"}], "stream": true}'

Ctrl-C stops it.
EOF
# Ends when either process does: a deployment without one of them is none.
wait -n "${pids[@]}" || fail "a process ended; its message is above"
