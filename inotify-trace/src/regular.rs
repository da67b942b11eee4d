//! Regular files that somebody else named, or may replace.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Opens a regular file for reading. Nothing else is opened: a pipe without a writer, or a device,
/// could block for ever, or do something.
///
/// # Errors
/// If it cannot be opened, or is no regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(not_regular());
    }
    // It may have been replaced meanwhile.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_regular()) }
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// If it cannot be read, is no regular file, or has more bytes: however large it was said to be, no
/// more are read.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(open(path)?, most)
}

/// The same for a file that was opened without waiting for another end.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_open(file: File, most: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")));
    }
    Ok(bytes)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "no regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode};

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_read_to_their_cap() {
        let root = tempfile::tempdir().unwrap();
        let (file, fifo, link) =
            (root.path().join("file"), root.path().join("fifo"), root.path().join("link"));
        fs::write(&file, "text").unwrap();
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert_eq!(read(path, 4).unwrap(), b"text");
        }
        assert_eq!(read(&file, 3).unwrap_err().to_string(), "more than 3 bytes");
        for path in [&fifo, root.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path, 4).unwrap_err().to_string(), "no regular file");
        }
    }
}
