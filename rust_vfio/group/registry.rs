// SPDX-License-Identifier: GPL-2.0

//! Which groups there are: found or made when a device is registered, forgotten with its last one.
//!
//! The registry's lock (`vfio.group_lock` in C) is the outermost of all. It is held while a node
//! appears and disappears, so that a device that comes back at once does not find the old name.
//!
//! Contract sections 1.6 and 1.8.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use super::{
    Group,
    GroupData,
    FOPS, //
};
use crate::{
    ffi::{
        chardev::{
            Class,
            NodePath,
            Region, //
        },
        device::Device,
        group_kind::GroupKind,
        ida::{
            Ida,
            IdaLife, //
        },
        iommu_group::IommuGroup, //
    },
    noiommu, //
};

/// The minors of groups.
static MINORS: Ida = Ida::uninit();

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Groups::init`, before the first device is registered.
    unsafe(uninit) static REGISTRY: Mutex<Registry> = Registry {
        nodes: None,
        entries: KVec::new(),
    };
}

/// What the registry's lock protects.
struct Registry {
    /// Where nodes come from; there while the module is loaded.
    nodes: Option<Nodes>,
    entries: KVec<Entry>,
}

/// The class and the device numbers of groups.
struct Nodes {
    class: Class,
    region: Region,
}

/// A group that has devices.
struct Entry {
    group: ARef<Group>,
    identity: IommuGroup,
    /// How many devices belong to the group; never 0.
    devices: usize,
}

/// Groups have their nodes in `/dev/vfio`.
struct GroupNode;

impl NodePath for GroupNode {
    const FORMAT: &'static CStr = c"vfio/%s";
}

/// What the group layer sets up when the module is loaded; dropping it takes it down.
pub(crate) struct Groups {
    _minors: IdaLife,
}

impl Groups {
    /// Sets the group layer up.
    ///
    /// # Safety
    ///
    /// Called once, before any device is registered, and dropped when no device is left.
    pub(crate) unsafe fn init() -> Result<Self> {
        // SAFETY: By the contract of this function.
        unsafe { REGISTRY.init() };
        // SAFETY: As above.
        let minors = unsafe { MINORS.init() };
        let class = Class::with_nodes::<GroupNode>(c"vfio")?;
        let region = Region::new(c"vfio")?;
        REGISTRY.lock().nodes = Some(Nodes { class, region });
        Ok(Self { _minors: minors })
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        kernel::warn_on!(!registry.entries.is_empty());
        registry.entries = KVec::new();
        registry.nodes = None;
    }
}

/// The group of a registered device.
pub(super) fn of(device: &Device) -> Option<&Group> {
    // SAFETY: The pointer was set by `join`, and the device belongs to the group, which is thus
    // valid, until `leave`.
    unsafe { device.group_ptr().cast::<Group>().as_ref() }
}

/// Whether the device is in a group that no IOMMU is in front of.
pub(crate) fn is_noiommu(device: &Device) -> bool {
    of(device).is_some_and(|group| group.kind == GroupKind::NoIommu)
}

/// Makes the device belong to a group: that of its IOMMU group, or one of its own.
///
/// # Errors
///
/// `EINVAL` if the device has no IOMMU and may not go without, or belongs to its group already
/// (and a warning); `ENOMEM`, `ENOSPC`, what sysfs returned.
pub(crate) fn join(device: &Device, kind: GroupKind) -> Result {
    let group = match (kind, IommuGroup::of(device)) {
        (GroupKind::Iommu, Some(identity)) => find_or_create(device, identity)?,
        (GroupKind::Iommu, None) if noiommu::is_enabled() => {
            let group = create_fake(device, GroupKind::NoIommu)?;
            noiommu::taint(device);
            group
        }
        (GroupKind::Iommu, None) => return Err(EINVAL),
        (GroupKind::Emulated | GroupKind::NoIommu, _) => create_fake(device, kind)?,
    };
    device.set_group_ptr(group.cast_mut().cast());
    Ok(())
}

fn find_or_create(device: &Device, identity: IommuGroup) -> Result<*const Group> {
    let mut registry = REGISTRY.lock();
    let entry = registry
        .entries
        .iter_mut()
        .find(|entry| entry.identity == identity);
    if let Some(entry) = entry {
        if kernel::warn_on!(entry.group.has_bus_device(device)) {
            return Err(EINVAL);
        }
        entry.devices += 1;
        return Ok(&raw const *entry.group);
    }
    registry.create(GroupKind::Iommu, identity)
}

/// Makes an IOMMU group that is none, and a group for it.
fn create_fake(device: &Device, kind: GroupKind) -> Result<*const Group> {
    let identity = IommuGroup::fake(c"vfio-noiommu", device)?;
    let group = REGISTRY.lock().create(kind, identity);
    if group.is_err() {
        IommuGroup::remove_device(device);
    }
    group
}

impl Registry {
    /// Makes a group with one device, and its node.
    fn create(&mut self, kind: GroupKind, identity: IommuGroup) -> Result<*const Group> {
        let nodes = self.nodes.as_ref().ok_or(ENODEV)?;
        let minor = MINORS.alloc_minor()?;
        self.entries.reserve(1, GFP_KERNEL)?;
        let group = Group::new(
            nodes.class.handle(),
            nodes.region.handle().devt(minor.value()),
            &FOPS,
            GroupData::new(minor, kind, identity.clone()),
        )?;
        let prefix = match kind {
            GroupKind::NoIommu => c"noiommu-",
            GroupKind::Iommu | GroupKind::Emulated => c"",
        };
        group.set_name(prefix, identity.id())?;
        group.publish()?;
        let raw = &raw const *group;
        let entry = Entry {
            group,
            identity,
            devices: 1,
        };
        if let Err(e) = self.entries.push_within_capacity(entry) {
            // Cannot happen, as there is room for one more.
            kernel::warn_on!(true);
            return Err(e.into());
        }
        Ok(raw)
    }
}

/// The opposite of [`join`]. The group goes with its last device: it loses its node, its container
/// and its IOMMU group, but lives on while its file is open.
pub(crate) fn leave(device: &Device) {
    let Some(group) = of(device) else { return };
    device.set_group_ptr(core::ptr::null_mut());
    match group.kind {
        GroupKind::Iommu => {}
        GroupKind::Emulated | GroupKind::NoIommu => IommuGroup::remove_device(device),
    }

    let mut registry = REGISTRY.lock();
    let found = registry
        .entries
        .iter_mut()
        .enumerate()
        .find(|(_, entry)| core::ptr::eq(&*entry.group, group));
    let Some((at, entry)) = found else { return };
    entry.devices -= 1;
    if entry.devices > 0 {
        return;
    }
    let Ok(entry) = registry.entries.remove(at) else {
        return;
    };
    kernel::warn_on!(!entry.group.devices.lock().list.is_empty());
    entry.group.unpublish();
    let identity = entry.group.state.lock().lose_identity();
    // The last references may go only when both locks are free.
    drop(registry);
    drop(identity);
    drop(entry);
}

impl GroupData {
    /// Whether a device of the group stands for the same device of the bus.
    fn has_bus_device(&self, device: &Device) -> bool {
        let same = |d: &Device| (d.bus_device_raw() == device.bus_device_raw()).then_some(());
        self.devices.lock().list.find(same).is_some()
    }
}

/// Lets user space ask the group for the device.
pub(crate) fn link(device: &Device) {
    if let Some(group) = of(device) {
        // SAFETY: A device is linked once, when it is registered, and unlinked before `leave`.
        unsafe {
            group
                .devices
                .lock()
                .as_mut()
                .project()
                .list
                .push_front(device)
        };
    }
}

/// The opposite of [`link`].
pub(crate) fn unlink(device: &Device) {
    if let Some(group) = of(device) {
        // SAFETY: The device was linked by `link`.
        unsafe { group.devices.lock().as_mut().project().list.remove(device) };
    }
}
