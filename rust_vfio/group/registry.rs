// SPDX-License-Identifier: GPL-2.0

//! The registry of groups: a group is found or created when a device is registered, and removed
//! when the last of its devices is unregistered.
//!
//! An entry holds one reference to the group; the file of the group and each open device may hold
//! more. The group is freed with the last one.
//!
//! Lock: [`static@REGISTRY`] (`vfio.group_lock` in C), outside all locks of a group. It is held
//! while a device node appears or disappears, so that a group that is created again at once does
//! not find its name in use. A device that leaves others behind in its group does not take it.
//!
//! Corresponds to `vfio_device_set_group()`, `vfio_device_remove_group()` and what they call in
//! `drivers/vfio/group.c`; contract 1.6 and 1.8.
//!
//! Deviation: if a group cannot be created, its IOMMU group is put without a warning. C warns and
//! loses the reference.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    group::{
        file::FOPS,
        state::{
            Group,
            GroupData,
            GroupOf, //
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

/// The minor numbers of groups.
static MINORS: Ida = Ida::uninit();

kernel::sync::global_lock! {
    // SAFETY: `Groups::init` initialises it, which the module's init function calls before a driver
    // can register a device.
    unsafe(uninit) static REGISTRY: Mutex<GroupRegistry> = GroupRegistry {
        nodes: None,
        entries: KVVec::new(),
        created: 0,
    };
}

/// What the registry's lock protects.
struct GroupRegistry {
    /// What device nodes of groups are made with, from `Groups::init` until it is dropped.
    nodes: Option<Nodes>,
    /// The groups that have devices, in no order.
    entries: KVVec<Entry>,
    /// How many groups were created. Counts their serial numbers.
    created: usize,
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
}

/// The place of the device nodes of groups: `/dev/vfio`.
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
    /// - `ENOMEM`.
    /// - `EEXIST` if another module has a class of this name.
    /// - `EBUSY` if no major number is left.
    #[doc(alias = "vfio_group_init")]
    pub(crate) fn init(_: &ModuleInit) -> Result<Self> {
        // SAFETY: `ModuleInit` shows that nobody else uses the module yet, so nobody has locked it;
        // the module's init function calls this once.
        unsafe { REGISTRY.init() };
        // SAFETY: `ModuleInit` shows that nobody uses the numbers yet. The result is dropped when
        // the module is unloaded, which no device outlives, and so no group in the registry.
        let minors = unsafe { MINORS.init() };
        let class = Class::with_nodes::<GroupNode>(c"vfio")?;
        let region = Region::new(c"vfio")?;
        REGISTRY.lock().nodes = Some(Nodes { class, region });
        Ok(Self { _minors: minors })
    }
}

impl Drop for Groups {
    /// Removes the class and the device numbers; undoes [`Groups::init`].
    #[doc(alias = "vfio_group_cleanup")]
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock();
        kernel::warn_on!(!registry.entries.is_empty());
        registry.entries = KVVec::new();
        registry.nodes = None;
    }
}

/// Puts the device into a group: that of its IOMMU group, or one of its own. Takes the registry's
/// lock, and under it that of a group's list of devices. Sleeps.
///
/// # Errors
///
/// - `EINVAL` if the device has no IOMMU group, and the parameter `enable_unsafe_noiommu_mode` is
///   off.
/// - Any errno of making an IOMMU group, for an emulated device or one without IOMMU.
/// - `EINVAL` (and a warning) if a device of the group has the same bus device.
/// - `ENOSPC` if no minor number is left.
/// - `ENOMEM`.
/// - Any errno of making the device node.
#[doc(alias = "vfio_device_set_group")]
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
    GroupOf::Now(group).write(device);
    Ok(())
}

/// Adds the device to the group of its IOMMU group, which is created if there is none. Takes the
/// registry's lock.
///
/// # Errors
///
/// See [`join`].
#[doc(alias = "vfio_group_find_or_alloc")]
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
        entry.group.members.add();
        return Ok(&raw const *entry.group);
    }
    registry.create(GroupType::Iommu, identity)
}

/// Creates an IOMMU group without IOMMU for the device, and a group for it. Takes the registry's
/// lock.
///
/// # Errors
///
/// See [`join`].
#[doc(alias = "vfio_noiommu_group_alloc")]
fn create_fake(device: &Device, kind: GroupType) -> Result<*const Group> {
    let identity = IommuGroup::fake(c"vfio-noiommu", device.bus_device())?;
    let group = REGISTRY.lock().create(kind, identity);
    if group.is_err() {
        IommuGroup::remove_device(device.bus_device());
    }
    group
}

