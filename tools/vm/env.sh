# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# shellcheck disable=SC2034 # used where this is sourced
#
# Shared by the scripts of this directory: where things are kept and which
# tools build a kernel. Sourced, never run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${RUST_VFIO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_vfio}
series=7.3
llvm=22
bindgen_version=0.72.1

# A rustup toolchain earlier in PATH has no rust-src and must not shadow
# Debian's compiler, so every Rust tool is named in full.
kernel_tools=(
	"LLVM=-$llvm"
	"RUSTC=/usr/bin/rustc"
	"HOSTRUSTC=/usr/bin/rustc"
	"RUSTDOC=/usr/bin/rustdoc"
	"RUSTFMT=/usr/bin/rustfmt"
	"CLIPPY_DRIVER=/usr/bin/clippy-driver"
	"BINDGEN=$cache/tools/bin/bindgen"
)

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
