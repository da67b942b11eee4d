//! Users of this machine.

use std::collections::BTreeMap;

/// Names of users by uid: those in /etc/passwd. Users of a directory service are not among them:
/// asking for them could wait for a network that is down.
#[must_use]
pub fn users() -> BTreeMap<u32, String> {
    parse(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// From the text of a passwd file (passwd(5)).
fn parse(text: &str) -> BTreeMap<u32, String> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    };
    text.lines().rev().filter_map(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbad\n:x:5:\n");
        assert_eq!(names, [(0, "root".to_owned())].into());
    }
}
