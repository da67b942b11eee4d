//! The names of users.

use std::collections::BTreeMap;

use inotify_trace_model::{text::printable, tracker::User};

/// The names of the users of a machine.
#[derive(Clone, Debug, Default)]
pub struct UserNames(BTreeMap<u32, String>);

impl UserNames {
    /// By uid. Names may come from a recording of another machine: whatever they are written to, they
    /// do not move its text.
    #[must_use]
    pub fn from_map(names: BTreeMap<u32, String>) -> Self {
        let printable = |(uid, name): (u32, String)| (uid, printable(&name).into_owned());
        Self(names.into_iter().map(printable).collect())
    }

    /// A user's name, if there is one.
    #[must_use]
    pub fn get(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(String::as_str)
    }

    /// A user's name, or number if there is none.
    #[must_use]
    pub fn name(&self, uid: u32) -> String {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// A user who is charged, and the user namespace unless it is the initial one.
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
        let names = UserNames::from_map([(0, "root".to_owned())].into());
        assert_eq!(names.name(0), "root");
        assert_eq!(names.name(5), "5");
        assert_eq!(names.payer(User { userns: User::INITIAL, uid: 0 }), "root");
        assert_eq!(names.payer(User { userns: 4_026_532_000, uid: 7 }), "7@userns:4026532000");
    }
}
