// SPDX-License-Identifier: GPL-2.0

//! Containers, `/dev/vfio/vfio`: an address space for DMA that groups share.
//!
//! A container is empty until groups join it and user space chooses an IOMMU type with SET_IOMMU.
//! Then it has a backend (`container/backend.rs`) until the last group leaves. The file holds one
//! reference to the container, and so does each group in it.
//!
//! Locks: [`Container::groups`] is taken under a group's lock and outside the registry of backends.
//! It is held as long as it takes to attach a group to a backend, which maps for the group whatever
//! is mapped in the container. So nobody waits for it who only needs the backend: that is read
//! under the spinlock [`Container::backend`], which is taken under all other locks. Neither of the
//! two is held while the backend handles an ioctl.
//!
//! Corresponds to `drivers/vfio/container.c`; contract 3.1.
//!
//! Deviation: an ioctl that is passed on holds a reference to the backend, so that the state of the
//! backend is freed only when the ioctl has returned, even if the last group leaves meanwhile. C
//! holds nothing, and the ioctl goes on with freed memory.
//!
//! Deviation: CHECK_EXTENSION of a container that has a backend does not wait for a group that is
//! being attached. C holds the lock of the container while it asks the backend.

use kernel::{
    fs::File,
    new_spinlock,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    static_lock_class,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        SpinLock, //
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
            GroupKey,
            IommuGroup, //
        },
        misc::MiscDev,
        returned::Failure,
        rwsem::RwSem,
        short_vec::ShortVec,
        slab::{
            Counted,
            Shared, //
        },
        uaccess::UserAddr, //
    },
    refusal::{
        self,
        Refusal, //
    },
    uapi::ioctls,
    views::group_type::GroupType, //
};

pub(crate) mod backend;

use backend::Backend;

/// The file operations of containers.
static FOPS: FopsTable<Container> = FopsTable::new();

/// The minor of `/dev/vfio/vfio`, char 10:196.
const VFIO_MINOR: i32 = 196;

/// A container.
#[pin_data]
pub(crate) struct Container {
    /// A number for people, which no other container has or will have.
    id: u64,
    /// The groups in the container, in the order in which they joined.
    #[pin]
    groups: RwSem<ShortVec<ContainerMember>>,
    /// What translates their DMA, once user space has chosen. It changes only while `groups` is
    /// held for writing.
    #[pin]
    backend: SpinLock<Option<Shared<Backend>>>,
}

/// How many containers were created. Counts their numbers.
static CREATED: Atomic<u64> = Atomic::new(1);

/// A group in a container.
struct ContainerMember {
    group: IommuGroup,
    kind: GroupType,
    /// The ownership of the group's DMA, unless the IOMMU is emulated or absent.
    _owner: Option<DmaOwner>,
}

/// Returns whether these groups of a container are without IOMMU, or none if there is no group. An
/// empty container takes groups of any kind.
fn are_noiommu(groups: &ShortVec<ContainerMember>) -> Option<bool> {
    let member = groups.iter().next()?;
    Some(member.kind == GroupType::NoIommu)
}

