//! The archive a kernel unpacks as its first file system: cpio's "newc" format.

/// Types of file, as in `st_mode`.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// The name of the archive's last entry.
const TRAILER: &str = "TRAILER!!!";

/// An archive in the making. Everything in it belongs to root.
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0 }
    }

    /// Adds a directory. The kernel makes no parents by itself: add those first.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    /// Adds a file that may be executed.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o755, content);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // A file this large would not fit into the machine's memory either.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        // Inode number, mode, owner, group, links, time, size, device and the device that the file
        // is (two numbers each), length of the name with its NUL, checksum (unused).
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn headers_and_contents_start_at_multiples_of_four() {
        let mut archive = Archive::new();
        archive.directory("bin");
        archive.program("bin/x", b"12345");
        let bytes = archive.finish();

        // 110 bytes of header, "bin\0", 2 bytes of padding.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[110..114], b"bin\0");
        assert_eq!(&bytes[116..122], b"070701");
        // Size in the seventh field, and the content behind the padded name.
        let second = &bytes[116..];
        assert_eq!(&second[6 + 6 * 8..6 + 7 * 8], b"00000005");
        assert_eq!(&second[116..121], b"12345");
        assert_eq!(&second[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
    }
}
