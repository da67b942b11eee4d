//! Paths of watch targets, from the device and file handle in fdinfo.

mod mount;
mod opened;
mod overlay;
mod search;

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::{mount::Mount, opened::Opened};
use super::WatchInfo;

pub(in crate::host) use mount::unescape;
pub(super) use opened::identity;

/// How long all searches for dropped names may take: a look at the machine must stay quick.
const SEARCH: Duration = Duration::from_millis(500);

/// The most directories of a process that are looked through in any case.
const LIKELY: usize = 64;

/// The place of a watched file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Its path.
    Path(PathBuf),
    /// It was removed, and had this path, if that is known.
    Gone(Option<PathBuf>),
    /// Not known.
    Unknown,
}

/// Finds paths. Keeps an open descriptor for each file system it has used.
#[derive(Debug, Default)]
pub struct Targets {
    mounts: HashMap<u32, Option<Mount>>,
    opened: Opened,
    /// Files whose place is not known, each with a process that watches it.
    unknown: HashMap<(u32, u64), u32>,
}

impl Targets {
    /// The current place of a watch's target, as seen from this process or, for file systems mounted
    /// only there, from the mount namespace of `holder`.
    pub fn find(&mut self, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let file = (watch.dev, watch.inode);
        let place = match self.by_handle(watch, holder) {
            // Perhaps a descriptor of its holder leads to it.
            place @ (Whereabouts::Unknown | Whereabouts::Gone(None)) => {
                match self.opened.find(file, holder) {
                    // kernfs shows the files of removed cgroups as if they existed.
                    Some(Whereabouts::Path(path))
                        if place != Whereabouts::Unknown || !self.may_be(&path, file, holder) =>
                    {
                        Whereabouts::Gone(Some(path))
                    }
                    found => found.unwrap_or(place),
                }
            }
            place => place,
        };
        if place == Whereabouts::Unknown {
            self.unknown.insert(file, holder);
        }
        place
    }

    /// The paths of files whose place was not known, by device and inode number. Looks through
    /// directories, and not for long: some files may be left.
    pub fn search(&mut self) -> HashMap<(u32, u64), PathBuf> {
        let deadline = Instant::now() + SEARCH;
        let mut wanted: HashMap<u32, (u32, HashSet<u64>)> = HashMap::new();
        for ((dev, inode), holder) in std::mem::take(&mut self.unknown) {
            wanted.entry(dev).or_insert((holder, HashSet::new())).1.insert(inode);
        }
        let mut all = HashMap::new();
        for (dev, (holder, inodes)) in wanted {
            let Some(mount) = self.mount(dev, holder) else { continue };
            // As the process sees them, or as this one does.
            let likely = likely(holder);
            let seen = likely.iter().filter_map(|path| path.strip_prefix(&mount.path).ok());
            let own = likely.iter().filter_map(|path| path.strip_prefix("/").ok());
            let likely = seen.chain(own).map(Path::to_path_buf);
            let found = search::search(mount, inodes, likely, deadline);
            all.extend(found.into_iter().map(|(inode, path)| ((dev, inode), path)));
        }
        all
    }

    /// Whether a file may be at a path: false if it is seen that it is not.
    fn may_be(&mut self, path: &Path, (dev, inode): (u32, u64), holder: u32) -> bool {
        let Some(mount) = self.mount(dev, holder) else { return true };
        let Ok(within) = path.strip_prefix(&mount.path) else { return true };
        match mount.look_up(within).and_then(|there| there.metadata()) {
            Ok(there) => there.ino() == inode,
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)),
        }
    }

    fn by_handle(&mut self, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let Some(handle) = &watch.handle else { return Whereabouts::Unknown };
        if let Some(path) = self.on_overlay(watch.dev, handle, holder) {
            return Whereabouts::Path(path);
        }
        let Some(mount) = self.mount(watch.dev, holder) else { return Whereabouts::Unknown };
        match handle.open(&mount.root) {
            Ok(file) => mount.place_of(&file).unwrap_or(Whereabouts::Unknown),
            Err(error) if mount.finds && error.raw_os_error() == Some(libc::ESTALE) => {
                Whereabouts::Gone(None)
            }
            Err(_) => Whereabouts::Unknown,
        }
    }

    /// A mount of a file system that this process sees, or `holder`.
    fn mount(&mut self, dev: u32, holder: u32) -> Option<&Mount> {
        let mount = self.mounts.entry(dev).or_insert_with(|| {
            let processes = ["/proc/self".to_owned(), format!("/proc/{holder}")];
            let [whole, part] = [true, false]
                .map(|is_whole| move |process: &String| Mount::of(dev, process, is_whole));
            processes.iter().find_map(whole).or_else(|| processes.iter().find_map(part))
        });
        if mount.is_none() {
            // Searched for each holder: another one may have a mount that this one lacks.
            self.mounts.remove(&dev);
        }
        self.mounts.get(&dev)?.as_ref()
    }
}

/// Directories that a process probably watches something in: where it is, and what its arguments
/// name, as `tail -F FILE` does.
fn likely(pid: u32) -> Vec<PathBuf> {
    let here = fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let mut all = Vec::new();
    for argument in super::arguments(pid).into_iter().flatten().skip(1) {
        // Also of an option, as in `--config=FILE`.
        let path = argument.rsplit('=').next().unwrap_or_default();
        let path = here.as_deref().map_or_else(|| PathBuf::from(path), |here| here.join(path));
        all.extend(path.parent().map(Path::to_path_buf));
        all.push(path);
        if all.len() >= LIKELY {
            break;
        }
    }
    all.extend(here);
    all
}
