#!/bin/sh
# See to it that boards can be drawn: npm packages unpacked, the drawing page bundled.
#
#   .ci/pictures.sh DIRECTORY
#
# Needs node, npm and a chromium on PATH; installs nothing outside of DIRECTORY, which then holds a
# copy of tests/pictures with its packages (500 MB, once). Packages' own scripts are not run.
set -eu
destination=$1

for program in node npm chromium; do
    if command -v "$program" >/dev/null 2>&1; then continue; fi
    echo "joulestat: no $program on PATH, and pictures of the boards need it." >&2
    echo "  On Debian: sudo apt-get install --no-install-recommends nodejs npm chromium" >&2
    exit 1
done

mkdir -p "$destination"
wanted=$(cat tests/pictures/package-lock.json)
if [ "$(cat "$destination/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "Installing Grafana's building blocks into $destination (takes a minute or two, once)"
    rm -rf "$destination"
    mkdir -p "$destination"
    cp tests/pictures/package.json tests/pictures/package-lock.json "$destination"
    # The packages disagree on the React that they would like; Grafana 13 itself has this one.
    npm ci --prefix "$destination" --silent --ignore-scripts --legacy-peer-deps --no-audit --no-fund
    printf '%s' "$wanted" >"$destination/installed"
fi

rm -rf "$destination/page" "$destination/bundle"
cp -R tests/pictures/page tests/pictures/*.mjs "$destination"
cd "$destination"
node bundle.mjs
