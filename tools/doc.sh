#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# rustdoc for both modules, with the flags that Kbuild compiled them with.
#
#   doc.sh <kernel build tree> <build output of the modules> <documentation>
set -euo pipefail
# shellcheck source=tools/vm/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/vm/env.sh"

usage="usage: doc.sh <kernel build tree> <build output> <documentation>"
kernel=${1:?$usage} out=${2:?$usage} doc=${3:?$usage}

"$top/tools/modules.sh" "$kernel" "$top" "$out" modules
mkdir -p "$doc"
for root in rust_vfio rust_type1; do
	# OBJTREE=... RUST_MODFILE=... rustc <flags> --emit=... <source> ; ...
	command=$(sed -n 's/^savedcmd_[^ ]* := //p' "$out/rust_vfio/.$root.o.cmd")
	command=${command%%;*}
	environment=${command%% /*rustc *}
	flags=${command#*rustc }
	# rustdoc knows the flags of the language, not those of the output.
	flags=$(sed -E 's/--remap-path-(prefix|scope)=[^ ]+//g; s/--emit=[^ ]+//g; s/--out-dir [^ ]+//g; s/-C[a-z-]+=[^ ]+//g; s/--crate-type rlib//' <<<"$flags")
	say "documenting $root"
	(cd "$out" && eval "$environment RUSTC_BOOTSTRAP=1 /usr/bin/rustdoc --document-private-items \
		-Dwarnings -Arustdoc::private_intra_doc_links -Zunstable-options $flags --out-dir '$doc'")
done
echo "$doc"
