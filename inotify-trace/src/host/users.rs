//! Users of this machine.

use std::{collections::BTreeMap, io, path::Path};

use inotify_trace_model::text::text_of;

use super::{confined, root};

/// A larger file is not read.
const MOST: u64 = 4 << 20;

/// Names of users by uid: those in the machine's /etc/passwd. Users of a directory service are not among them:
/// asking for them could wait for a network that is down.
#[must_use]
pub fn users() -> BTreeMap<u32, String> {
    parse(&passwd(root()).unwrap_or_default())
}

/// The machine's /etc/passwd.
pub(super) fn passwd(root: &Path) -> io::Result<Vec<u8>> {
    confined::read(root, Path::new("etc/passwd"), MOST)
}

/// From the bytes of a passwd file (passwd(5)), which need be of no encoding.
fn parse(file: &[u8]) -> BTreeMap<u32, String> {
    let user = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
        Some((uid, text_of(name).into_owned()))
    };
    file.split(|&byte| byte == b'\n').rev().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_lead_where_they_lead_on_the_machine() {
        let machine = tempfile::tempdir().unwrap();
        let at = |path: &str| machine.path().join(path);
        fs::create_dir_all(at("etc")).unwrap();
        fs::create_dir(at("usr")).unwrap();
        fs::write(at("usr/passwd"), "root:x:0:0").unwrap();
        symlink("/usr/passwd", at("etc/passwd")).unwrap();
        assert_eq!(passwd(machine.path()).unwrap(), b"root:x:0:0");
        fs::remove_file(at("etc/passwd")).unwrap();
        fs::create_dir(at("etc/passwd")).unwrap();
        assert_eq!(passwd(machine.path()).unwrap_err().to_string(), "no regular file");
    }

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = parse(b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbad\n:x:5:\n");
        assert_eq!(names, [(0, "root".to_owned())].into());
    }

    #[test]
    fn a_name_of_another_encoding_is_escaped_and_hides_no_other() {
        let names = parse(b"j\xf6rg:x:1000:1000:J\xf6rg:/home/j:/bin/sh\nann:x:1001:100::/:\n");
        assert_eq!(names, [(1000, "j\\xf6rg".to_owned()), (1001, "ann".to_owned())].into());
    }
}
