#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs the DKMS package in a Debian 13 that has the headers of its kernel, has a
# kernel of another release come, and removes it all again. Prints one line for each
# check of dkms-guest.sh.
#
#   dkms-test.sh <directory of packages> <what rebuilt.sh made> <work directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

usage="usage: dkms-test.sh <directory of packages> <what rebuilt.sh made> <work directory>"
debs=${1:?$usage} rebuilt=${2:?$usage} work=${3:?$usage}
stage=$("$top/tools/distro/stage.sh" path)
release=$("$top/tools/distro/stage.sh" release)

rm -rf "$work/srv"
mkdir -p "$work/srv/debs"
cp "$debs"/*.deb "$work/srv/debs/"
cp -r "$rebuilt/build" "$work/srv/next"
cp "$top"/tools/distro/{dkms-guest,check}.sh "$work/srv/"
exec "$top/tools/distro/layer.sh" "$stage" "$work" /srv/dkms-guest.sh "$release" "$(cat "$rebuilt/release")"
