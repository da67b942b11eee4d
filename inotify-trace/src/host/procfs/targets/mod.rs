//! Paths of watch targets, from the device and file handle in fdinfo.

mod budget;
mod mount;
mod neighbours;
mod opened;
mod overlay;
mod search;
mod tables;

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use inotify_trace_model::text::text_of;

use self::{
    budget::Budget,
    mount::{Mount, Sight, sight},
    neighbours::Neighbours,
    opened::Opened,
    overlay::Layers,
    tables::{Tables, View},
};
use super::WatchInfo;
use crate::host::helper::Place;

pub(super) use mount::root_of;
pub(in crate::host) use mount::unescape;
pub(super) use opened::identity;

/// How long all searches for dropped names may take: a look at the machine must stay quick.
pub(in crate::host) const SEARCH: Duration = Duration::from_millis(500);

/// The most directories of a process that are looked through in any case.
const LIKELY: usize = 64;

/// The place of a watched file, with the path as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Whereabouts {
    Path(PathBuf),
    Gone(Option<PathBuf>),
    Unknown,
    NotAsked,
    Foreign,
}

impl From<Whereabouts> for Place {
    fn from(it: Whereabouts) -> Self {
        let text = |path: PathBuf| text_of(path.as_os_str().as_bytes()).into_owned();
        match it {
            Whereabouts::Path(path) => Self::Path(text(path)),
            Whereabouts::Gone(path) => Self::Gone(path.map(text)),
            Whereabouts::Unknown => Self::Unknown,
            Whereabouts::NotAsked => Self::NotAsked,
            Whereabouts::Foreign => Self::Foreign,
        }
    }
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
    /// File systems that have no mount in a view that can be used, and what that means.
    without: HashMap<(u32, View), Whereabouts>,
    /// Those of the overlay that was asked about last.
    layers: Option<((u32, String), Layers)>,
    opened: Opened,
    neighbours: Neighbours,
    left_out: usize,
}

impl Targets {
    /// The current place of a watch's target, as seen from this process or, if `is_foreign`, from the
    /// mount namespace of `holder`; and whether it was not, or not wholly, looked up for lack of time.
    pub fn find(&mut self, watch: &WatchInfo, holder: u32, is_foreign: bool) -> (Place, bool) {
        let before = self.left_out;
        let place = self.place(watch, holder, is_foreign);
        (place.into(), self.left_out > before)
    }

    fn place(&mut self, watch: &WatchInfo, holder: u32, is_foreign: bool) -> Whereabouts {
        let began = Instant::now();
        let [[own, _], [namespace, _]] = [self.tables.own().0, self.tables.view(holder)];
        let is_left = self.budget.is_left(namespace, own);
        // The usual case takes little time, whatever the file system.
        let is_usual = self.mounts.contains_key(&watch.dev)
            && watch.handle.as_ref().is_some_and(|it| !overlay::is_of_overlay(it));
        if is_usual && let Some(path) = self.neighbours.find(watch) {
            return Whereabouts::Path(path);
        }
        if !is_usual && !is_left {
            self.left_out += 1;
            return Whereabouts::Unknown;
        }
        let place = self.by_handle(watch, holder, is_foreign);
        if place == Whereabouts::Foreign {
            return place;
        }
        if is_usual && !matches!(place, Whereabouts::Unknown | Whereabouts::Gone(None)) {
            if let (Whereabouts::Path(path), Some(mount)) = (&place, self.mounts.get(&watch.dev)) {
                self.neighbours.met(path, watch.dev, mount);
            }
            return place;
        }
        if !is_left {
            self.left_out += 1;
            return place;
        }
        let place = self.indirectly(place, watch, holder, is_foreign);
        if place == Whereabouts::Unknown {
            let view = self.tables.view(holder);
            self.left_out += usize::from(self.tables.of(view, holder).is_cut);
        }
        self.budget.spend(began, namespace, own);
        place
    }

    /// The place of a target of which its handle tells `place`: perhaps its holder has it open.
    fn indirectly(
        &mut self,
        place: Whereabouts,
        watch: &WatchInfo,
        holder: u32,
        is_foreign: bool,
    ) -> Whereabouts {
        let file = (watch.dev, watch.inode);
        match place {
            place @ (Whereabouts::Unknown | Whereabouts::NotAsked | Whereabouts::Gone(None)) => {
                match self.opened.find(file, holder) {
                    // kernfs shows the files of removed cgroups as if they existed.
                    Some(Whereabouts::Path(path))
                        if matches!(place, Whereabouts::Gone(_))
                            || !self.may_be(&path, file, holder, is_foreign) =>
                    {
                        Whereabouts::Gone(Some(path))
                    }
                    found => found.unwrap_or(place),
                }
            }
            place => place,
        }
    }

