// SPDX-License-Identifier: GPL-2.0

//! Containers, `/dev/vfio/vfio`: an address space for DMA that groups share.
//!
//! A container owns nothing until groups join it and the user chooses an IOMMU type; then it has a
//! backend (`container/backend.rs`), which forgets everything when the last group leaves. One
//! reference belongs to the file and one to each group.
//!
//! Lock: `Container::state`, taken under a group's lock and outside the registry of backends. It
//! is not held while the backend answers an ioctl: mapping may take minutes, and a group may
//! want to join meanwhile. The ioctl holds a reference to the backend instead, so that the last
//! group may leave under it (contract 3.1 row R-41).
//!
//! Corresponds to `drivers/vfio/container.c`; contract section 3.1.

use kernel::{
    fs::File,
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        ArcBorrow, //
    }, //
};

use crate::{
    kernel::{
        fops::{
            FileOps,
            FopsTable,
            Inode,
            OpeningFile, //
        },
        iommu_group::{
            DmaOwner,
            IommuGroup, //
        },
        misc::MiscDev,
        rwsem::RwSem,
        uaccess::UserAddr, //
    },
    uapi::ioctls,
    views::group_type::GroupType, //
};

pub(crate) mod backend;

use backend::Backend;

/// The table of container files.
static FOPS: FopsTable<Container> = FopsTable::new();

/// The minor of `/dev/vfio/vfio`, char 10:196.
const VFIO_MINOR: i32 = 196;

/// A container.
#[pin_data]
pub(crate) struct Container {
    #[pin]
    state: RwSem<ContainerState>,
}

/// What the lock of a container protects.
struct ContainerState {
    /// The groups that joined, newest first.
    groups: KVec<ContainerMember>,
    /// What translates for them, once the user chose.
    backend: Option<Arc<Backend>>,
}

/// A group in a container.
struct ContainerMember {
    group: IommuGroup,
    kind: GroupType,
    /// The group's DMA belongs to VFIO; not so if the IOMMU is emulated or absent.
    _owner: Option<DmaOwner>,
}

impl ContainerState {
    /// Which groups the container has. An empty one may take any kind.
    fn noiommu(&self) -> Option<bool> {
        self.groups.first().map(|m| m.kind == GroupType::NoIommu)
    }
}

impl Container {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- RwSem::new(
                ContainerState {
                    groups: KVec::new(),
                    backend: None,
                },
                c"vfio_container.group_lock",
                static_lock_class!(),
            ),
        })
    }

    /// The container that `file` is, if it is one.
    pub(crate) fn from_file(file: &File) -> Option<Arc<Self>> {
        FOPS.borrow(file).map(Arc::from)
    }

    /// Lets a group join. The caller holds the group's lock.
    ///
    /// # Errors
    ///
    /// `EPERM` if groups with and without IOMMU would mix, or if the group's DMA belongs to
    /// somebody else; `EBUSY`, `ENOMEM`, what the backend returned.
    pub(crate) fn attach(&self, group: &IommuGroup, kind: GroupType) -> Result {
        let mut state = self.state.write();
        match state.noiommu() {
            Some(noiommu) if noiommu != (kind == GroupType::NoIommu) => return Err(EPERM),
            _ => {}
        }
        let owner = match kind {
            GroupType::Iommu => Some(DmaOwner::claim(group, (&raw const *self).addr())?),
            GroupType::Emulated | GroupType::NoIommu => None,
        };
        state.groups.reserve(1, GFP_KERNEL)?;
        if let Some(backend) = &state.backend {
            backend.attach_group(group, kind)?;
        }
        let member = ContainerMember {
            group: group.clone(),
            kind,
            _owner: owner,
        };
        // There is room for one more.
        state
            .groups
            .insert_within_capacity(0, member)
            .map_err(|_| ENOMEM)
    }

    /// Takes a group out. With the last one the backend goes, and all mappings with it. The caller
    /// holds the group's lock.
    pub(crate) fn detach(&self, group: &IommuGroup) {
        let mut state = self.state.write();
        if let Some(backend) = &state.backend {
            backend.detach_group(group);
        }
        let member = state.groups.iter().position(|m| m.group == *group);
        if let Some(at) = member {
            let _ = state.groups.remove(at);
        }
        if state.groups.is_empty() {
            // An ioctl that still runs keeps the backend until it returns.
            state.backend = None;
        }
    }

    /// The backend, which the caller may use for as long as it likes.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the user has not chosen one.
    pub(crate) fn backend(&self) -> Result<Arc<Backend>> {
        self.state.read().backend.clone().ok_or(EINVAL)
    }

    /// CHECK_EXTENSION: the chosen backend answers, or whichever could be chosen.
    fn check_extension(&self, arg: UserAddr) -> Result<isize> {
        let state = self.state.read();
        match &state.backend {
            Some(backend) => backend.ioctl(ioctls::VFIO_CHECK_EXTENSION, arg),
            None => backend::check_extension(state.noiommu(), arg),
        }
    }

    /// Any other request is the backend's.
    #[inline(never)] // Keeps the path of other requests short.
    fn pass_on(&self, cmd: u32, arg: UserAddr) -> Result<isize> {
        self.backend()?.ioctl(cmd, arg)
    }

    /// SET_IOMMU: chooses the backend, and attaches all groups to it.
    #[inline(never)] // As above.
    fn set_iommu(&self, arg: UserAddr) -> Result<isize> {
        let mut state = self.state.write();
        let noiommu = match (state.noiommu(), &state.backend) {
            (Some(noiommu), None) => noiommu,
            _ => return Err(EINVAL),
        };
        let groups = &state.groups;
        let backend = backend::open(noiommu, arg, |backend| {
            for (done, member) in groups.iter().enumerate() {
                if let Err(e) = backend.attach_group(&member.group, member.kind) {
                    groups
                        .iter()
                        .take(done)
                        .for_each(|member| backend.detach_group(&member.group));
                    return Err(e);
                }
            }
            Ok(())
        })?;
        state.backend = Some(backend);
        Ok(0)
    }
}

#[vtable]
impl FileOps for Container {
    type Ptr = Arc<Container>;

    fn open(_inode: &Inode, _file: &OpeningFile<'_>) -> Result<Arc<Container>> {
        Arc::pin_init(Container::new(), GFP_KERNEL_ACCOUNT)
    }

    fn release(this: Arc<Container>) {
        drop(this);
    }

    #[inline]
    fn ioctl(this: ArcBorrow<'_, Container>, cmd: u32, arg: UserAddr) -> Result<isize> {
        match cmd {
            ioctls::VFIO_GET_API_VERSION => Ok(ioctls::VFIO_API_VERSION),
            ioctls::VFIO_CHECK_EXTENSION => this.check_extension(arg),
            ioctls::VFIO_SET_IOMMU => this.set_iommu(arg),
            _ => this.pass_on(cmd, arg),
        }
    }
}

/// Registers `/dev/vfio/vfio`, which anybody may open.
pub(crate) fn register() -> Result<Pin<KBox<MiscDev>>> {
    KBox::pin_init(
        MiscDev::register(VFIO_MINOR, c"vfio", c"vfio/vfio", 0o666, &FOPS),
        GFP_KERNEL,
    )
    .inspect_err(|_| pr_err!("cannot register the misc device\n"))
}