impl GroupRegistry {
    /// Creates a group with one device, and its device node.
    ///
    /// # Errors
    ///
    /// - `ENOSPC` if no minor number is left.
    /// - `ENOMEM`.
    /// - Any errno of making the device node.
    #[doc(alias = "vfio_create_group")]
    fn create(&mut self, kind: GroupType, identity: IommuGroup) -> Result<*const Group> {
        let nodes = self.nodes.as_ref().ok_or(ENODEV)?;
        // Half of the numbers fit into the word of a device, and that many groups are not created.
        self.created = self.created.wrapping_add(1);
        let minor = MINORS.alloc_minor()?;
        self.entries.reserve(1, GFP_KERNEL)?;
        let group = Group::new(
            nodes.class.handle(),
            nodes.region.handle().devt(minor.value()),
            &FOPS,
            GroupData::new(minor, self.created, kind, identity.clone()),
        )?;
        let prefix = match kind {
            GroupType::NoIommu => c"noiommu-",
            GroupType::Iommu | GroupType::Emulated => c"",
        };
        group.set_name(prefix, identity.id())?;
        group.publish()?;
        let raw = &raw const *group;
        let entry = Entry { group, identity };
        if let Err(e) = self.entries.push_within_capacity(entry) {
            // Cannot happen, as there is room for one more.
            kernel::warn_on!(true);
            return Err(e.into());
        }
        Ok(raw)
    }
}

/// Takes the device out of its group; undoes [`join`].
///
/// When the last device leaves, the group loses its device node, its container and its IOMMU
/// group. The group itself is freed with the last reference, which may be that of its open file.
///
/// The last device takes the registry's lock, and under it that of the group's list of devices and
/// the group's, one after the other. Sleeps.
///
/// # Safety
///
/// The device must not be registered, and no file of it may be left, so that nobody uses what
/// [`Group::of`] has returned for it.
#[doc(alias = "vfio_device_remove_group")]
pub(crate) unsafe fn leave(device: &Device) {
    let Some(group) = Group::of(device) else {
        return;
    };
    group.as_last().write(device);
    match group.kind {
        GroupType::Iommu => {}
        GroupType::Emulated | GroupType::NoIommu => IommuGroup::remove_device(device.bus_device()),
    }

    // The group may be freed as soon as the device is not counted any more.
    if group.members.remove_unless_last() {
        return;
    }
    let mut registry = REGISTRY.lock();
    // A device may have joined before the lock was taken, which keeps others from it.
    if group.members.remove_unless_last() {
        return;
    }
    let found = registry
        .entries
        .iter()
        .position(|entry| core::ptr::eq(&*entry.group, group));
    let Some(at) = found else { return };
    let Ok(entry) = registry.entries.remove(at) else {
        return;
    };
    kernel::warn_on!(!entry.group.devices.lock().list.is_empty());
    entry.group.unpublish();
    let identity = entry.group.state.lock().lose_identity();
    // These may be the last references. The registry's lock is not held while they are dropped.
    drop(registry);
    drop(identity);
    drop(entry);
}

/// Calls `f` with each group that has devices, under the registry's lock. Calls it with none if
/// somebody else has the lock. `f` must not wait for a lock.
///
/// # Errors
///
/// Any errno of `f`, which ends the iteration.
#[cfg(CONFIG_VFIO_DEBUGFS)]
pub(super) fn try_for_each(mut f: impl FnMut(&Group) -> Result) -> Result {
    match REGISTRY.try_lock() {
        Some(registry) => registry
            .entries
            .iter()
            .try_for_each(|entry| f(&entry.group)),
        None => Ok(()),
    }
}

impl GroupData {
    /// Returns whether a device in the group's list has the same bus device. Takes the lock of the
    /// list.
    #[doc(alias = "vfio_group_has_device")]
    fn has_bus_device(&self, device: &Device) -> bool {
        let same = |d: &Device| (d.bus_device_raw() == device.bus_device_raw()).then_some(());
        self.devices.lock().list.find(same).is_some()
    }
}

/// Adds the device to its group's list, in which user space finds it by name. Takes the lock of
/// the list.
#[doc(alias = "vfio_device_group_register")]
pub(crate) fn link(device: &Device) {
    if let Some(group) = Group::of(device) {
        // SAFETY: `registration::register` calls this once for each registration, as its last step
        // but one, so the device is on no list. `registration::unregister` begins with `unlink`,
        // and the driver keeps the device until that returns.
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

/// Removes the device from its group's list; undoes [`link`]. Takes the lock of the list.
#[doc(alias = "vfio_device_group_unregister")]
pub(crate) fn unlink(device: &Device) {
    if let Some(group) = Group::of(device) {
        // SAFETY: `registration::unregister` calls this once, for a registered device, which `link`
        // has added to the list of this group.
        unsafe { group.devices.lock().as_mut().project().list.remove(device) };
    }
}
