//! Files and directories beside one that was found: who watches a tree watches most of what is in it.
//! Their directory is read once, which gives their names, and each is compared by its handle then: that
//! takes one call or two, and to go from a handle to a path takes seven.

use std::{
    collections::HashMap,
    ffi::{CStr, OsStr},
    fs::File,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, Dir, FileType, StatxFlags, statx};

use super::{
    super::{
        WatchInfo,
        handle::{mount_id_of, path_of},
    },
    mount::{Mount, without_suffix},
};

/// How long the path of a directory that was read is believed.
const BELIEVED: Duration = Duration::from_millis(100);

/// The most directories that are remembered, the most that are open, and the most names.
const REMEMBERED: usize = 1024;
const OPEN: usize = 128;
const NAMES: usize = 1 << 17;

/// Entries that may be read before any was of use: processes choose how many there are.
const ADVANCE: usize = 4096;

/// Entries that may be read for each that was of use. To read as many is quicker than to find it the
/// usual way, so that reading in vain never takes more time than was saved, but for the advance.
const WORTH: usize = 8;

/// Directories that were met, and the names in those that were read.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// Whether each directory was read.
    met: HashMap<PathBuf, bool>,
    open: usize,
    /// By device and inode number.
    names: HashMap<(u32, u64), Entry>,
    /// How many more entries may be read.
    credit: usize,
    since: Instant,
}

#[derive(Debug)]
struct Entry {
    parent: Rc<Directory>,
    name: Box<CStr>,
    is_directory: bool,
}

/// An open directory.
#[derive(Debug)]
struct Directory {
    file: File,
    path: PathBuf,
    mount_id: libc::c_int,
}

impl Default for Neighbours {
    fn default() -> Self {
        Self {
            met: HashMap::new(),
            open: 0,
            names: HashMap::new(),
            credit: ADVANCE,
            since: Instant::now(),
        }
    }
}

impl Neighbours {
    /// The path of a watched file, if it is in a directory that was read.
    pub(super) fn find(&mut self, watch: &WatchInfo) -> Option<PathBuf> {
        if self.since.elapsed() > BELIEVED {
            self.forget();
        }
        let Entry { parent, name, is_directory } = self.names.get(&(watch.dev, watch.inode))?;
        // What is mounted over it is on another mount.
        let is_it =
            watch.handle.as_ref()?.mount_of(&parent.file, name).ok()? == Some(parent.mount_id);
        // Of a file's several names, only the kernel knows which one was used.
        if !is_it || !(*is_directory || has_one_name(&parent.file, name)) {
            return None;
        }
        self.credit += WORTH;
        Some(parent.path.join(OsStr::from_bytes(name.to_bytes())))
    }

    /// Notes that something was found on a file system. The second time in a directory, that is read.
    pub(super) fn met(&mut self, path: &Path, dev: u32, mount: &Mount) {
        let Some(parent) = path.parent() else { return };
        match self.met.get_mut(parent) {
            Some(true) => return,
            Some(was_read) => *was_read = true,
            None => {
                if self.met.len() >= REMEMBERED {
                    self.forget();
                }
                self.met.insert(parent.to_path_buf(), false);
                return;
            }
        }
        if self.credit > 0 {
            // If it cannot be read, each is found the usual way.
            let _ = self.read(parent, dev, mount);
        }
    }

    fn read(&mut self, path: &Path, dev: u32, mount: &Mount) -> Option<()> {
        if self.open >= OPEN || self.names.len() >= NAMES {
            self.forget();
        }
        let file = mount.directory(path.strip_prefix(&mount.path).ok()?).ok()?;
        // It may be another one than a moment ago.
        if path_of(&file).ok()? != path {
            return None;
        }
        let entries = Dir::read_from(&file).ok()?;
        let mount_id = mount_id_of(&file).ok()?;
        let directory = Rc::new(Directory { file, path: path.to_path_buf(), mount_id });
        self.open += 1;
        for entry in entries.flatten() {
            if self.credit == 0 || self.names.len() >= NAMES {
                break;
            }
            self.credit -= 1;
            let (name, kind) = (entry.file_name(), entry.file_type());
            let is_directory = kind == FileType::Directory;
            let may_be_watched = is_directory || kind == FileType::RegularFile;
            // The path of one that is gone ends so.
            let text = Path::new(OsStr::from_bytes(name.to_bytes()));
            let may_be_gone = without_suffix(text).is_some();
            if may_be_watched && !may_be_gone && !matches!(name.to_bytes(), b"." | b"..") {
                let (parent, name) = (Rc::clone(&directory), name.into());
                self.names.insert((dev, entry.ino()), Entry { parent, name, is_directory });
            }
        }
        Some(())
    }