impl Container {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            id: CREATED.fetch_add(1u64, Relaxed),
            groups <- RwSem::new(
                ShortVec::new(),
                c"vfio_container.group_lock",
                static_lock_class!(),
            ),
            backend <- new_spinlock!(None, "vfio_container.backend"),
        })
    }

    /// Returns the container that `file` stands for, if it is one.
    #[doc(alias = "vfio_container_from_file")]
    pub(crate) fn from_file(file: &File) -> Option<Shared<Self>> {
        FOPS.borrow(file).map(Shared::from)
    }

    /// Returns the number of the container.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Prints the lines of the container in fdinfo and debugfs. Does not wait for a lock that is
    /// held for long.
    pub(crate) fn show(&self, m: &SeqFile) {
        seq_print!(m, "vfio-container:\t{}\n", self.id);
        match self.backend().as_deref() {
            Ok(backend) => backend.show(m),
            Err(_) => seq_print!(m, "vfio-container-backend:\tnone\n"),
        }
    }

    /// Puts a group into the container: claims its DMA, and attaches it to the backend if one is
    /// chosen. The caller holds the group's lock; takes the container's. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EPERM` if the container has groups with an IOMMU and this one is without, or the other
    ///   way round.
    /// - For a group with an IOMMU, as its DMA is claimed: `EPERM` if a kernel driver uses a device
    ///   of the group, or another container or iommufd owns it; `EBUSY` if a domain other than the
    ///   default one is attached to the group or any to a PASID of its devices, or if a device of
    ///   the group is being reset; any errno of the IOMMU driver, which is asked to block DMA.
    /// - `ENOMEM`.
    /// - Those of [`Backend::attach_group`].
    #[doc(alias = "vfio_container_attach_group")]
    pub(crate) fn attach(&self, group: &IommuGroup, kind: GroupType) -> Result<(), Failure> {
        let mut groups = self.groups.write();
        match are_noiommu(&groups) {
            Some(noiommu) if noiommu != (kind == GroupType::NoIommu) => {
                let group = group.id();
                return Err(Refusal::Mixed { group }.report(EPERM).into());
            }
            _ => {}
        }
        let owner = match kind {
            GroupType::Iommu => {
                let owner = DmaOwner::claim(group, (&raw const *self).addr());
                Some(owner.inspect_err(|error| refusal::of_claim(group, *error))?)
            }
            GroupType::Emulated | GroupType::NoIommu => None,
        };
        groups.reserve_one(GFP_KERNEL)?;
        if let Ok(backend) = self.backend() {
            backend.attach_group(group, kind)?;
        }
        let member = ContainerMember {
            group: group.clone(),
            kind,
            _owner: owner,
        };
        // There is room for one more.
        Ok(groups.push_within_capacity(member)?)
    }

    /// Takes a group out of the container; undoes [`Container::attach`]. The last group takes the
    /// backend with it, and so all mappings. The caller holds the group's lock; takes the
    /// container's. Sleeps.
    #[doc(alias = "vfio_group_detach_container")]
    pub(crate) fn detach(&self, group: GroupKey) {
        let mut groups = self.groups.write();
        let Some(member) = groups.take(|member| member.group.key() == group) else {
            return;
        };
        // Detaching a group and releasing a backend sleep, so the spinlock is not held here. An
        // ioctl that still runs keeps the backend until it returns.
        let backend = match groups.is_empty() {
            true => self.backend.lock().take(),
            false => self.backend().ok(),
        };
        if let Some(backend) = &backend {
            backend.detach_group(&member.group);
        }
        // The ownership of the group's DMA goes before the backend.
        drop(member);
        drop(backend);
    }

    /// Returns a reference to the backend, which keeps its state. Takes only a spinlock, so a group
    /// that is being attached meanwhile does not hold the caller up; does not sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if user space has not chosen one with SET_IOMMU.
    pub(crate) fn backend(&self) -> Result<Shared<Backend>> {
        self.backend.lock().clone().ok_or(EINVAL)
    }

    /// Handles CHECK_EXTENSION: asks the chosen backend, or all that could be chosen. The
    /// container's lock is held for reading only where none is chosen.
    ///
    /// # Errors
    ///
    /// Any failure of the backend's `ioctl`. type1 has none, and returns 0 for what it does not
    /// know.
    #[doc(alias = "vfio_container_ioctl_check_extension")]
    fn check_extension(&self, arg: UserAddr) -> Result<isize, Failure> {
        if let Ok(backend) = self.backend() {
            return backend.ioctl(ioctls::VFIO_CHECK_EXTENSION, arg);
        }
        let groups = self.groups.read();
        // SET_IOMMU may have ended just now, for which the lock was waited for.
        match self.backend() {
            Ok(backend) => {
                drop(groups);
                backend.ioctl(ioctls::VFIO_CHECK_EXTENSION, arg)
            }
            Err(_) => backend::check_extension(are_noiommu(&groups), arg),
        }
    }

    /// Passes any other request on to the backend. No lock is held meanwhile.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if user space has not chosen a backend.
    /// - Any failure of the backend's `ioctl`, among them `ENOTTY` for an unknown request.
    #[inline(never)] // Keeps the path of the other requests short.
    fn pass_on(&self, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        self.backend()
            .map_err(|error| Refusal::NoType.report(error))?
            .ioctl(cmd, arg)
    }

    /// Handles SET_IOMMU: chooses the first backend that takes the IOMMU type `arg`, and attaches
    /// all groups to it. The container's lock and the registry of backends are held. Sleeps.
    ///
    /// # Errors
    ///
    /// - `EINVAL` if the container has no group, or has a backend.
    /// - Those of [`backend::open`], among them those of [`Backend::attach_group`].
    #[doc(alias = "vfio_ioctl_set_iommu")]
    #[inline(never)] // Keeps the path of requests that are passed on short.
    fn set_iommu(&self, arg: UserAddr) -> Result<isize, Failure> {
        let groups = self.groups.write();
        let noiommu = match (are_noiommu(&groups), self.backend()) {
            (Some(noiommu), Err(_)) => noiommu,
            _ => return Err(Refusal::NoGroup.report(EINVAL).into()),
        };
        let backend = backend::open(noiommu, arg, |backend| {
            // The newest group first, as C does: the order decides which error is seen.
            for (done, member) in groups.iter().rev().enumerate() {
                if let Err(e) = backend.attach_group(&member.group, member.kind) {
                    groups
                        .iter()
                        .rev()
                        .take(done)
                        .for_each(|member| backend.detach_group(&member.group));
                    return Err(e);
                }
            }
            Ok(())
        })?;
        *self.backend.lock() = Some(backend);
        Ok(0)
    }
}

