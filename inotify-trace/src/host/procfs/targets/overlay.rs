//! Targets on overlayfs (Documentation/filesystems/overlayfs.rst). It opens no handles unless it is
//! exported by NFS, but from Linux 6.6 on its handles contain that of the file in its layer.

use std::{
    ffi::OsStr,
    fs::File,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::fs::{OFlags, ResolveFlags};

use super::{Targets, mount::root_of, opened::identity, tables::Table};
use crate::host::{
    confined,
    procfs::{FileHandle, handle::path_of},
};

/// Types of overlayfs's handles, whose content begins at an offset: `OVL_FILEID_V1` and
/// `OVL_FILEID_V0` of `fs/overlayfs/overlayfs.h`.
const TYPES: [(i32, usize); 2] = [(0xf8, 3), (0xfb, 0)];

/// `struct ovl_fb`: version, magic number, length, flags, type and UUID come before the handle.
const MAGIC: u8 = 0xfb;
const INNER: usize = 21;

/// The most layers of an overlay that are looked at.
const LAYERS: usize = 128;

/// The handle in its layer of a file with this handle on an overlay.
fn inner(handle: &FileHandle) -> Option<FileHandle> {
    let (_, start) = TYPES.into_iter().find(|(kind, _)| *kind == handle.kind)?;
    let content = handle.bytes.get(start..)?;
    let length = usize::from(*content.get(2)?);
    let content = content.get(..length)?;
    let is_one = *content.get(1)? == MAGIC;
    let (kind, bytes) = (i32::from(*content.get(4)?), content.get(INNER..)?);
    is_one.then(|| FileHandle { kind, bytes: bytes.into() })
}

/// Whether a handle is one of overlayfs: each layer may have to be asked.
pub(super) fn is_of_overlay(handle: &FileHandle) -> bool {
    TYPES.iter().any(|(kind, _)| *kind == handle.kind)
}

/// The layers in the options of an overlay, the upper one first.
fn layers(options: &[u8]) -> Vec<PathBuf> {
    let (mut upper, mut lower) = (Vec::new(), Vec::new());
    for option in separated(options, b',') {
        if let Some(path) = option.strip_prefix(b"upperdir=") {
            upper.push(path.to_vec());
        } else if let Some(paths) = option.strip_prefix(b"lowerdir=") {
            lower.extend(separated(paths, b':'));
        } else if let Some(path) = option.strip_prefix(b"lowerdir+=") {
            lower.push(path.to_vec());
        }
    }
    let all = upper.into_iter().chain(lower).filter(|path| path.starts_with(b"/"));
    all.take(LAYERS).map(|path| PathBuf::from(OsStr::from_bytes(&path))).collect()
}

/// Parts between separators, which a backslash makes a part's own. The backslash goes with the last
/// separator that it can concern, the colon.
fn separated(text: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let Some(part) = parts.last_mut() else { break };
        if byte == b'\\' {
            if separator != b':' {
                part.push(byte);
            }
            part.extend(bytes.next());
        } else if byte == separator {
            parts.push(Vec::new());
        } else {
            part.push(byte);
        }
    }
    parts
}

impl Targets {
    /// The path of a file on an overlay that `holder` sees.
    pub(super) fn on_overlay(
        &mut self,
        dev: u32,
        handle: &FileHandle,
        holder: u32,
        is_foreign: bool,
    ) -> Option<PathBuf> {
        let handle_there = inner(handle)?;
        for (layer, layer_dev) in self.layers_of(dev, holder).iter() {
            let file = self.mount(*layer_dev, holder, is_foreign).ok()?;
            let Ok(file) = handle_there.open(&file.root) else { continue };
            let Ok(path) = path_of(&file) else { continue };
            let Ok(within) = path.strip_prefix(layer).map(Path::to_path_buf) else { continue };
            // Another layer may hide the file: the overlay's own handle tells.
            let overlay = self.mount(dev, holder, is_foreign).ok()?;
            let there = overlay.look_up(&within).and_then(|it| FileHandle::identifier_of(&it));
            if there.is_ok_and(|it| it == *handle) {
                return Some(overlay.path_of(&within));
            }
        }
        None
    }

    /// The layers of an overlay that `holder` sees, with their devices; none of other file systems.
    fn layers_of(&mut self, dev: u32, holder: u32) -> Layers {
        let overlay =
            |table: &Table| table.of(dev).first().filter(|it| it.kind == b"overlay").cloned();
        let (_, own) = self.tables.own();
        // Who mounts one in another mount namespace chooses its options: they say something of the
        // files there only.
        let (process, place) = match overlay(&own) {
            Some(place) => ("/proc/self".to_owned(), place),
            None => {
                let view = self.tables.view(holder);
                let table = self.tables.of(view, holder);
                let Some(place) = overlay(&table) else { return Layers::default() };
                (format!("/proc/{holder}"), place)
            }
        };
        let key = (dev, process.clone());
        if let Some((kept, layers)) = &self.layers
            && *kept == key
        {
            return Rc::clone(layers);
        }
        let root = root_of(&process).ok();
        let paths = layers(&place.options);
        let found = paths.iter().filter_map(|path| layer(root.as_ref()?, path, &own));
        let found: Layers = found.collect();
        self.layers = Some((key, Rc::clone(&found)));
        found
    }
}

/// The layers of an overlay: their paths as this process sees them, and their devices.
pub(super) type Layers = Rc<[(PathBuf, u32)]>;

/// A layer below the root of a process; None on file systems that may not answer. The overlay keeps
/// its layers, so that the kernel knows the way to them.
fn layer(root: &File, path: &Path, own: &Table) -> Option<(PathBuf, u32)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let layer = confined::open_in(root, path, flags, ResolveFlags::CACHED).ok()?;
    let path = path_of(&layer).ok()?;
    let ((dev, _), _) = identity(format!("/proc/self/fd/{}", layer.as_raw_fd()))?;
    own.of(dev).iter().all(|place| place.is_local).then_some((path, dev))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_come_from_the_options() {
        let options = b"rw,lowerdir=/l/one:/l/t\\:wo:rel,upperdir=/up\\,per,workdir=/w,index=off";
        let expected = ["/up\\,per", "/l/one", "/l/t:wo"].map(PathBuf::from);
        assert_eq!(layers(options), expected);
        assert_eq!(layers(b"lowerdir+=/a,lowerdir+=/b"), ["/a", "/b"].map(PathBuf::from));
        assert_eq!(layers(b"rw"), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_handle_contains_that_of_the_layer() {
        // Linux 6.18, ext4 below.
        let mut bytes = vec![0, 0, 0, 0, MAGIC, 29, 0, 1];
        bytes.extend([7; 16]);
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        let handle = FileHandle { kind: 0xf8, bytes: bytes.clone().into() };
        let expected = FileHandle { kind: 1, bytes: [1, 2, 3, 4, 5, 6, 7, 8].into() };
        assert_eq!(inner(&handle), Some(expected));
        for length in 0..bytes.len() {
            let cut = FileHandle { kind: 0xf8, bytes: bytes[..length].into() };
            assert_eq!(inner(&cut), None, "{length}");
        }
        assert_eq!(inner(&FileHandle { kind: 1, bytes: bytes.into() }), None);
    }
}
