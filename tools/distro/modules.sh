#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds our modules, and those that only tests and the benchmark load, for
# Debian's own kernel. Runs where its compilers are: see stage.sh.
#
#   modules.sh <output directory>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/../vm/env.sh"

out=${1:?usage: modules.sh <output directory>}
release=$(cat /.complete)

kdir=$("$top/tools/distro/metadata.sh" "$release")
say "building the modules for $release"
build() { "$top/tools/modules.sh" "$kdir" "$1" "$out/$2" modules; }
build "$top" out
build "$top/tools/testing/selftests/vfio/fixture" fixture
build "$top/tools/bench/floor" floor
for sample in "$top"/samples/*/; do
	build "${sample%/}" "$(basename "$sample")"
done
