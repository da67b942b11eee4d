//! tracefs, which system call tracepoints are attached through.

use std::path::Path;

use super::KernelError;

/// Where tracefs is mounted, by custom; the second is how debugfs shows it.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Where tracefs is mounted now.
pub(super) fn mounted() -> Option<&'static Path> {
    PLACES.iter().map(Path::new).find(|place| place.join("events").is_dir())
}

/// Where tracefs is, after mounting it if it was not mounted.
pub(super) fn ensure() -> Result<&'static Path, KernelError> {
    if let Some(place) = mounted() {
        return Ok(place);
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

/// Whether the kernel has this tracepoint.
pub(super) fn has(tracefs: &Path, category: &str, name: &str) -> bool {
    tracefs.join("events").join(category).join(name).join("id").exists()
}
