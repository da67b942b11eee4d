//! The names of users, and the shortening of long names.

use std::{borrow::Cow, collections::BTreeMap};

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

/// Cuts `text` on the left to at most `width` characters, the first of them an ellipsis then.
///
/// The end of a path is its most useful part. Characters are counted, not terminal columns.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let Some(kept) = width.checked_sub(1) else { return Cow::Borrowed("") };
    let start = match kept {
        0 => text.len(),
        kept => text.char_indices().rev().nth(kept - 1).map_or(0, |(at, _)| at),
    };
    Cow::Owned(format!("…{}", &text[start..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users_have_names_or_numbers() {
        let names = UserNames::from_map([(0, "root".to_owned())].into());
        assert_eq!(names.name(0), "root");
        assert_eq!(names.name(5), "5");
        assert_eq!(names.payer(User { userns: User::INITIAL, uid: 0 }), "root");
        assert_eq!(names.payer(User { userns: 4_026_532_000, uid: 7 }), "7@userns:4026532000");
    }

    #[test]
    fn shortening_keeps_the_end() {
        for (text, width, cut) in [
            ("containerd.service", 18, "containerd.service"),
            ("containerd.service", 8, "…service"),
            ("containerd.service", 1, "…"),
            ("containerd.service", 0, ""),
            ("日本語", 2, "…語"),
            ("", 0, ""),
        ] {
            assert_eq!(shorten(text, width), cut);
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shortened(text in ".{0,200}", width in 0_usize..50) {
            prop_assert!(shorten(&text, width).chars().count() <= width);
        }
    }
}
