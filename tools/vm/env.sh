# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# shellcheck disable=SC2034 # used where this is sourced
#
# Shared by the scripts of this directory: where things are kept and which
# tools build a kernel. Sourced, never run.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${RUST_VFIO_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rust_vfio}
# What is made once for each kernel of a distribution. Root's is for everybody.
metadata_cache=$cache
if [ -z "${RUST_VFIO_CACHE:-}" ] && [ "$(id -u)" = 0 ]; then
	metadata_cache=/var/cache/rust-vfio
fi
# shellcheck source=tools/series.sh
. "$top/tools/series.sh"
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

# heartbeat COMMAND...: runs the command each half minute, until the shell that
# calls this ends.
heartbeat() {
	# Without the lock that the shell may hold on descriptor 9.
	(while sleep 30 2>/dev/null; do "$@" >&2; done) >/dev/null 9>&- &
	# shellcheck disable=SC2064 # now, not when it runs
	trap "kill $! 2>/dev/null" EXIT
}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
