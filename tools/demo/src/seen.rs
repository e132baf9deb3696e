// SPDX-License-Identifier: GPL-2.0
//! What an administrator sees of this program from outside: what it holds, why something was
//! refused to it, what it does. Only our modules show it.

use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use vfio_selftests::{
    container::Container, kmsg::Log, memory::Memory, pci::Bound, process, target::Target,
    trace::Trace, PAGE,
};

use crate::{dma::WINDOW, report::say};

/// Shows what `vfioctl` says of a device.
fn list(device: &str) -> Result<()> {
    let output = Command::new("vfioctl")
        .args(["list", device])
        .output()
        .context("vfioctl")?;
    ensure!(
        output.status.success(),
        "vfioctl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    say!("vfioctl list {device}");
    for line in String::from_utf8(output.stdout)?.lines() {
        say!("{line}");
    }
    Ok(())
}

/// Looks at the container and a device, and asks for something that must be refused.
pub(crate) fn look(container: &Container, device: &Bound) -> Result<()> {
    let mut log = Log::from_now()?;
    let trace = Trace::begin("vfio")?;
    list(device.name())?;
    let info = process::fdinfo(container)?;
    for line in info.lines() {
        if ["backend", "mappings", "pinned", "left", "owner"]
            .iter()
            .any(|key| line.contains(key))
        {
            say!("{}", line.replace('\t', " "));
        }
    }
    let page = Memory::anonymous(PAGE)?;
    match container.map(&page, WINDOW) {
        Ok(()) => bail!("the same address was mapped twice"),
        Err(error) => say!("mapped once more at {WINDOW:#x}: {error}"),
    }
    let told = log.with(&["vfio_iommu_type1: ", "overlaps"])?;
    for message in &told {
        say!("kernel log: {}", message.text);
    }
    // Modules that show what a container holds also say why they refuse something.
    ensure!(
        told.is_empty() != info.contains("vfio-mappings"),
        "the kernel log does not say why, or fdinfo does not say what there is"
    );
    let Some(trace) = trace else {
        say!("this kernel has no tracing, or these modules have no tracepoints");
        return Ok(());
    };
    let events = trace.events()?;
    let refused = |event: &&String| event.starts_with("vfio_map: ") && event.ends_with("error=-17");
    let event = events.iter().find(refused).context("nothing was traced")?;
    say!("tracepoint: {event}");
    Ok(())
}
