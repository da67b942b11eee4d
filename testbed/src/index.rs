//! Parses a Debian mirror's `Release` files and package indices.

/// The needed fields of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Relative to the mirror's root.
    pub file: String,
    pub sha256: String,
}

/// The fields of one package in an index.
#[derive(Clone, Copy)]
struct Stanza<'a>(&'a str);

impl<'a> Stanza<'a> {
    fn field(self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key == name).then(|| value.trim())
        })
    }

    fn package(self) -> Option<Package> {
        Some(Package {
            name: self.field("Package")?.to_owned(),
            version: self.field("Version")?.to_owned(),
            file: self.field("Filename")?.to_owned(),
            sha256: self.field("SHA256")?.to_owned(),
        })
    }
}

/// The last stanza of a package: an index may list several versions, oldest first.
fn stanza<'a>(index: &'a str, name: &str) -> Option<Stanza<'a>> {
    let first_line = format!("Package: {name}\n");
    let mut found = None;
    // Searching the text beats splitting it: it has some 60 000 stanzas.
    for (start, _) in index.match_indices(&first_line) {
        if start == 0 || index[..start].ends_with('\n') {
            let text = &index[start..];
            found = Some(Stanza(&text[..text.find("\n\n").unwrap_or(text.len())]));
        }
    }
    found
}

/// A package.
pub fn package(index: &str, name: &str) -> Option<Package> {
    stanza(index, name)?.package()
}

/// The package with the kernel image on which the package `meta` depends.
pub fn kernel(index: &str, meta: &str) -> Option<Package> {
    let image = stanza(index, meta)?
        .field("Depends")?
        .split([',', '|'])
        .filter_map(|dependency| dependency.split_whitespace().next())
        .find(|name| name.starts_with("linux-image-"))?;
    // Since Linux 7 `linux-image-*` only depends on what has the image.
    let binary = image.replacen("linux-image-", "linux-binary-", 1);
    stanza(index, &binary).or_else(|| stanza(index, image))?.package()
}

/// The SHA-256 checksum that a `Release` file gives for `file`.
pub fn checksum<'a>(release: &'a str, file: &str) -> Option<&'a str> {
    release
        .lines()
        .skip_while(|line| line.trim_end() != "SHA256:")
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let sum = words.next()?;
            (words.nth(1) == Some(file)).then_some(sum)
        })
}

#[cfg(test)]
mod tests {
    use super::{checksum, kernel};

    const OLD: &str = "\
Package: linux-image-5.10.0-9-cloud-amd64
Version: 5.10.70-1
Filename: pool/old.deb
SHA256: 00

Package: linux-image-5.10.0-32-cloud-amd64
Version: 5.10.223-1
Description: mentions another one
 Package: linux-image-5.10.0-32-cloud-amd64
Filename: pool/l/image.deb
SHA256: aa

Package: linux-image-cloud-amd64
Version: 5.10.223-1
Depends: linux-image-5.10.0-32-cloud-amd64 (= 5.10.223-1)
Filename: pool/l/meta.deb
SHA256: bb
";

    const NEW: &str = "\
Package: linux-binary-7.2.13-cloud-amd64
Version: 7.2.13-1
Filename: pool/l/binary.deb
SHA256: cc

Package: linux-image-7.2.13-cloud-amd64
Version: 7.2.13-1
Filename: pool/l/empty.deb
SHA256: dd

Package: linux-image-cloud-amd64
Version: 7.2.13-1
Depends: linux-base-cloud-amd64 (= 7.2.13-1), linux-image-7.2.13-cloud-amd64 (= 7.2.13-1)
";

    #[test]
    fn the_image_is_what_the_meta_package_depends_on() {
        let package = kernel(OLD, "linux-image-cloud-amd64").unwrap();
        assert_eq!(package.name, "linux-image-5.10.0-32-cloud-amd64");
        assert_eq!(package.version, "5.10.223-1");
        assert_eq!((package.file.as_str(), package.sha256.as_str()), ("pool/l/image.deb", "aa"));
    }

    #[test]
    fn newer_kernels_have_their_image_in_a_package_of_its_own() {
        let package = kernel(NEW, "linux-image-cloud-amd64").unwrap();
        assert_eq!(package.name, "linux-binary-7.2.13-cloud-amd64");
        assert_eq!(package.sha256, "cc");
    }

    #[test]
    fn of_several_versions_the_last_counts() {
        let again = OLD.replace("pool/l/image.deb", "pool/l/newer.deb");
        let package = kernel(&format!("{OLD}\n{again}"), "linux-image-cloud-amd64").unwrap();
        assert_eq!(package.file, "pool/l/newer.deb");
    }

    #[test]
    fn an_index_without_the_kernel_is_told() {
        assert_eq!(kernel("", "linux-image-cloud-amd64"), None);
        assert_eq!(kernel(OLD, "linux-image-rt-amd64"), None);
    }

    #[test]
    fn checksums_are_taken_from_their_own_section() {
        let release = "Suite: x\nMD5Sum:\n 11 5 main/Packages.xz\nSHA256:\n 22 5 main/Packages\n \
                       33 5 main/Packages.xz\nSHA512:\n 44 5 main/Other\n";
        assert_eq!(checksum(release, "main/Packages.xz"), Some("33"));
        assert_eq!(checksum(release, "main/Other"), None);
        assert_eq!(checksum("MD5Sum:\n 11 5 main/Packages.xz\n", "main/Packages.xz"), None);
    }
}
