# SPDX-License-Identifier: GPL-2.0
#
# Builds the crate vfio, the API for drivers, as a part of a driver's module. In the
# Kbuild of a directory with one module:
#
#   obj-m := my_driver.o
#   my_driver-y := driver.o vfio_api.o       # driver.rs is the root of the driver's crate
#   vfio_driver := driver.o
#   include <this project>/rust_vfio/driver/driver.mk
#

ifeq ($(vfio_driver),)
$(error set vfio_driver to the object of the root of the driver's crate before this line)
endif

vfio_dir := $(patsubst %/driver/driver.mk,%,$(lastword $(MAKEFILE_LIST)))

vfio_gen   := $(obj)/bindings_generated.rs
vfio_rmeta := $(obj)/libvfio_bindings.rmeta

include $(vfio_dir)/bindings/bindgen.mk

vfio_bindgen_files := \
	'*/include/linux/vfio\.h' \
	'*/include/uapi/linux/vfio\.h' \
	'*/include/linux/anon_inodes\.h' \
	'*/include/linux/eventfd\.h'

quiet_cmd_vfio_bindgen = BINDGEN $(quiet_modtag) $@
      cmd_vfio_bindgen = \
	$(BINDGEN) $< $(vfio_bindgen_flags) \
		$(addprefix --allowlist-file ., $(vfio_bindgen_files)) -o $@ -- \
	$(vfio_bindgen_c_flags) -fno-builtin -D__BINDGEN__ -DMODULE

quiet_cmd_vfio_bindings = RUSTC $(quiet_modtag) $@
      cmd_vfio_bindings = \
	OBJTREE=$(abspath $(objtree)) VFIO_RS_GEN=$(abspath $(obj)) \
	$(RUSTC) $(filter-out --extern vfio vfio_bindings,$(rust_flags)) \
	-Zallow-features=cfi_encoding -Zunstable-options --sysroot=/dev/null \
	-L $(objtree)/rust --extern kernel --extern pin_init \
	--crate-type rlib --crate-name vfio_bindings --out-dir $(dir $@) \
	--emit=dep-info=$(depfile) --emit=metadata=$@ $<

$(vfio_gen) $(vfio_rmeta): private part-of-module := y

$(vfio_gen): $(vfio_dir)/driver/bindings_helper.h FORCE
	$(call if_changed_dep,vfio_bindgen)

$(vfio_rmeta): $(vfio_dir)/bindings/vfio_bindings.rs $(vfio_gen) FORCE
	+$(call if_changed_dep,vfio_bindings)

# The crate's code for this module, and what the driver's crate needs of it.
RUSTFLAGS_vfio_api.o := -L $(obj) --extern vfio_bindings --emit=metadata=$(obj)/libvfio.rmeta

$(obj)/vfio_api.o: $(vfio_dir)/rust_driver.rs $(vfio_rmeta) FORCE
	+$(call if_changed_rule,rustc_o_rs)

RUSTFLAGS_$(vfio_driver) := -L $(obj) --extern vfio
$(obj)/$(vfio_driver): $(obj)/vfio_api.o

targets += bindings_generated.rs libvfio_bindings.rmeta vfio_api.o
