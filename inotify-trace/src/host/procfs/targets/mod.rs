//! Paths of watch targets, from the device and file handle in fdinfo.

mod budget;
mod mount;
mod opened;
mod overlay;
mod search;
mod tables;

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::{
    budget::Budget,
    mount::Mount,
    opened::Opened,
    overlay::Layers,
    tables::{Tables, View},
};
use super::WatchInfo;

pub(super) use mount::root_of;
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

/// The most file systems of which a descriptor is kept.
const MOUNTS: usize = 128;

/// Finds paths, for as long as its budget lasts.
#[derive(Debug, Default)]
pub struct Targets {
    tables: Tables,
    budget: Budget,
    /// An open mount of each file system that was used, by device.
    mounts: HashMap<u32, Mount>,
    /// File systems that have no mount in a view that can be used.
    without: HashSet<(u32, View)>,
    /// Those of the overlay that was asked about last.
    layers: Option<((u32, String), Layers)>,
    opened: Opened,
    /// Files whose place is not known, each with a process that watches it.
    unknown: HashMap<(u32, u64), u32>,
    left_out: usize,
}

impl Targets {
    /// The current place of a watch's target, as seen from this process or, for file systems mounted
    /// only there, from the mount namespace of `holder`.
    pub fn find(&mut self, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let (file, began) = ((watch.dev, watch.inode), Instant::now());
        let [[own, _], [namespace, _]] = [self.tables.own().0, self.tables.view(holder)];
        let is_left = self.budget.is_left(namespace, own);
        // The usual case takes little time, whatever the file system.
        let is_usual = self.mounts.contains_key(&watch.dev)
            && watch.handle.as_ref().is_some_and(|it| !overlay::is_of_overlay(it));
        if !is_usual && !is_left {
            self.left_out += 1;
            return Whereabouts::Unknown;
        }
        let place = self.by_handle(watch, holder);
        if is_usual && !matches!(place, Whereabouts::Unknown | Whereabouts::Gone(None)) {
            return place;
        }
        if !is_left {
            self.left_out += 1;
            return place;
        }
        let place = self.indirectly(place, watch, holder);
        if place == Whereabouts::Unknown {
            self.unknown.insert(file, holder);
            let view = self.tables.view(holder);
            self.left_out += usize::from(self.tables.of(view, holder).is_cut);
        }
        self.budget.spend(began, namespace, own);
        place
    }

    /// The number of watches that were not, or not wholly, looked up for lack of time.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The place of a target of which its handle tells `place`: perhaps its holder has it open.
    fn indirectly(&mut self, place: Whereabouts, watch: &WatchInfo, holder: u32) -> Whereabouts {
        let file = (watch.dev, watch.inode);
        match place {
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
        }
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
        if !self.mounts.contains_key(&dev) {
            // Another holder may have a mount that this one lacks.
            let view = self.tables.view(holder);
            if self.without.contains(&(dev, view)) {
                return None;
            }
            let (_, own) = self.tables.own();
            let tables = [
                ("/proc/self".to_owned(), own),
                (format!("/proc/{holder}"), self.tables.of(view, holder)),
            ];
            let of = |is_whole| {
                tables.iter().find_map(|(process, it)| Mount::of(it.of(dev), process, is_whole))
            };
            let Some(mount) = of(true).or_else(|| of(false)) else {
                self.without.insert((dev, view));
                return None;
            };
            if self.mounts.len() >= MOUNTS {
                self.mounts.clear();
            }
            self.mounts.insert(dev, mount);
        }
        self.mounts.get(&dev)
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
