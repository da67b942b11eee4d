//! What a hostile process does again and again, until it is told to stop.

use std::{
    ffi::CString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The time between two containers.
const PACE: Duration = Duration::from_millis(20);

/// Makes and removes cgroups below `base` whose names are those of containers, 50 in a second, each
/// with a process that makes an instance. Their bundles are in `bundles`; without it, no runtime knows
/// them. Returns their number, or the first errno.
pub fn churn(base: &Path, bundles: Option<&Path>, mut is_told: impl FnMut() -> bool) -> i64 {
    let (begun, mut count) = (Instant::now(), 0_u32);
    while !is_told() {
        match container(base, bundles, count) {
            Ok(()) => count += 1,
            Err(error) => return -i64::from(error.raw_os_error().unwrap_or(libc::EIO)),
        }
        thread::sleep((PACE * count).saturating_sub(begun.elapsed()));
    }
    count.into()
}

fn container(base: &Path, bundles: Option<&Path>, number: u32) -> std::io::Result<()> {
    let pod = base.join(format!("pod{number:08x}-1111-4222-8333-444455556666"));
    let id = format!("{number:064x}");
    let group = pod.join(&id);
    let bundle = bundles.map(|it| it.join(&id));
    if let Some(bundle) = &bundle {
        fs::create_dir(bundle)?;
        fs::write(bundle.join("config.json"), config(number))?;
    }
    fs::create_dir_all(&group)?;
    let processes = CString::new(group.join("cgroup.procs").as_os_str().as_bytes())?;
    // SAFETY: this process has no other threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: paths that end with a zero, a buffer of one byte, and descriptors.
        unsafe {
            let fd = libc::open(processes.as_ptr(), libc::O_WRONLY);
            libc::write(fd, c"0".as_ptr().cast(), 1);
            let fd = libc::inotify_init1(0);
            libc::inotify_add_watch(fd, c"/".as_ptr(), libc::IN_CREATE);
            libc::_exit(0);
        }
    }
    // SAFETY: a child of this process, whose status is not asked for.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    // The kernel removes a process from its cgroup a moment after its parent has waited for it.
    for _ in 0..10_000 {
        match fs::remove_dir(&group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                thread::sleep(Duration::from_micros(200));
            }
            result => {
                result?;
                break;
            }
        }
    }
    fs::remove_dir(pod)?;
    bundle.map_or(Ok(()), fs::remove_dir_all)
}

/// What containerd writes of a container of a pod, as far as names are in it.
fn config(number: u32) -> String {
    format!(
        r#"{{"annotations":{{"io.kubernetes.cri.container-type":"container",
"io.kubernetes.cri.container-name":"job","io.kubernetes.cri.sandbox-name":"job-{number}",
"io.kubernetes.cri.sandbox-namespace":"batch","io.kubernetes.cri.image-name":"example.com/job:1"}}}}"#
    )
}

/// Makes an instance with `count` descriptors, which all stay open when a program is executed.
/// Returns the first descriptor, or an errno.
#[must_use]
pub fn hold(count: i64) -> i64 {
    let errno = || -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO));
    // SAFETY: the calls take no pointers.
    let first = unsafe { libc::inotify_init1(0) };
    if first < 0 {
        return errno();
    }
    for _ in 1..count {
        // SAFETY: as above.
        if unsafe { libc::dup(first) } < 0 {
            return errno();
        }
    }
    first.into()
}
