# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# How Kbuild compiled a crate, for tools that compile it for another purpose.
# Sourced by doc.sh and check.sh.

# crate_run OUTPUT OBJECT PROGRAM...: runs rustc or rustdoc on the crate from
# which a build with this output made this object, with the flags of that build
# that concern the language: none that name an output, none about code.
crate_run() {
	local out=$1 object=$2 command environment flags
	# savedcmd_OBJECT := OBJTREE=... RUST_MODFILE=... rustc FLAGS --emit=... SOURCE ; ...
	command=$(sed -n 's/^savedcmd_[^ ]* := //p' "$out/$(dirname "$object")/.${object##*/}.cmd")
	command=${command%%;*}
	environment=${command%% /*rustc *}
	flags=$(sed -E 's/--remap-path-(prefix|scope)=[^ ]+//g; s/--emit=[^ ]+//g
		s/--out-dir [^ ]+//g; s/-C[a-z-]+=[^ ]+//g; s/--crate-type rlib//' <<<"${command#*rustc }")
	(cd "$out" && eval "$environment RUSTC_BOOTSTRAP=1" '"${@:3}"' "$flags")
}
