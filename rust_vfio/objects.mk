# SPDX-License-Identifier: GPL-2.0
#
# Of which objects the two modules in Rust consist, and how to make what they need
# beforehand. Included by the Kbuild of the project, and by drivers/vfio/Makefile of
# a kernel tree that has this directory there.
#
# Each module is one Rust crate and a few small C files: wrappers of the kernel's
# inline functions and macros, which bindgen cannot see, and what only a C macro
# can declare (export records, module parameters, soft dependencies).

vfio_rust := rust_vfio

vfio_rust_core := $(addprefix $(vfio_rust)/, \
	rust_vfio.o kernel/helpers.o exports/exports.o exports/modinfo.o \
	bindings/iommu_driver_check.o trace/events.o)
vfio_rust_type1 := $(addprefix $(vfio_rust)/, \
	rust_type1.o kernel/helpers_type1.o iommu_type1/modinfo.o \
	iommu_type1/trace/events.o)

# The kernel's headers include these once more, by a name without a directory.
CFLAGS_$(vfio_rust)/trace/events.o := -I$(src)/$(vfio_rust)/trace
CFLAGS_$(vfio_rust)/iommu_type1/trace/events.o := -I$(src)/$(vfio_rust)/iommu_type1/trace

# The interface between the core and its IOMMU backends is declared in a private
# header of the kernel. Source trees have it, packages of headers do not; then
# bindings/iommu_driver_copy.h is used, which each build with the header checks.
ifneq ($(wildcard $(srctree)/drivers/vfio/vfio.h),)
ccflags-y += -DVFIO_RS_PRIVATE_HEADER -I$(srctree)/drivers/vfio
vfio_private_header := '*/drivers/vfio/vfio\.h'
endif

# -- The extra bindings ------------------------------------------------------
#
# `kernel::bindings` does not contain VFIO and iommufd. The crate `vfio_bindings`
# re-exports it, and adds what bindgen makes of the headers in
# vfio_bindgen_files, and of these only, so that no type exists twice.

vfio_gen   := $(obj)/$(vfio_rust)/bindings/bindings_generated.rs
vfio_rmeta := $(obj)/$(vfio_rust)/bindings/libvfio_bindings.rmeta

vfio_rustflags := -L $(obj)/$(vfio_rust)/bindings --extern vfio_bindings
RUSTFLAGS_$(vfio_rust)/rust_vfio.o  := $(vfio_rustflags)
RUSTFLAGS_$(vfio_rust)/rust_type1.o := $(vfio_rustflags)
$(obj)/$(vfio_rust)/rust_vfio.o $(obj)/$(vfio_rust)/rust_type1.o: $(vfio_rmeta)

include $(src)/$(vfio_rust)/bindings/bindgen.mk

vfio_bindgen_files := \
	'*/include/linux/vfio\.h' \
	'*/include/uapi/linux/vfio\.h' \
	'*/include/linux/iommufd\.h' \
	'*/include/linux/anon_inodes\.h' \
	'*/include/linux/pseudo_fs\.h' \
	$(vfio_private_header) \
	'*/bindings/iommu_driver_copy\.h' \
	'*/\.\./kernel/helpers\.h' \
	'*/\.\./kernel/helpers_type1\.h' \
	'*/trace/events\.h' \
	'*/iommu_type1/trace/type1_events\.h'

quiet_cmd_vfio_bindgen = BINDGEN $(quiet_modtag) $@
      cmd_vfio_bindgen = \
	$(BINDGEN) $< $(vfio_bindgen_flags) \
		$(addprefix --allowlist-file ., $(vfio_bindgen_files)) -o $@ -- \
	$(vfio_bindgen_c_flags) -fno-builtin -D__BINDGEN__

quiet_cmd_vfio_bindings = RUSTC $(quiet_modtag) $@
      cmd_vfio_bindings = \
	OBJTREE=$(abspath $(objtree)) VFIO_RS_GEN=$(abspath $(obj)/$(vfio_rust)/bindings) \
	$(RUSTC) $(filter-out --extern vfio_bindings,$(rust_flags)) \
	-Zallow-features=cfi_encoding -Zunstable-options -Zalways-encode-mir \
	--sysroot=/dev/null \
	-L $(objtree)/rust --extern kernel --extern pin_init \
	--crate-type rlib --crate-name vfio_bindings --out-dir $(dir $@) \
	--emit=dep-info=$(depfile) --emit=metadata=$@ $<

# As what they are bindings for: modules, or a part of the kernel.
$(vfio_gen) $(vfio_rmeta): private part-of-module := $(if $(filter m,$(CONFIG_VFIO)),y)

$(vfio_gen): $(src)/$(vfio_rust)/bindings/bindings_helper.h $(src)/$(vfio_rust)/bindings/iommu_driver.h \
	     $(src)/$(vfio_rust)/bindings/iommu_driver_copy.h \
	     $(src)/$(vfio_rust)/kernel/helpers.h $(src)/$(vfio_rust)/kernel/helpers_type1.h \
	     $(src)/$(vfio_rust)/trace/events.h $(src)/$(vfio_rust)/iommu_type1/trace/type1_events.h FORCE
	$(call if_changed_dep,vfio_bindgen)

$(vfio_rmeta): $(src)/$(vfio_rust)/bindings/vfio_bindings.rs $(vfio_gen) FORCE
	+$(call if_changed_dep,vfio_bindings)

targets += $(vfio_rust)/bindings/bindings_generated.rs $(vfio_rust)/bindings/libvfio_bindings.rmeta
