//! Hostile loads, each of which goes on until what its function returns is dropped.

use std::{
    any::Any,
    ffi::{CString, OsStr},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use inotify_trace_tests::{
    Cgroup, Process,
    leftovers::{self, Leftover},
    process::{hex, workload},
    system,
};

use crate::silent::Scene;

/// A load, and the reason why it does not go on here.
pub type Load = Result<Box<dyn Any>, &'static str>;

/// What the loads of a test share.
pub struct Ground {
    /// A directory for their files.
    directory: tempfile::TempDir,
    /// The user whose files and containers are hostile.
    pub uid: u32,
}

/// Starts a load.
type Start = fn(&Ground) -> Load;

/// The loads that the soak runs at once.
pub const ALL: [(&str, Start); 8] = [
    ("anybody's process that looks like a shim", anybodys_shim),
    ("files of a user that grow", growing_files),
    ("a mount point that is no UTF-8", mount_point),
    ("containers that no runtime knows", unknown_containers),
    ("a holder of many descriptors that executes itself", executing_holder),
    ("a mount namespace with many mounts", many_mounts),
    ("a file system that does not answer", silent_file_system),
    ("a link in the way to what is watched", link_in_the_way),
];

/// The descriptors of a large holder, and the mounts of a large namespace.
const DESCRIPTORS: u32 = 20_000;
const MOUNTS: u32 = 1000;
const WATCHES: u32 = 100;

impl Ground {
    pub fn new() -> Self {
        let ground = Self { directory: system::directory(), uid: 60_123 };
        fs::create_dir_all(ground.root()).unwrap();
        ground
    }

    /// The root of the machine's files, for `--host-root`.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A new directory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

/// A thread that repeats something.
struct Repeated {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeated {
    fn start(mut act: impl FnMut() + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                act();
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A test that fails already has a better reason.
            let _ = thread.join();
        }
    }
}

/// A copy of the workload that looks like containerd's shim, with a version of a megabyte.
pub fn shim(directory: &Path) -> Result<PathBuf, &'static str> {
    let (program, section) =
        (directory.join("containerd-shim-runc-v2"), directory.join("buildinfo"));
    let mut bytes = b"\xff Go buildinf:\x08\x02".to_vec();
    bytes.resize(32, 0);
    let version = "9".repeat(1_000_000);
    let module = format!("mod\tgithub.com/containerd/containerd\tv{version}\n");
    // Go puts 16 bytes before and after it.
    for text in ["go1.19.8", &format!("{0}{module}{0}", "-".repeat(16))] {
        let mut length = text.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(text.as_bytes());
    }
    fs::write(&section, bytes).unwrap();
    let mut objcopy = Command::new("objcopy");
    objcopy.arg("--add-section").arg(format!(".go.buildinfo={}", section.display()));
    let made = objcopy.arg(workload()).arg(&program).status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("objcopy is not installed");
    }
    Ok(program)
}

/// The arguments of a shim.
pub const SHIM: [&str; 4] = ["-namespace", "k8s.io", "-id", "4fa3"];

fn anybodys_shim(ground: &Ground) -> Load {
    let directory = ground.directory("shim");
    let mut process = Process::start_as(&shim(&directory)?, &SHIM);
    process.call(&format!("name {}", hex(b"containerd-shim"))).unwrap();
    process.call(&format!("uid {}", system::fresh_uid())).unwrap();
    process.tell(&format!("storm_until_told {}", hex(directory.as_os_str().as_bytes())));
    Ok(Box::new(process))
}

/// States of a user's containers, each of which has a hundred bytes for a moment, and then gigabytes:
/// whoever asks for the size in that moment reads more. And cgroups that make the agent look.
pub fn growing_files(ground: &Ground) -> Load {
    const FILES: u32 = 512;
    const MOMENT: Duration = Duration::from_micros(100);
    let uid = ground.uid;
    let states = ground.root().join(format!("run/user/{uid}/crun"));
    let files: Vec<_> = (0..FILES)
        .map(|number| {
            let state = states.join(format!("x{number}"));
            fs::create_dir_all(&state).unwrap();
            fs::File::create(state.join("status")).unwrap()
        })
        .collect();
    let grow = Repeated::start(move || {
        for file in &files {
            file.set_len(100).unwrap();
            thread::sleep(MOMENT);
            file.set_len(4 << 30).unwrap();
        }
    });
    let slice = format!("/user.slice/user-{uid}.slice/user@{uid}.service/hostile");
    let Some(slice) = Cgroup::at_path(&slice) else { return Err("no cgroup v2") };
    let below = slice.directory().to_owned();
    let mut number = 0_u32;
    let look = Repeated::start(move || {
        number += 1;
        let group = below.join(format!("app-{number}"));
        fs::create_dir(&group).unwrap();
        thread::sleep(Duration::from_millis(10));
        fs::remove_dir(&group).unwrap();
    });
    Ok(Box::new((look, grow, slice)))
}

/// A file system that is mounted until this is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        leftovers::unmount(&self.0);
    }
}

