//! Users of this machine.

use std::{collections::BTreeMap, fs};

use inotify_trace_model::text::text_of;

use super::root;

/// Names of users by uid: those in the machine's /etc/passwd. Users of a directory service are not among them:
/// asking for them could wait for a network that is down.
#[must_use]
pub fn users() -> BTreeMap<u32, String> {
    parse(&fs::read(root().join("etc/passwd")).unwrap_or_default())
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
    use super::*;

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
