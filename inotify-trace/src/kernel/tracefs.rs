//! tracefs, through which system call tracepoints are attached.

use std::path::Path;

use super::KernelError;

/// The usual mount points of tracefs; the second is inside debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The mount point of tracefs; None if it is not mounted.
pub(super) fn mounted() -> Option<&'static Path> {
    PLACES.iter().map(Path::new).find(|place| place.join("events").is_dir())
}

/// The mount point of tracefs, which is mounted if necessary.
pub(super) fn ensure() -> Result<&'static Path, KernelError> {
    if let Some(place) = mounted() {
        return Ok(place);
    }
    if is_hidden(Path::new(PLACES[0])) {
        return Err(KernelError::TracefsHidden { place: PLACES[0] });
    }
    rustix::mount::mount(
        "tracefs",
        PLACES[0],
        "tracefs",
        rustix::mount::MountFlags::NOSUID
            | rustix::mount::MountFlags::NODEV
            | rustix::mount::MountFlags::NOEXEC,
        None,
    )
    .map_err(|errno| KernelError::Tracefs { source: errno.into() })?;
    log::info!("mounted tracefs at {}", PLACES[0]);
    mounted().ok_or_else(|| KernelError::Tracefs { source: std::io::ErrorKind::NotFound.into() })
}

/// Whether tracefs is mounted, and this process may not look into it. An empty directory, in which it
/// could be mounted, may be looked into by everybody.
fn is_hidden(place: &Path) -> bool {
    let found = place.join("events").symlink_metadata();
    found.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Whether the kernel has this tracepoint.
pub(super) fn has(tracefs: &Path, category: &str, name: &str) -> bool {
    tracefs.join("events").join(category).join(name).join("id").exists()
}
