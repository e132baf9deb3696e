#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the packages for other distributions with the tools of those, as Debian 13 has
# them, and looks at what is in them. Prints one line for each check of others-guest.sh.
#
#   others-test.sh <directory of packages for Debian> <work directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

usage="usage: others-test.sh <directory of packages for Debian> <work directory>"
debs=${1:?$usage} work=${2:?$usage}
stage=$("$top/tools/distro/stage.sh" path)

rm -rf "$work/srv"
copy_project "$work/srv/rust-vfio-$version"
copy_crates "$work/srv/cargo" /srv/cargo
cp "$debs"/rust-vfio-{dkms,tools}_*.deb "$work/srv/"
cp "$top"/tools/distro/{others-guest,check}.sh "$work/srv/"
exec "$top/tools/distro/layer.sh" "$stage" "$work" /srv/others-guest.sh "$version"
