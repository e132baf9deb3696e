#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# rustdoc for both modules and the crate for drivers, with the flags that Kbuild
# compiled them with.
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
document() { # NAME OUTPUT OBJECT OPTIONS...
	say "documenting $1"
	crate_run "$2" "$3" /usr/bin/rustdoc "${@:4}" \
		-Dwarnings -Arustdoc::private_intra_doc_links -Zunstable-options --out-dir "$doc"
}
document rust_vfio "$out" rust_vfio/rust_vfio.o --document-private-items
document rust_type1 "$out" rust_vfio/rust_type1.o --document-private-items
"$top/tools/modules.sh" "$kernel" "$top/samples/rust_vfio_sample" "$out-sample" modules
document vfio "$out-sample" vfio_api.o
echo "$doc"
