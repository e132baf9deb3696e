# SPDX-License-Identifier: GPL-2.0
#
# Entry point: `make help` lists the commands. The modules themselves are built
# by the kernel's build system, which reads Kbuild.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := modules

include tools/series.sh

IMPL ?= rust
DEBUG ?=
CFI ?=
TESTS ?=
SCOPE ?=
SPLIT ?=
PART ?=
CHECK ?=
LONG ?=
ROWS ?=
PLOT ?=
PATCHES ?=
WORDS ?=
IOMMU ?=
KERNEL ?=
DRIVERS ?=
DEMO_KERNEL ?= debian

# Which kernel the VM runs. KERNEL=debian: Debian's own, with its own modules.
flavour := $(or $(KERNEL),$(if $(DEBUG),debug,$(if $(CFI),cfi,release)))
build   := $(CURDIR)/build
cargo   := cargo --quiet
# Programs for the VM are static: its initramfs has no libraries.
target   := x86_64-unknown-linux-gnu
static   := RUSTFLAGS="-C target-feature=+crt-static" $(cargo) build --target $(target) \
	--target-dir target/static
# Directories of this machine are in no program that is handed out.
nameless := --remap-path-prefix=$(CURDIR)=rust_vfio --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo
programs := $(build)/programs
# A workspace of its own.
clients  := --manifest-path tools/testing/clients/Cargo.toml
samples  := rust_vfio_sample rust_vfio_edu
vm_out   := $(build)/vm-$(flavour)$(if $(SPLIT),-split)
# Each group gets a domain of its own, which no IOMMU of QEMU makes necessary.
split    := $(if $(SPLIT),KRUSTFLAGS='--cfg vfio_split_domains')

# Copies what differs, so that nothing is written while another make uses it.
copy := install --compare --mode=755

# What user-visible builds are for: a kernel that is named, or else one that is
# looked for. Evaluated in recipes.
kdir = $(if $(KDIR),"$(KDIR)",$$(tools/kdir.sh))
user_out := $(build)/modules

# Where the kernel of the VM is. Evaluated in recipes, after set-up.
ifeq ($(flavour),debian)
vm_kernel = $$(tools/distro/vm-tree.sh "$(vm_out)/kernel")
else
vm_kernel = $$(tools/vm/kernel.sh $(flavour))
endif

.PHONY: help setup kernel modules modules_install modules_uninstall deb vfioctl vm-modules programs client-programs crate-clients vm-ready upstream demo vm-demo test \
	 test-all distro-test clients intree intree-test build-matrix iommu-matrix lock-order bench shell check rust-analyzer \
	 layers driver-examples clippy checkpatch shellcheck stack fmt fmt-check doc docs docs-check clean

help: ## List the commands
	@awk -F':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing, fetch the kernel's source, build bindgen
	@tools/setup.sh

kernel: ## Build the kernel of the VM, if it is not there yet (DEBUG=1, CFI=1)
	@tools/setup.sh
	@tools/vm/kernel.sh $(flavour)

