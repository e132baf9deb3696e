#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds and installs the modules from this repository on a whole Debian 13, as
# docs/install.md says, and removes them. Prints one line for each check of
# source-guest.sh.
#
#   source-test.sh <work directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"
# shellcheck source=tools/distro/debian.sh
. "$top/tools/distro/debian.sh"

work=${1:?usage: source-test.sh <work directory>}
machine=$("$top/tools/distro/machine.sh")
release=$("$top/tools/distro/stage.sh" release)

rm -rf "$work/srv"
copy_project "$work/srv/rust_vfio"
copy_crates "$work/srv/cargo" /srv/cargo
cp "$top"/tools/distro/{source-guest,check}.sh "$work/srv/"
exec "$top/tools/distro/layer.sh" "$machine" "$work" /srv/source-guest.sh "$release"
