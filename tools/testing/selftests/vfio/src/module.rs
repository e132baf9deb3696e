// SPDX-License-Identifier: GPL-2.0
//! Kernel modules: loading, parameters, and what is in their files.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::sysfs;

/// The two modules of this project.
pub const CORE: &str = "vfio";
/// The backend.
pub const TYPE1: &str = "vfio_iommu_type1";

fn sysfs_of(name: &str) -> PathBuf {
    Path::new("/sys/module").join(name)
}

/// Where the test VM keeps the file of a module.
pub fn file(name: &str) -> PathBuf {
    Path::new("/modules").join(name).with_extension("ko")
}

/// Whether a module is loaded.
pub fn is_loaded(name: &str) -> bool {
    sysfs_of(name).join("refcnt").exists()
}

/// How many users a loaded module has.
pub fn users(name: &str) -> Result<u64> {
    sysfs::read_number(sysfs_of(name).join("refcnt"))
}

/// Loads a module from the VM's directory, with parameters such as `limit=3`.
pub fn load(name: &str, parameters: &str) -> Result<()> {
    let path = file(name);
    let parameters = std::ffi::CString::new(parameters)?;
    rustix::system::finit_module(sysfs::open(&path)?, &parameters, 0)
        .with_context(|| format!("load {}", path.display()))
}

/// Where the VM's init looks for copies of what lockdep knew.
const LOCKDEP_COPIES: &str = "/run/lockdep";

/// Keeps what lockdep knows, if the kernel has it. It forgets the locks of a
/// module that goes.
fn keep_lock_order() -> io::Result<()> {
    let Ok(known) = fs::read("/proc/lockdep") else {
        return Ok(());
    };
    fs::create_dir_all(LOCKDEP_COPIES)?;
    let number = sysfs::list(LOCKDEP_COPIES).len();
    fs::write(Path::new(LOCKDEP_COPIES).join(number.to_string()), known)
}

/// Unloads a module. `EWOULDBLOCK` while it is in use.
pub fn unload(name: &str) -> rustix::io::Result<()> {
    if [CORE, TYPE1].contains(&name) {
        if let Err(error) = keep_lock_order() {
            eprintln!("copy /proc/lockdep: {error}");
        }
    }
    let name = std::ffi::CString::new(name).map_err(|_| rustix::io::Errno::INVAL)?;
    // O_NONBLOCK: do not wait for users.
    rustix::system::delete_module(&name, libc::O_NONBLOCK)
}

/// A parameter of a loaded module that gets its old value back when dropped.
#[derive(Debug)]
pub struct Parameter {
    path: PathBuf,
    old: String,
}

impl Parameter {
    /// Where a parameter is.
    pub fn path(module: &str, name: &str) -> PathBuf {
        sysfs_of(module).join("parameters").join(name)
    }

    /// Sets it for a while.
    pub fn set(module: &str, name: &str, value: &str) -> Result<Self> {
        let path = Self::path(module, name);
        let old = sysfs::read(&path)?;
        sysfs::write(&path, value)?;
        Ok(Self { path, old })
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        if let Err(error) = sysfs::write(&self.path, &self.old) {
            eprintln!("{error:#}");
        }
    }
}

/// How many symbols of a module have mangled Rust names, in the text of `/proc/kallsyms`.
pub fn rust_symbols(symbols: &str, module: &str) -> usize {
    // "address type name\t[module]"
    let module = format!("[{module}]");
    symbols
        .lines()
        .map(|line| line.split_ascii_whitespace().skip(2))
        .filter_map(|mut words| Some((words.next()?, words.next()?)))
        .filter(|(name, place)| name.starts_with("_R") && *place == module)
        .count()
}

#[cfg(test)]
mod tests {
    use super::rust_symbols;

    #[test]
    fn only_rust_symbols_of_that_module_count() {
        let symbols = "ffffffffc0000000 t _RNvCs1_4vfio1a\t[vfio]\n\
                       ffffffffc0000010 t vfio_init\t[vfio]\n\
                       ffffffffc0000020 t _RNvCs1_3foo1b\t[vfio_pci]\n\
                       ffffffff81000000 T _RNvCs1_6kernel1c\n";
        assert_eq!(rust_symbols(symbols, "vfio"), 1);
        assert_eq!(rust_symbols(symbols, "mdev"), 0);
    }
}
