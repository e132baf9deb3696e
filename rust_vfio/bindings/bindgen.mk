# SPDX-License-Identifier: GPL-2.0
#
# How bindgen is called: $(BINDGEN) <header> $(vfio_bindgen_flags) ... --
# $(vfio_bindgen_c_flags) .... Included by each Kbuild that makes bindings.

# Flags of GCC that libclang does not know, as in rust/Makefile.
ifdef CONFIG_CC_IS_CLANG
vfio_bindgen_c_flags = $(c_flags)
else
vfio_bindgen_skip := -mno-fp-ret-in-387 -mpreferred-stack-boundary=% \
	-mskip-rax-setup -mgeneral-regs-only -msign-return-address=% \
	-mindirect-branch=thunk-extern -mindirect-branch-register \
	-mfunction-return=thunk-extern -mrecord-mcount -mabi=lp64 \
	-mindirect-branch-cs-prefix -mstack-protector-guard% -mtraceback=no \
	-mno-pointers-to-nested-functions -mno-string \
	-mno-strict-align -mstrict-align -mdirect-extern-access \
	-mexplicit-relocs -mno-check-zero-division \
	-fconserve-stack -falign-jumps=% -falign-loops=% \
	-femit-struct-debug-baseonly -fno-ipa-cp-clone -fno-ipa-sra \
	-fno-partial-inlining -fplugin-arg-arm_ssp_per_task_plugin-% \
	-fno-reorder-blocks -fno-allow-store-data-races -fasan-shadow-offset=% \
	-fzero-call-used-regs=% -fno-stack-clash-protection \
	-fno-inline-functions-called-once -fsanitize=bounds-strict \
	-fstrict-flex-arrays=% -fmin-function-alignment=% \
	-fzero-init-padding-bits=% -mno-fdpic \
	-fdiagnostics-show-context -fdiagnostics-show-context=% \
	--param=% --param asan-% -fno-isolate-erroneous-paths-dereference \
	-ffixed-r2 -mmultiple -mno-readonly-in-sdata

vfio_bindgen_target_x86   := x86_64-linux-gnu
vfio_bindgen_target_arm64 := aarch64-linux-gnu

vfio_bindgen_c_flags = $(filter-out $(vfio_bindgen_skip), $(c_flags)) \
	-w --target=$(vfio_bindgen_target_$(SRCARCH))
endif

# The kernel's own parameters (derives, opaque types, CFI encodings) come first.
# The `enum` types that are arguments of indirect calls get a CFI encoding, so
# that their types match those of C.
vfio_bindgen_flags = \
	$(shell grep -Ev '^#|^$$' $(srctree)/rust/bindgen_parameters) \
	--newtype-enum vfio_group_type \
	--with-attribute-custom-enum=vfio_group_type='\#[cfi_encoding="15vfio_group_type"]' \
	--newtype-enum vfio_device_mig_state \
	--with-attribute-custom-enum=vfio_device_mig_state='\#[cfi_encoding="21vfio_device_mig_state"]' \
	--no-recursive-allowlist \
	--rust-target 1.85 --use-core --with-derive-default --ctypes-prefix ffi \
	--no-layout-tests --no-debug '.*' --enable-function-attribute-detection
