#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# rustdoc for both modules, with the flags that Kbuild compiled them with.
#
#   doc.sh <kernel build tree> <build output of the modules> <documentation>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"
# shellcheck source=tools/crates.sh
. "$top/tools/crates.sh"

usage="usage: doc.sh <kernel build tree> <build output> <documentation>"
kernel=${1:?$usage} out=${2:?$usage} doc=${3:?$usage}

"$top/tools/modules.sh" "$kernel" "$top" "$out" modules
mkdir -p "$doc"
for root in rust_vfio rust_type1; do
	say "documenting $root"
	crate_run "$out" "rust_vfio/$root.o" /usr/bin/rustdoc --document-private-items \
		-Dwarnings -Arustdoc::private_intra_doc_links -Zunstable-options --out-dir "$doc"
done
echo "$doc"
