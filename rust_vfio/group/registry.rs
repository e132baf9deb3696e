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

use crate::{
    group::{
        file::FOPS,
        state::{
            Group,
            GroupData, //
        }, //
    },
    kernel::{
        chardev::{
            Class,
            NodePath,
            Region, //
        },
        ida::{
            Ida,
            IdaLife, //
        },
        iommu_group::IommuGroup,
        module::ModuleInit, //
    },
    noiommu,
    views::{
        device::Device,
        group_type::GroupType, //
    }, //
};

/// The minors of groups.
static MINORS: Ida = Ida::uninit();

kernel::sync::global_lock! {
    // SAFETY: Initialised by `Groups::init`, before the first device is registered.
    unsafe(uninit) static REGISTRY: Mutex<GroupRegistry> = GroupRegistry {
        nodes: None,
        entries: KVec::new(),
    };
}

/// What the registry's lock protects.
struct GroupRegistry {
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
    /// Sets the group layer up. Called once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EEXIST` if there is such a class already; `EBUSY` if no major is left.
    pub(crate) fn init(_: &ModuleInit) -> Result<Self> {
        // SAFETY: Nobody else uses the module yet, so there is no device.
        unsafe { REGISTRY.init() };
        // SAFETY: As above, and the result goes when no device is left.
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

/// Makes the device belong to a group: that of its IOMMU group, or one of its own.
///
/// # Errors
///
/// `EINVAL` if the device has no IOMMU and may not go without, or belongs to its group already
/// (and a warning); `ENOMEM`, `ENOSPC`, what sysfs returned.
pub(crate) fn join(device: &Device, kind: GroupType) -> Result {
    let group = match (kind, IommuGroup::of(device.bus_device())) {
        (GroupType::Iommu, Some(identity)) => find_or_create(device, identity)?,
        (GroupType::Iommu, None) if noiommu::is_enabled() => {
            let group = create_fake(device, GroupType::NoIommu)?;
            noiommu::taint(device);
            group
        }
        (GroupType::Iommu, None) => return Err(EINVAL),
        (GroupType::Emulated | GroupType::NoIommu, _) => create_fake(device, kind)?,
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
    registry.create(GroupType::Iommu, identity)
}

/// Makes an IOMMU group that is none, and a group for it.
fn create_fake(device: &Device, kind: GroupType) -> Result<*const Group> {
    let identity = IommuGroup::fake(c"vfio-noiommu", device.bus_device())?;
    let group = REGISTRY.lock().create(kind, identity);
    if group.is_err() {
        IommuGroup::remove_device(device.bus_device());
    }
    group
}

impl GroupRegistry {
    /// Makes a group with one device, and its node.
    fn create(&mut self, kind: GroupType, identity: IommuGroup) -> Result<*const Group> {
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
            GroupType::NoIommu => c"noiommu-",
            GroupType::Iommu | GroupType::Emulated => c"",
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

/// Makes the device belong to no group, the opposite of [`join`].
///
/// The group goes with its last device: it loses its node, its container and its IOMMU group, but
/// lives on while its file is open.
///
/// # Safety
///
/// Nobody may use what [`Group::of`] returned for the device: it is not registered, and no file of
/// it is left.
pub(crate) unsafe fn leave(device: &Device) {
    let Some(group) = Group::of(device) else {
        return;
    };
    device.set_group_ptr(core::ptr::null_mut());
    match group.kind {
        GroupType::Iommu => {}
        GroupType::Emulated | GroupType::NoIommu => IommuGroup::remove_device(device.bus_device()),
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
    if let Some(group) = Group::of(device) {
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
    if let Some(group) = Group::of(device) {
        // SAFETY: The device was linked by `link`.
        unsafe { group.devices.lock().as_mut().project().list.remove(device) };
    }
}