#[vtable]
impl FileOps for Container {
    type Ptr = Shared<Container>;

    /// Creates an empty container for the file. Takes no lock.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(alias = "vfio_fops_open")]
    fn open(_inode: &Inode, _file: &OpeningFile<'_>) -> Result<Shared<Container>> {
        Counted::new(Container::new(), GFP_KERNEL_ACCOUNT)
    }

    /// Drops the file's reference. Groups in the container keep theirs.
    #[doc(alias = "vfio_fops_release")]
    fn release(this: Shared<Container>) {
        drop(this);
    }

    fn show_fdinfo(this: &Counted<Container>, m: &SeqFile) {
        this.show(m);
    }

    /// Handles an ioctl of the container's file.
    ///
    /// # Errors
    ///
    /// None for GET_API_VERSION; otherwise those of the methods that are called here.
    #[doc(alias = "vfio_fops_unl_ioctl")]
    #[inline]
    fn ioctl(this: &Counted<Container>, cmd: u32, arg: UserAddr) -> Result<isize, Failure> {
        match cmd {
            ioctls::VFIO_GET_API_VERSION => Ok(ioctls::VFIO_API_VERSION),
            ioctls::VFIO_CHECK_EXTENSION => this.check_extension(arg),
            ioctls::VFIO_SET_IOMMU => this.set_iommu(arg),
            _ => this.pass_on(cmd, arg),
        }
    }
}

/// Registers `/dev/vfio/vfio`, with the mode 0666. Dropping the result removes it.
///
/// # Errors
///
/// - `ENOMEM`.
/// - `EBUSY` if the minor number is in use.
/// - Any errno of making the device node.
#[doc(alias = "vfio_container_init")]
pub(crate) fn register() -> Result<Pin<KBox<MiscDev>>> {
    KBox::pin_init(
        MiscDev::register(VFIO_MINOR, c"vfio", c"vfio/vfio", 0o666, &FOPS),
        GFP_KERNEL,
    )
    .inspect_err(|_| pr_err!("cannot register the misc device\n"))
}
