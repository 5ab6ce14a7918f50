#!/bin/sh
# See to it that there are a prometheus and a promtool to run, without changing the system; or,
# asked for it, a victoria-metrics, on which the same tests run, or an Alertmanager with amtool.
#
#   .ci/prometheus.sh DIRECTORY [victoria-metrics | prometheus-alertmanager]
#
# Content with those on PATH; else unpacks the distribution's packages into DIRECTORY, where the
# programs then are in DIRECTORY/usr/bin. Unpacked, not installed: an installed package starts a
# service that listens on 0.0.0.0:9090. Needs no root.
set -eu
unpacked=$1
wanted=${2:-prometheus}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Debian calls the program as it calls the package; its makers call it alertmanager.
present() {
    case $wanted in
        victoria-metrics) has victoria-metrics ;;
        prometheus-alertmanager) { has prometheus-alertmanager || has alertmanager; } && has amtool ;;
        *) has prometheus && has promtool ;;
    esac
}

give_up() {
    echo "joulestat: no $wanted: $1." >&2
    case $wanted in
        victoria-metrics)
            echo "  Only some tests need it. Put a victoria-metrics on PATH to run them: package" >&2
            echo "  victoria-metrics on Debian and Ubuntu, or https://docs.victoriametrics.com/." >&2
            exit 1
            ;;
        prometheus-alertmanager)
            echo "  Only some tests need it. Put an alertmanager and its amtool on PATH to run them:" >&2
            echo "  unpack the package prometheus-alertmanager on Debian and Ubuntu (installed, it" >&2
            echo "  starts a service), or take it from https://prometheus.io/download/." >&2
            exit 1
            ;;
    esac
    echo "  Install prometheus (with promtool) and put both on PATH: your package manager has it," >&2
    echo "  or take it from https://prometheus.io/download/. On Debian and Ubuntu," >&2
    echo "  'sudo apt-get install --no-install-recommends prometheus' works, and also starts it as" >&2
    echo "  a service on port 9090." >&2
    exit 1
}

# Download into the current directory. promtool is a package of its own since Debian 13, and
# inside of prometheus before.
fetch() {
    apt-get -qq $private download "$wanted" || return 1
    if [ "$wanted" = prometheus ] && apt-cache $private show promtool >/dev/null 2>&1; then
        apt-get -qq $private download promtool
    fi
}

# Debian's Alertmanager reads its templates from /usr/share, where nothing of it is installed. This
# copy looks below the directory that it is started in (a path of the same length, as it stands in
# a binary), and a script starts it in ours: paths given to it must be absolute.
relocate_alertmanager() {
    moved=usr/lib/prometheus-alertmanager
    mkdir -p "$destination/usr/lib"
    LC_ALL=C sed 's|/usr/share/prometheus/alertmanager|usr/share//prometheus/alertmanager|g' \
        "$destination/usr/bin/prometheus-alertmanager" >"$destination/$moved"
    chmod +x "$destination/$moved"
    cat >"$destination/usr/bin/prometheus-alertmanager" <<EOF
#!/bin/sh
cd "\$(dirname "\$0")/../.." && exec $moved "\$@"
EOF
}

PATH=$PATH:$(pwd)/$unpacked/usr/bin
if present; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    give_up "not on PATH, and this is not a system with apt to get it from"
fi

echo "Unpacking $wanted into $unpacked (once; nothing is installed)"
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
if [ "$wanted" = prometheus-alertmanager ]; then relocate_alertmanager; fi
present || give_up "the packages from apt do not contain its programs"
