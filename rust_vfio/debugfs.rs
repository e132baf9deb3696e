// SPDX-License-Identifier: GPL-2.0

//! The files in debugfs: `vfio/<device>/migration/state` and `features`, and the directory for
//! files about all groups, which `group/show.rs` makes.
//!
//! Drivers add files of their own to a device's directory. The core creates the directory as the
//! last step of registration. It removes it before the memory goes that readers of the files use.
//! There is no lock; debugfs waits for readers when a file is removed.
//!
//! Corresponds to `drivers/vfio/debugfs.c`; contract 8.4. Without `CONFIG_VFIO_DEBUGFS` there are
//! no files.

#[cfg(CONFIG_VFIO_DEBUGFS)]
mod enabled {
    use kernel::{
        prelude::*,
        seq_file::SeqFile,
        seq_print,
        str::CStr,
        sync::SetOnce, //
    };

    use crate::{
        kernel::debugfs::{
            Contents,
            Dir,
            TopDir, //
        },
        logic::fsm::{
            Abilities,
            MigrationState, //
        },
        migration,
        views::{
            debugfs::Show,
            device::Device, //
        }, //
    };

    /// The directory `vfio`, from [`create_root`] to the end of the module.
    static ROOT: SetOnce<Dir> = SetOnce::new();

    /// The directory `vfio`; dropping it removes it.
    pub(crate) type Root = TopDir;

    /// Creates the directory `vfio`. Called once, when the module is loaded.
    #[doc(alias = "vfio_debugfs_create_root")]
    pub(crate) fn create_root() -> Root {
        let root = TopDir::new(c"vfio");
        // SAFETY: The module drops `root` when it is unloaded. Only `add_device` uses the handle,
        // for a device that is registered, and none is by then: its driver's module uses this one.
        ROOT.populate(unsafe { root.handle() });
        root
    }

    /// Creates the file `name` in the directory `vfio`, about all devices. Called when the module
    /// is loaded, after [`create_root`]. Sleeps.
    pub(crate) fn add_list<C: Contents>(name: &'static CStr) {
        if let Some(root) = ROOT.copy() {
            root.list::<C>(name);
        }
    }

    /// Creates the directory and the files of a device that has just been registered. Sleeps.
    #[doc(alias = "vfio_device_debugfs_init")]
    pub(crate) fn add_device(device: &Device) {
        let Some(root) = ROOT.copy() else {
            return;
        };
        let dir = device.create_debug_dir(root);
        if device.can_migrate() {
            let dir = dir.subdir(c"migration");
            dir.file::<StateFile>(c"state", device);
            dir.file::<Features>(c"features", device);
        }
    }

    /// Removes the directory of a device that is being unregistered. Sleeps until no reader is
    /// left.
    #[doc(alias = "vfio_device_debugfs_exit")]
    pub(crate) fn remove_device(device: &Device) {
        device.remove_debug_dir();
    }

    /// The file `migration/state`: the state of the device.
    #[doc(alias = "vfio_device_state_read")]
    struct StateFile;

    impl Show for StateFile {
        fn show(device: &Device, m: &SeqFile) -> Result {
            let state = device.migration_state().map_err(|_| EINVAL)?;
            let name = MigrationState::from_raw(state).map_or("Invalid", MigrationState::name);
            seq_print!(m, "{name}\n");
            Ok(())
        }
    }

    /// The file `migration/features`: the optional parts of migration that the device has.
    #[doc(alias = "vfio_device_features_read")]
    struct Features;

    impl Show for Features {
        fn show(device: &Device, m: &SeqFile) -> Result {
            let abilities = migration::abilities(device);
            for (ability, name) in [
                (Abilities::STOP_COPY, "stop-copy"),
                (Abilities::P2P, "p2p"),
                (Abilities::PRE_COPY, "pre-copy"),
            ] {
                if abilities.contains(ability) {
                    seq_print!(m, "{name}\n");
                }
            }
            if device.can_log_dma() {
                seq_print!(m, "dirty-tracking\n");
            }
            Ok(())
        }
    }
}

#[cfg(not(CONFIG_VFIO_DEBUGFS))]
mod enabled {
    use crate::views::device::Device;

    /// The place of the directory `vfio` in a kernel without these files.
    pub(crate) struct Root;

    /// Does nothing.
    pub(crate) fn create_root() -> Root {
        Root
    }

    /// Does nothing.
    pub(crate) fn add_device(_device: &Device) {}

    /// Does nothing.
    pub(crate) fn remove_device(_device: &Device) {}
}

pub(crate) use enabled::*;