modules: ## Build both modules against KDIR (default: the running kernel's headers, else the VM's)
	@kdir=$(kdir); tools/modules.sh "$$kdir" "$(CURDIR)" "$(user_out)" modules
	@ls -1 $(user_out)/*.ko

modules_install: $(if $(wildcard $(user_out)/vfio.ko),,modules) ## Install them below /lib/modules (or INSTALL_MOD_PATH), in updates/
	@tools/install.sh "$(user_out)"

modules_uninstall: ## Remove what modules_install has installed
	@tools/install.sh --remove

deb: ## Make the Debian packages: modules for its newest kernel, DKMS, tools
	@tools/setup.sh packages
	@$(MAKE) --no-print-directory vfioctl
	@tools/distro/deb.sh "$(build)/deb" "$(build)/vfioctl"

vm-modules:
	@tools/setup.sh $(flavour)
ifeq ($(flavour),debian)
	@tools/distro/stage.sh run tools/distro/modules.sh "$(vm_out)"
else
	@kernel=$(vm_kernel); \
	echo "==> building the modules for the $(flavour) kernel" >&2; \
	tools/modules.sh "$$kernel" "$(CURDIR)" "$(vm_out)/out" $(split) modules; \
	tools/modules.sh "$$kernel" "$(CURDIR)/tools/testing/selftests/vfio/fixture" \
		"$(vm_out)/fixture" modules; \
	tools/modules.sh "$$kernel" "$(CURDIR)/tools/bench/floor" "$(vm_out)/floor" modules; \
	for sample in $(samples); do \
		tools/modules.sh "$$kernel" "$(CURDIR)/samples/$$sample" "$(vm_out)/$$sample" modules; \
	done
endif
	@mkdir -p "$(vm_out)/modules"
	@for dir in out fixture floor $(samples); do $(copy) -t "$(vm_out)/modules" "$(vm_out)/$$dir"/*.ko; done

programs:
	@tools/setup.sh $(flavour)
	@echo "==> building the programs for the VM" >&2
	@$(static) --profile guest -p vfio-selftests -p vfio-demo -p vfio-migrate -p vfioctl
	@$(cargo) build -p vm
	@mkdir -p $(programs)
	@$(copy) -t $(programs) target/static/$(target)/guest/{vfio-{selftests,demo,migrate},vfioctl} \
		"$$(tools/vm/busybox.sh)"

vfioctl: ## Build vfioctl with its man pages and completions, in build/vfioctl
	@RUSTFLAGS="$(nameless)" $(cargo) build --release -p vfioctl
	@target/release/vfioctl generate "$(build)/vfioctl"
	@$(copy) -t "$(build)/vfioctl" target/release/vfioctl

# On its own, so that nothing else builds what it tests.
client-programs: programs
	@$(static) --profile guest $(clients)
	@$(copy) -t $(programs) target/static/$(target)/guest/vfio-clients

crate-clients: vm-modules client-programs ## Drive VFIO by crates that others use for it (IMPL=, TESTS=pattern)
	@$(cargo) clippy $(clients) --target-dir target -- -D warnings
	@$(call vm,exec vfio-clients $(TESTS))

# Whatever a VM runs.
vm-ready: vm-modules programs upstream

# The kernel's own selftests.
upstream:
	@tools/setup.sh
	@tools/vm/upstream.sh >/dev/null

# vm(arguments): runs the VM.
vm = kernel=$(vm_kernel); target/debug/vm --kernel "$$kernel" --modules "$(vm_out)/modules" \
	--programs "$(programs)" --scratch "$(vm_out)/scratch" --impl "$(IMPL)" \
	$(if $(DEBUG),--debug) $(addprefix --word ,$(WORDS) $(if $(SPLIT),split=yes)) $(1)

demo: ## From a fresh machine to a DMA through our modules, on Debian's own kernel (DEMO_KERNEL=vm: the VM's)
	@$(MAKE) --no-print-directory $(if $(filter debian,$(DEMO_KERNEL)),KERNEL=debian) vm-demo

vm-demo: vm-modules programs
	@$(call vm,demo)

# The host's tests come first, unless only some tests are wanted, and add to the
# total, which is the last line also when something failed.
host_log := $(if $(TESTS)$(SCOPE)$(PART),,$(build)/host-test.log)

test: vm-ready ## Test on the host and in the VM (IMPL=, DEBUG=1, CFI=1, KERNEL=debian, LONG=1, SPLIT=1, SCOPE=, PART=1/2, TESTS=pattern, WORDS=)
	@$(if $(host_log),tools/host-test.sh $(host_log);) \
	$(call vm,--programs "$$(tools/vm/upstream.sh)" test $(if $(LONG),--long) $(if $(SCOPE),--scope $(SCOPE)) $(if $(PART),--part $(PART)) \
		$(if $(TESTS),--pattern '$(TESTS)') $(if $(host_log),--host $(host_log)))

distro-test: programs ## Test the packages on a whole Debian 13 in a VM, and building there, by DKMS and from here (TESTS=step)
	@$(MAKE) --no-print-directory deb
	@$(MAKE) --no-print-directory KERNEL=debian vm-modules
	@tools/distro/test.sh "$(build)/deb" "$(programs)" "$(build)/vm-debian/modules" \
		"$(build)/distro-test" $(TESTS)

clients: vm-modules client-programs ## Run DPDK, QEMU, libvirt and others of Debian 13 on C and on ours, and compare (IMPL=, TESTS=step)
	@$(MAKE) --no-print-directory KERNEL=debian vm-modules
	@$(static) --profile guest -p vfio-drive
	@IMPL="$(if $(filter file,$(origin IMPL)),c rust,$(IMPL))" tools/clients/test.sh \
		"$(build)/vm-debian/modules" "$(vm_out)/modules" "$(programs)" \
		target/static/$(target)/guest/vfio-drive "$(build)/clients" $(TESTS)

lock-order: ## Compare docs/architecture.md with what lockdep saw in the last tests with DEBUG=1
	@tools/lockdep.py "$(build)"/vm-debug/scratch/test*-rust.lockdep

test-all: ## Everything that is tested, with a table at the end: some hours
	@tools/test-all.sh

bench: vm-modules programs ## Compare instruction counts with the C modules (KERNEL=debian, CHECK=1, LONG=1, PLOT=1, ROWS=pattern)
	@$(static) --release -p vfio-bench
	@$(copy) -t $(programs) target/static/$(target)/release/vfio-bench
	@$(call vm,bench --out "$(build)/bench.md" $(if $(CHECK),--check) $(if $(LONG),--long) \
		$(if $(ROWS),--only '$(ROWS)') $(if $(PLOT),--plot docs/performance))

driver-examples: ## Compile the examples of the API for drivers, and those that must not compile
	@tools/setup.sh
	@tools/driver-examples.py "$(vm_kernel)" "$(build)/driver-examples"

intree: ## Make patches that put the modules into a kernel tree (KSRC=source, PATCHES=directory)
	@tools/intree.sh "$${KSRC:?is not set: name the source of a kernel $(series)}" "$(or $(PATCHES),$(build)/patches)"

intree-test: vm-ready ## Check these patches, and the VM's kernel with them in each way to have VFIO (TESTS=way)
	@tools/setup.sh
	@source tools/vm/env.sh; tools/intree.sh "$${KSRC:-$$cache/src/linux-source-$$series}" "$(build)/patches" >/dev/null
	@tools/intree-test.sh "$(vm_kernel)" "$(build)/patches" "$(programs)" "$(build)/intree" $(TESTS)

build-matrix: programs ## Build for each configuration of VFIO, and load what was built (IMPL=)
	@tools/build-matrix.sh "$(vm_kernel)" "$(programs)" "$(build)/matrix" "$(IMPL)" "$(TESTS)"

iommu-matrix: vm-modules programs ## Test on each IOMMU that QEMU has, and without (IMPL=, IOMMU=one, TESTS=)
	@tools/iommu-matrix.sh "$(vm_kernel)" "$(vm_out)/modules" "$(programs)" \
		"$(vm_out)/iommu" "$(IMPL)" "$(IOMMU)" "$(TESTS)"

shell: vm-modules programs ## An interactive VM with the modules loaded and devices bound
	@tools/vm/shell.sh "$(vm_kernel)" "$(vm_out)/modules" "$(programs)" "$(IMPL)"

check: ## Check the types of all Rust code, in seconds
	@tools/setup.sh
	@tools/check.sh "$(vm_kernel)" "$(vm_out)"
	@$(cargo) check --workspace --all-targets

rust-analyzer: vm-modules ## Write rust-project.json, which tells rust-analyzer of the modules (DRIVERS=outputs of others)
	@tools/modules.sh "$(vm_kernel)" "$(CURDIR)" "$(build)/rust-analyzer" rust-analyzer
	@tools/rust-analyzer.py $(build)/rust-analyzer/rust-project.json \
		$(addprefix $(vm_out)/,out fixture $(samples)) $(DRIVERS) >rust-project.json
	@echo "rust-project.json is written. For the programs as well, set in your editor:"
	@echo '    "rust-analyzer.linkedProjects": ["rust-project.json", "Cargo.toml"]'

# One build for clippy and for the compilers' further warnings. Where one of them
# has something to say there is no object, so the next call says it again; what
# is clean is not looked at twice. lint(directory, output):
lint = tools/modules.sh "$(vm_kernel)" "$(CURDIR)$(1)" "$(build)/lint/$(2)" \
	CLIPPY=1 W=1 KCFLAGS=-Werror KRUSTFLAGS=-Dwarnings modules

clippy: ## Lint everything, with W=1; any warning is an error
	@tools/setup.sh
	@$(call lint,,modules)
	@$(call lint,/tools/testing/selftests/vfio/fixture,fixture)
	@$(call lint,/tools/bench/floor,floor)
	@for sample in $(samples); do $(call lint,/samples/$$sample,$$sample); done
	@$(cargo) clippy --workspace --all-targets -- -D warnings

checkpatch: ## The kernel's checkpatch.pl on C, headers, Kconfig and Makefiles
	@tools/setup.sh
	@tools/checkpatch.sh

shellcheck: ## Lint all scripts
	@tools/setup.sh
	@git grep -lE '^(#!.*sh|# shellcheck shell=)' | grep -vE '\.(md|rs)$$' | \
		xargs shellcheck --severity=style --external-sources

layers: ## Check the structure of the modules against docs/architecture.md
	@$(cargo) run -p layers

stack: vm-modules ## Show which functions take most of the stack; more than 1 KiB is an error
	@tools/stack.sh "$(vm_out)/modules"

fmt: ## Format all Rust code
	@git ls-files '*.rs' | xargs /usr/bin/rustfmt --edition 2021 --config-path .

fmt-check: ## Check the format of all Rust code
	@git ls-files '*.rs' | xargs /usr/bin/rustfmt --check --edition 2021 --config-path .

doc: ## Build the documentation; any warning is an error
	@tools/setup.sh
	@RUSTDOCFLAGS="-Dwarnings -Arustdoc::private_intra_doc_links" $(cargo) doc --workspace --no-deps --document-private-items
	@tools/doc.sh "$(vm_kernel)" "$(vm_out)/out" "$(build)/doc"

docs: ## Make the tables in docs/ from the tests and the code
	@python3 -B tools/docs/rows.py
	@python3 -B tools/docs/deviations.py
	@python3 -B tools/docs/locks.py

docs-check: ## Check that the tables in docs/ are up to date, and the glossary
	@python3 -B tools/docs/rows.py --check
	@python3 -B tools/docs/deviations.py --check
	@python3 -B tools/docs/locks.py --check
	@python3 -B tools/docs/glossary.py --check

clean: ## Remove what was built here; kernels stay in the cache
	@rm -rf $(build) target
