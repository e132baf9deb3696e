#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the kernel's sample of an emulated device, mtty, for Debian's own kernel, whose
# package has no samples. Runs where its compilers are: see distro/stage.sh.
#
#   mtty.sh <output directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

out=${1:?usage: mtty.sh <output directory>}
archive=/usr/src/linux-source-$series.tar.xz

mkdir -p "$out/source"
if [ ! "$out/source/mtty.c" -nt "$archive" ]; then
	tar -C "$out/source" -xf "$archive" --strip-components=3 --touch --occurrence=1 \
		"linux-source-$series/samples/vfio-mdev/mtty.c"
fi
echo "obj-m := mtty.o" >"$out/source/Kbuild"
"$top/tools/modules.sh" "$("$top/tools/distro/metadata.sh" "$(cat /.complete)")" "$out/source" "$out" modules
