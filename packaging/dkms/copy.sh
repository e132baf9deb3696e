#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Copies what DKMS builds from, to a directory, and says in its dkms.conf which
# version that is.
#
#   copy.sh <directory> <version>
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=tools/series.sh
. tools/series.sh

usage="usage: copy.sh <directory> <version>"
dir=${1:?$usage} version=${2:?$usage}
mkdir -p "$dir"
cp -a --parents -t "$dir" COPYING Kbuild rust_vfio include/uapi packaging/dkms/dkms.sh \
	tools/{kdir,modules,rust-tools,fetch-rustc,series}.sh tools/vm/env.sh tools/distro/metadata.sh
sed -e "s/@VERSION@/$version/" -e "s/@SERIES@/${series/./\\\\.}/" packaging/dkms/dkms.conf.in \
	>"$dir/dkms.conf"