    fn forget(&mut self) {
        self.met.clear();
        self.names.clear();
        (self.open, self.since) = (0, Instant::now());
    }
}

/// Whether a file has no other names. It takes what the kernel knows.
fn has_one_name(directory: &File, name: &CStr) -> bool {
    let flags = AtFlags::SYMLINK_NOFOLLOW
        | AtFlags::from_bits_retain(libc::AT_STATX_DONT_SYNC.cast_unsigned());
    statx(directory, name, flags, StatxFlags::NLINK).is_ok_and(|it| it.stx_nlink == 1)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use super::*;
    use crate::host::procfs::FileHandle;

    /// The device of all files here; what matters is that it is the same.
    const DEV: u32 = 7;

    fn watch(path: &Path) -> Option<WatchInfo> {
        let file = File::open(path).unwrap();
        let handle = Some(FileHandle::of(&file).ok()?);
        let inode = file.metadata().unwrap().ino();
        Some(WatchInfo { wd: 1, inode, dev: DEV, mask: 2, handle })
    }

    #[test]
    fn directories_beside_two_that_were_found_are_found() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        let at = |name: &str| top.join(name);
        for name in ["one", "two", "three", "odd (deleted)", "four"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["file", "linked"] {
            fs::write(at(name), "").unwrap();
        }
        fs::hard_link(at("linked"), at("second")).unwrap();
        let Some(three) = watch(&at("three")) else {
            return eprintln!("not run: this file system has no handles");
        };
        let watch = |name| watch(&at(name)).unwrap();
        let [file, linked, odd, four] = ["file", "linked", "odd (deleted)", "four"].map(watch);
        let mount = Mount::at(&top).unwrap();
        let mut neighbours = Neighbours::default();
        neighbours.met(&at("one"), DEV, &mount);
        assert_eq!(neighbours.find(&three), None);
        neighbours.met(&at("two"), DEV, &mount);
        // As old as may be.
        let read = |neighbours: &mut Neighbours| neighbours.since = Instant::now();
        read(&mut neighbours);
        assert_eq!(neighbours.find(&three), Some(at("three")));
        assert_eq!(neighbours.find(&file), Some(at("file")));
        assert_eq!([neighbours.find(&linked), neighbours.find(&odd)], [None, None]);
        // On another file system with the same numbers.
        assert_eq!(neighbours.find(&WatchInfo { dev: DEV + 1, ..three.clone() }), None);
        // Another directory has its number, or it has another name.
        assert_eq!(neighbours.find(&WatchInfo { handle: odd.handle, ..three.clone() }), None);
        fs::rename(at("four"), at("five")).unwrap();
        assert_eq!(neighbours.find(&four), None);
        neighbours.since = Instant::now().checked_sub(2 * BELIEVED).unwrap();
        assert_eq!(neighbours.find(&three), None);
    }

    #[test]
    fn not_more_is_read_in_vain_than_was_saved() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for number in 0..20 {
            fs::create_dir(top.join(number.to_string())).unwrap();
        }
        let mount = Mount::at(&top).unwrap();
        let mut neighbours = Neighbours { credit: 5, ..Neighbours::default() };
        for _ in 0..3 {
            neighbours.met(&top.join("0"), DEV, &mount);
        }
        assert!(neighbours.credit == 0 && neighbours.names.len() <= 5, "{neighbours:?}");
        neighbours.forget();
        for _ in 0..3 {
            neighbours.met(&top.join("0"), DEV, &mount);
        }
        assert!(neighbours.names.is_empty(), "{neighbours:?}");
    }
}
