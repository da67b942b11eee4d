//! Users by name.

use std::collections::BTreeMap;

use crate::tracker::User;

/// What users of this machine are called.
#[derive(Clone, Debug, Default)]
pub struct UserNames(BTreeMap<u32, String>);

impl UserNames {
    /// Those in /etc/passwd. Users of a directory service show as their numbers: asking for them
    /// could wait for a network that is down.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    /// By uid.
    #[must_use]
    pub fn from_map(names: BTreeMap<u32, String>) -> Self {
        Self(names)
    }

    /// By uid.
    #[must_use]
    pub fn into_map(self) -> BTreeMap<u32, String> {
        self.0
    }

    /// From the text of a passwd file (passwd(5)).
    fn parse(text: &str) -> Self {
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?;
            Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
        };
        Self(text.lines().rev().filter_map(user).collect())
    }

    /// A user's name, or number if there is none.
    #[must_use]
    pub fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// A user who pays, and in which user namespace unless it is the initial one.
    #[must_use]
    pub fn payer(&self, user: User) -> String {
        let name = self.name(user.uid);
        if user.userns == User::INITIAL { name } else { format!("{name}@userns:{}", user.userns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        let names = UserNames::parse("root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbad\n:x:5:\n");
        assert_eq!(names.name(0), "root");
        assert_eq!(names.name(5), "5");
        assert_eq!(names.payer(User { userns: User::INITIAL, uid: 0 }), "root");
        assert_eq!(names.payer(User { userns: 4_026_532_000, uid: 7 }), "7@userns:4026532000");
    }
}
