#!/bin/sh
# See to it that there are a prometheus and a promtool to run, without changing the system.
#
#   .ci/prometheus.sh DIRECTORY
#
# Content with those on PATH; else unpacks the distribution's packages into DIRECTORY, where the
# programs then are in DIRECTORY/usr/bin. Unpacked, not installed: an installed package starts a
# service that listens on 0.0.0.0:9090. Needs no root.
set -eu
unpacked=$1

present() {
    command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1
}

give_up() {
    echo "joulestat: no Prometheus: $1." >&2
    echo "  Install prometheus (with promtool) and put both on PATH: your package manager has it," >&2
    echo "  or take it from https://prometheus.io/download/. On Debian and Ubuntu," >&2
    echo "  'sudo apt-get install --no-install-recommends prometheus' works, and also starts it as" >&2
    echo "  a service on port 9090." >&2
    exit 1
}

# Download both into the current directory. promtool is a package of its own since Debian 13, and
# inside of prometheus before.
fetch() {
    apt-get -qq $private download prometheus || return 1
    if apt-cache $private show promtool >/dev/null 2>&1; then
        apt-get -qq $private download promtool
    fi
}

PATH=$PATH:$(pwd)/$unpacked/usr/bin
if present; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    give_up "not on PATH, and this is not a system with apt to get it from"
fi

echo "Unpacking Prometheus into $unpacked (once; nothing is installed)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$unpacked" "$scratch/lists/partial" "$scratch/cache/archives/partial"
destination=$(cd "$unpacked" && pwd)
cd "$scratch"
private=
if ! fetch 2>/dev/null; then
    # The system's package lists are empty (fresh containers) or stale: use lists of our own.
    private="-o Dir::State::Lists=$scratch/lists -o Dir::Cache=$scratch/cache -o APT::Sandbox::User=root"
    apt-get -qq $private update || give_up "not on PATH, and apt-get update failed"
    fetch || give_up "not on PATH, and apt-get download failed"
fi
for package in ./*.deb; do
    dpkg-deb -x "$package" "$destination"
done
present || give_up "the packages from apt do not contain both prometheus and promtool"