    /// The paths of files on a device whose place was not known, by inode number; a process with these
    /// arguments watches one of them. Looks through directories until the deadline: some files may be
    /// left.
    pub fn search(
        &mut self,
        (dev, inodes): (u32, HashSet<u64>),
        (holder, arguments): (u32, &[String]),
        deadline: Instant,
        is_foreign: bool,
    ) -> HashMap<u64, PathBuf> {
        let Ok(mount) = self.mount(dev, holder, is_foreign) else { return HashMap::new() };
        // As the process sees them, or as this one does.
        let likely = likely(holder, arguments);
        let seen = likely.iter().filter_map(|path| path.strip_prefix(&mount.path).ok());
        let own = likely.iter().filter_map(|path| path.strip_prefix("/").ok());
        let likely = seen.chain(own).map(Path::to_path_buf);
        search::search(mount, inodes, likely, deadline)
    }

    /// Whether a file may be at a path: false if it is seen that it is not.
    fn may_be(
        &mut self,
        path: &Path,
        (dev, inode): (u32, u64),
        holder: u32,
        is_foreign: bool,
    ) -> bool {
        let Ok(mount) = self.mount(dev, holder, is_foreign) else { return true };
        let Ok(within) = path.strip_prefix(&mount.path) else { return true };
        match mount.look_up(within).and_then(|there| there.metadata()) {
            Ok(there) => there.ino() == inode,
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)),
        }
    }

    fn by_handle(&mut self, watch: &WatchInfo, holder: u32, is_foreign: bool) -> Whereabouts {
        if let Err(place) = self.mount(watch.dev, holder, is_foreign) {
            return place;
        }
        let Some(handle) = &watch.handle else { return Whereabouts::Unknown };
        if let Some(path) = self.on_overlay(watch.dev, handle, holder, is_foreign) {
            return Whereabouts::Path(path);
        }
        let mount = match self.mount(watch.dev, holder, is_foreign) {
            Ok(mount) => mount,
            Err(place) => return place,
        };
        match handle.open(&mount.root) {
            Ok(file) => mount.place_of(&file).unwrap_or(Whereabouts::Unknown),
            Err(error) if mount.finds && error.raw_os_error() == Some(libc::ESTALE) => {
                Whereabouts::Gone(None)
            }
            Err(_) => Whereabouts::Unknown,
        }
    }

    /// A mount of a file system that this process sees or, if `is_foreign`, `holder`. If there is none,
    /// what that means for the place of a file on it.
    fn mount(&mut self, dev: u32, holder: u32, is_foreign: bool) -> Result<&Mount, Whereabouts> {
        if !self.mounts.contains_key(&dev) {
            // Another holder may have a mount that this one lacks.
            let view = self.tables.view(holder);
            if let Some(place) = self.without.get(&(dev, view)) {
                return Err(place.clone());
            }
            let mount = match self.open(dev, view, holder, is_foreign) {
                Ok(mount) => mount,
                Err(place) => {
                    self.without.insert((dev, view), place.clone());
                    return Err(place);
                }
            };
            if self.mounts.len() >= MOUNTS {
                self.mounts.clear();
            }
            self.mounts.insert(dev, mount);
        }
        self.mounts.get(&dev).ok_or(Whereabouts::Unknown)
    }

    fn open(
        &mut self,
        dev: u32,
        view: View,
        holder: u32,
        is_foreign: bool,
    ) -> Result<Mount, Whereabouts> {
        let (_, own) = self.tables.own();
        let theirs = self.tables.of(view, holder);
        let [seen, seen_there] = [&own, &theirs].map(|table| sight(table.of(dev)));
        let is_there = seen_there > Sight::NotLocal;
        if !is_foreign && is_there && seen_there > seen {
            return Err(Whereabouts::Foreign);
        }
        let (process, table) = if is_foreign {
            (format!("/proc/{holder}"), theirs)
        } else {
            ("/proc/self".to_owned(), own)
        };
        let of = |is_whole| Mount::of(table.of(dev), &process, is_whole);
        of(true).or_else(|| of(false)).ok_or(match seen.max(seen_there) {
            Sight::NotLocal => Whereabouts::NotAsked,
            // Something else is mounted over it here.
            Sight::Part | Sight::Whole if is_there && !is_foreign && seen > Sight::NotLocal => {
                Whereabouts::Foreign
            }
            _ => Whereabouts::Unknown,
        })
    }
}

/// Directories that a process with these arguments probably watches something in: where it is, and
/// what they name, as in `tail -F FILE`.
fn likely(pid: u32, arguments: &[String]) -> Vec<PathBuf> {
    let here = fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let mut all = Vec::new();
    for argument in arguments.iter().skip(1) {
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