fn mount_point(ground: &Ground) -> Load {
    let point = ground.directory("mounts").join(OsStr::from_bytes(b"sec_\xff"));
    fs::create_dir(&point).unwrap();
    leftovers::note(Leftover::Mount(&point));
    let target = CString::new(point.as_os_str().as_bytes()).unwrap();
    let (none, kind) = (c"none".as_ptr(), c"tmpfs".as_ptr());
    // SAFETY: texts that end with a zero and live until the call returns; no data.
    let result = unsafe { libc::mount(none, target.as_ptr(), kind, 0, std::ptr::null()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    Ok(Box::new(Mounted(point)))
}

fn unknown_containers(_: &Ground) -> Load {
    let Some(cgroup) = Cgroup::new() else { return Err("no cgroup v2") };
    let mut process = Process::start();
    process.tell(&format!("churn_until_told {}", hex(cgroup.directory().as_os_str().as_bytes())));
    Ok(Box::new((process, cgroup)))
}

fn executing_holder(_: &Ground) -> Load {
    let mut process = Process::start();
    let allowed = u32::try_from(system::most_open_files()).unwrap_or(u32::MAX);
    let descriptors = DESCRIPTORS.min(allowed - 100);
    process.call(&format!("open_files {allowed}")).unwrap();
    process.call(&format!("uid {}", system::fresh_uid())).unwrap();
    process.call(&format!("hold {descriptors}")).unwrap();
    process.tell("execute_until_told");
    Ok(Box::new(process))
}

fn many_mounts(ground: &Ground) -> Load {
    let directory = ground.directory("many");
    let path = |name: &str| hex(directory.join(name).as_os_str().as_bytes());
    let mut process = Process::start();
    process.call("mount_namespace").unwrap();
    process.call(&format!("mount {}", path(""))).unwrap();
    for name in ["gone", "mounted"] {
        process.call(&format!("mkdir {}", path(name))).unwrap();
    }
    process.call(&format!("mount {}", path("gone"))).unwrap();
    let fd = process.call("init1 0").unwrap();
    process.call(&format!("watch_files {fd} {} {WATCHES}", path("gone"))).unwrap();
    process.call(&format!("open {}", path("gone/0"))).unwrap();
    process.call(&format!("detach {}", path("gone"))).unwrap();
    for _ in 0..MOUNTS {
        process.call(&format!("bind {0} {0}", path("mounted"))).unwrap();
    }
    Ok(Box::new(process))
}

/// An overlay on a silent file system, and arguments in a file there, of a process with as many
/// instances that its arguments are wanted.
fn silent_file_system(_: &Ground) -> Load {
    let mut scene = Scene::overlaid()?;
    scene.hide_arguments();
    scene.fall_silent();
    scene.process.call("create 8").unwrap();
    Ok(Box::new(scene))
}

/// A process that watches a file below a directory in the place of which is a link now, which leads to
/// a directory that others must not open for it.
pub struct LinkInTheWay {
    process: Process,
    secret: PathBuf,
    /// Watches that directory.
    guard: Process,
    fd: i32,
}

impl LinkInTheWay {
    pub fn new(directory: &Path) -> Self {
        let path = |path: &Path| hex(path.as_os_str().as_bytes());
        let (outer, secret) = (directory.join("outer"), directory.join("secret"));
        for directory in [&outer, &secret] {
            fs::create_dir(directory).unwrap();
        }
        let inner = outer.join("inner");
        let file = path(&inner.join("file"));
        let mut process = Process::start();
        let fd = process.call("init1 0").unwrap();
        process.call("mount_namespace").unwrap();
        process.call(&format!("mount {}", path(&outer))).unwrap();
        process.call(&format!("mkdir {}", path(&inner))).unwrap();
        process.call(&format!("mount {}", path(&inner))).unwrap();
        process.call(&format!("write {file} 61")).unwrap();
        process.call(&format!("watch {fd} {file} {}", libc::IN_MODIFY)).unwrap();
        // By its name the watched file system is still mounted where there is a link now.
        process.call(&format!("mount {}", path(&outer))).unwrap();
        process.call(&format!("symlink {} {}", path(&secret), path(&inner))).unwrap();
        let mut guard = Process::start();
        let fd = guard.call(&format!("init1 {}", libc::IN_NONBLOCK)).unwrap();
        guard.call(&format!("watch {fd} {} {}", path(&secret), libc::IN_OPEN)).unwrap();
        Self { process, secret, guard, fd }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    pub fn secret(&self) -> &Path {
        &self.secret
    }

    /// How often that directory was opened since the last time.
    pub fn openings(&mut self) -> i64 {
        self.guard.ask(&format!("drain {}", self.fd))[0]
    }
}

/// Fails at its end if somebody has followed the link.
struct Guarded(LinkInTheWay);

impl Drop for Guarded {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert_eq!(self.0.openings(), 0, "somebody followed the link");
        }
    }
}

fn link_in_the_way(ground: &Ground) -> Load {
    Ok(Box::new(Guarded(LinkInTheWay::new(&ground.directory("links")))))
}
