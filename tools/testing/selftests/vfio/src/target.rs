// SPDX-License-Identifier: GPL-2.0
//! What PCI and emulated devices have in common, and the usual way to open one.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    config, container::Container, device::Device, group::Group, iommufd::Iommufd, node, sysfs,
};

/// A device that VFIO knows.
pub trait Target {
    /// The name by which a group finds it.
    fn name(&self) -> &str;

    /// Its directory under `/sys`.
    fn sysfs(&self) -> &Path;

    /// The number of its IOMMU group.
    fn iommu_group(&self) -> Option<u32> {
        sysfs::link_name(self.sysfs().join("iommu_group"))?
            .parse()
            .ok()
    }

    /// The name of its group's file, once it is there.
    fn group_name(&self) -> Result<String> {
        let number = self
            .iommu_group()
            .with_context(|| format!("{} has no IOMMU group", self.name()))?
            .to_string();
        let path = crate::group::path(&number);
        wait_for(&format!("{}", path.display()), || path.exists())?;
        Ok(number)
    }

    /// The name that VFIO gave it: `vfioN`.
    fn vfio_name(&self) -> Option<String> {
        let entries = sysfs::list(self.sysfs().join("vfio-dev"));
        Some(sysfs::name(entries.first()?).to_owned())
    }

    /// Where its own node is, once that is there.
    fn node_path(&self) -> Result<PathBuf> {
        let name = self
            .vfio_name()
            .with_context(|| format!("VFIO does not know {}", self.name()))?;
        let path = node::path(&name);
        wait_for(&format!("{}", path.display()), || path.exists())?;
        Ok(path)
    }

    /// Opens it by its own node.
    fn open_by_node(&self) -> Result<Device> {
        let path = self.node_path()?;
        Device::open(&path).with_context(|| format!("open {}", path.display()))
    }

    /// Opens it by its own node, binds it to this iommufd, and tells its number
    /// there.
    fn bind_to(&self, iommufd: &Iommufd) -> Result<(Device, u32)> {
        let device = self.open_by_node()?;
        let id = device
            .bind(iommufd)
            .with_context(|| format!("bind {}", self.name()))?;
        Ok((device, id))
    }

    /// Opens its group, puts that into a new container with this backend, and
    /// opens the device.
    fn open(&self, backend: u32) -> Result<Session>
    where
        Self: Sized,
    {
        let container = Container::open().context("open the container")?;
        let group = self.join(&container)?;
        container
            .set_iommu(backend)
            .with_context(|| format!("set IOMMU backend {backend}"))?;
        let device = group
            .device(self.name())
            .with_context(|| format!("open {}", self.name()))?;
        Ok(Session {
            device,
            group,
            container,
        })
    }

    /// Opens its group and puts that into this container.
    fn join(&self, container: &Container) -> Result<Group>
    where
        Self: Sized,
    {
        let group = self.open_group()?;
        group
            .set_container(container)
            .context("put the group into the container")?;
        Ok(group)
    }

    /// Opens its group.
    fn open_group(&self) -> Result<Group>
    where
        Self: Sized,
    {
        let name = self.group_name()?;
        Group::open_when_free(&name).with_context(|| format!("open group {name}"))
    }
}

/// A device of any bus.
#[derive(Debug)]
pub struct Named {
    name: String,
    sysfs: PathBuf,
}

impl Target for Named {
    fn name(&self) -> &str {
        &self.name
    }

    fn sysfs(&self) -> &Path {
        &self.sysfs
    }
}

impl Named {
    /// Finds a device with a driver for VFIO by the name that its bus knows.
    pub fn find(name: &str) -> Result<Self> {
        let sysfs = sysfs::list("/sys/bus")
            .into_iter()
            .map(|bus| bus.join("devices").join(name))
            .find(|device| device.join("vfio-dev").exists())
            .with_context(|| {
                format!("VFIO knows no device {name}: is it bound to a driver for VFIO?")
            })?;
        let name = name.to_owned();
        Ok(Self { name, sysfs })
    }
}

/// A device with all that is needed to use it. Closed in this order.
#[derive(Debug)]
pub struct Session {
    /// The device.
    pub device: Device,
    /// Its group.
    pub group: Group,
    /// The container.
    pub container: Container,
}

/// Waits for something that the kernel does a moment later: 20 seconds at most, and
/// on a slow kernel as many times longer.
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20 * u64::from(config::slow()));
    while !ready() {
        anyhow::ensure!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The device with this name on a bus.
pub(crate) fn bus_device(bus: &str, name: &str) -> PathBuf {
    Path::new("/sys/bus").join(bus).join("devices").join(name)
}
