// SPDX-License-Identifier: GPL-2.0

//! What debugfs shows: `vfio/`, in it a directory per device, in it what is known about migration.
//!
//! Drivers add files of their own to a device's directory, which the core creates last when a
//! device is registered and removes before anything else that a reader could need.
//!
//! Corresponds to `drivers/vfio/debugfs.c`; contract section 8.4. Without `CONFIG_VFIO_DEBUGFS`
//! nothing is there.

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
    pub(crate) fn create_root() -> Root {
        let root = TopDir::new(c"vfio");
        // SAFETY: The directory is removed when the module is unloaded, so that there is no device
        // left that would use it.
        ROOT.populate(unsafe { root.handle() });
        root
    }

    /// Adds a device that has just been registered.
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

    /// Removes a device that is being unregistered.
    pub(crate) fn remove_device(device: &Device) {
        device.remove_debug_dir();
    }

    /// `migration/state`.
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

    /// `migration/features`.
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

    /// The directory that is not there.
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
