// SPDX-License-Identifier: GPL-2.0
//! Drives VFIO by what others have written for it: the crates of rust-vmm, on which virtual
//! machine monitors in Rust are built, and `pci-driver`, for drivers in user space.
//!
//! A program for the test VM, with the options and the output of `vfio-selftests`. It uses
//! the crates as their users do, on the kernel's modules and on ours, and on both must see
//! the same. Our own library finds and binds the devices; it opens none of them.
//!
//! | Names begin with | What drives VFIO |
//! |---|---|
//! | `vfio_ioctls` | rust-vmm's `vfio-ioctls`, by group and by node, with KVM and without |
//! | `pci_driver` | `pci-driver` |
//! | `vfio_bindings` | requests made of the structures of rust-vmm's `vfio-bindings` |

mod bindings;
mod complaints;
mod edu;
mod machine;
mod moves;
mod rust_vmm;
mod user_driver;

use std::process::ExitCode;

use vfio_selftests::harness;

fn main() -> ExitCode {
    complaints::listen();
    let rows = [
        rust_vmm::ROWS,
        rust_vmm::TAKEN,
        rust_vmm::BY_NODE,
        user_driver::ROWS,
        moves::ROWS,
    ];
    harness::main(rows.concat(), machine::tidy)
}
