// SPDX-License-Identifier: GPL-2.0

//! The files in debugfs: `vfio/<device>/migration/state` and `features`.
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
        sync::SetOnce, //
    };

    use crate::{
        kernel::debugfs::{
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
            let name = match MigrationState::from_raw(state) {
                Some(MigrationState::Error) => "ERROR",
                Some(MigrationState::Stop) => "STOP",
                Some(MigrationState::Running) => "RUNNING",
                Some(MigrationState::StopCopy) => "STOP_COPY",
                Some(MigrationState::Resuming) => "RESUMING",
                Some(MigrationState::RunningP2p) => "RUNNING_P2P",
                Some(MigrationState::PreCopy) => "PRE_COPY",
                Some(MigrationState::PreCopyP2p) => "PRE_COPY_P2P",
                None => "Invalid",
            };
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
