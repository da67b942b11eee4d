//! Parses settings of sysctls in files, by the rules of sysctl.d(5) and sysctl.conf(5). Pure.

use std::{collections::BTreeMap, path::PathBuf};

use super::Sysctl;

/// A file with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// One line that sets a sysctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The assigned value as written.
    pub text: String,
    /// The number that the kernel reads it as; None if the kernel refuses it.
    pub value: Option<u64>,
    /// The other name of the sysctl that it sets, as sysctl(8) writes it; None if its own.
    pub alias: Option<String>,
}

impl Assignment {
    /// Where it is: the file, and the line in it.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// The assignments of a sysctl in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// The one that takes effect; None if there is none.
    pub winner: Option<Assignment>,
    /// Those that are overridden, in the order in which they are read.
    pub overridden: Vec<Assignment>,
}

impl Configured {
    /// The number that takes effect.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        self.winner.as_ref()?.value
    }
}

/// The comparison of live and configured values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// They are the same.
    Same,
    /// They differ.
    Differs,
    /// No file sets it.
    NotConfigured,
    /// The configured value is no number.
    Invalid,
    /// The live value cannot be read.
    Unknown,
}

impl State {
    pub(super) fn of(live: Option<u64>, configured: &Configured) -> Self {
        match (live, &configured.winner) {
            (None, _) => Self::Unknown,
            (Some(_), None) => Self::NotConfigured,
            (Some(live), Some(winner)) => match winner.value {
                None => Self::Invalid,
                Some(value) if value == live => Self::Same,
                Some(_) => Self::Differs,
            },
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::NotConfigured => "not-configured",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        }
    }
}

/// The files to read, in order: by name, whatever the directory; of files with the same name only the
/// one in the first directory. `directories` come with the names in them.
#[must_use]
pub fn in_order(directories: &[(PathBuf, Vec<String>)]) -> Vec<PathBuf> {
    let mut chosen: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for (directory, names) in directories {
        for name in names {
            if name.ends_with(".conf") && !name.starts_with('.') {
                chosen.entry(name).or_insert_with(|| directory.join(name));
            }
        }
    }
    chosen.into_values().collect()
}

/// The assignments of a sysctl in `sources`, which are in the order in which they are read, by any of
/// its names; of the names, the one that is set last takes effect.
#[must_use]
pub fn configured(sources: &[Source], sysctl: Sysctl) -> Configured {
    let mut winners = Vec::new();
    let mut overridden = Vec::new();
    for path in sysctl.paths() {
        let OfName { winner, mut others } = configured_by(sources, path, *path != sysctl.path());
        winners.extend(winner);
        overridden.append(&mut others);
    }
    winners.sort_by_key(|(position, _)| *position);
    let winner = winners.pop();
    overridden.append(&mut winners);
    // In the order in which they are read, those of patterns first for each name.
    if sysctl.paths().len() > 1 && overridden.iter().any(|(_, it)| it.alias.is_some()) {
        overridden.sort_by_key(|(position, _)| *position);
    }
    Configured {
        winner: winner.map(|(_, winner)| winner),
        overridden: overridden.into_iter().map(|(_, it)| it).collect(),
    }
}

/// The position of a line: its file's, and its own.
type Position = (usize, usize);

/// The assignments of one name.
struct OfName {
    winner: Option<(Position, Assignment)>,
    others: Vec<(Position, Assignment)>,
}

/// The assignments of one name of a sysctl; the last one takes effect. A line with the key itself
/// overrides all patterns; a key with `-` before it and no value cancels earlier assignments and
/// patterns.
fn configured_by(sources: &[Source], path: &str, is_alias: bool) -> OfName {
    let mut named: Vec<(Position, Assignment)> = Vec::new();
    let mut by_pattern: Vec<(Position, Assignment)> = Vec::new();
    let mut excluded_from = None;
    for (file, source) in sources.iter().enumerate() {
        for (at, line) in source.text.lines().enumerate() {
            let Some(statement) = Statement::parse(line) else { continue };
            if !matches(&statement.key, path) {
                continue;
            }
            let is_pattern = statement.key != path;
            match statement.value {
                Some(text) => {
                    let list = if is_pattern { &mut by_pattern } else { &mut named };
                    let alias = is_alias.then(|| path.replace('/', "."));
                    let (value, text) = (number(text), text.to_owned());
                    let (path, line) = (source.path.clone(), at + 1);
                    list.push(((file, at), Assignment { file: path, line, text, value, alias }));
                }
                None if !is_pattern => excluded_from = Some(named.len()),
                None => {}
            }
        }
    }
    let has_winner_by_name = named.len() > excluded_from.unwrap_or_default();
    let winner = if has_winner_by_name {
        named.pop()
    } else if excluded_from.is_none() {
        by_pattern.pop()
    } else {
        None
    };
    by_pattern.append(&mut named);
    OfName { winner, others: by_pattern }
}

/// Whether a line sets, or cancels, exactly this sysctl, by any of its names.
pub(super) fn is_about(line: &str, sysctl: Sysctl) -> bool {
    Statement::parse(line).is_some_and(|it| sysctl.paths().contains(&it.key.as_str()))
}

/// A line that is no comment.
struct Statement<'a> {
    /// With slashes between its parts.
    key: String,
    /// None for a key with `-` before it and no value.
    value: Option<&'a str>,
}

impl<'a> Statement<'a> {
    /// None for an empty line, a comment, and an invalid line, which systemd and procps skip with a
    /// warning.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.strip_prefix('-').unwrap_or(key), Some(value.trim())),
            None => (line.strip_prefix('-')?, None),
        };
        let key = normalised(key.trim());
        (!key.is_empty()).then_some(Self { key, value })
    }
}

/// A key with slashes as separators: if its first separator is a dot, dots and slashes are swapped
/// (sysctl.d(5)).
fn normalised(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes().get(at) == Some(&b'.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// Whether a key with the wildcards `*` and `?`, which match anything but a slash (glob(7)), matches
/// this path. Sets in brackets are not supported.
fn matches(pattern: &str, path: &str) -> bool {
    match (pattern.chars().next(), path.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            let part = path.find('/').unwrap_or(path.len());
            (0..=part).any(|at| path.is_char_boundary(at) && matches(rest, &path[at..]))
        }
        (Some(p), Some(c)) if p == c || (p == '?' && c != '/') => {
            matches(&pattern[p.len_utf8()..], &path[c.len_utf8()..])
        }
        _ => false,
    }
}

/// Parses a number as the kernel does (`proc_get_long` in `kernel/sysctl.c`): decimal, octal after 0,
/// hexadecimal after 0x, and at most `INT_MAX`, the largest value of these sysctls.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text {
        "0" => (text, 10),
        _ => match (text.strip_prefix("0x").or(text.strip_prefix("0X")), text.strip_prefix('0')) {
            (Some(digits), _) => (digits, 16),
            (None, Some(digits)) => (digits, 8),
            (None, None) => (text, 10),
        },
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().filter(|&number| number <= super::recommend::LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// The value of the instance limit in one file.
    fn value_of(text: &str) -> Option<u64> {
        configured(&[source("/f", text)], Sysctl::Instances).value()
    }

    #[test]
    fn files_are_ordered_by_name_and_hidden_by_directory() {
        let directory = |path: &str, names: &[&str]| {
            (PathBuf::from(path), names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        let files = in_order(&[
            directory("/etc/sysctl.d", &["99-z.conf", "README", "50-b.conf", ".hidden.conf"]),
            directory("/run/sysctl.d", &["50-b.conf", "60-c.conf", "x.conf~"]),
            directory("/usr/local/lib/sysctl.d", &["60-c.conf", "10-a.conf"]),
            directory("/usr/lib/sysctl.d", &["99-z.conf", "9.conf", "a.conf"]),
        ]);
        let expected = [
            "/usr/local/lib/sysctl.d/10-a.conf",
            "/etc/sysctl.d/50-b.conf",
            "/run/sysctl.d/60-c.conf",
            "/usr/lib/sysctl.d/9.conf",
            "/etc/sysctl.d/99-z.conf",
            "/usr/lib/sysctl.d/a.conf",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn the_ways_to_write_a_setting() {
        for (text, expected) in [
            ("fs.inotify.max_user_instances=512", Some(512)),
            ("  fs.inotify.max_user_instances  =  512  ", Some(512)),
            ("fs/inotify/max_user_instances = 512", Some(512)),
            ("-fs.inotify.max_user_instances = 512", Some(512)),
            ("-fs/inotify/max_user_instances=512", Some(512)),
            ("fs.inotify.* = 512", Some(512)),
            ("fs/*/max_user_instance? = 512", Some(512)),
            ("fs.inotify.max_user_instances = 0x200", Some(512)),
            ("fs.inotify.max_user_instances = 01000", Some(512)),
            ("fs.inotify.max_user_instances = 0", Some(0)),
            ("fs.inotify.max_user_instances = 2147483647", Some(2_147_483_647)),
            // Refused by the kernel.
            ("fs.inotify.max_user_instances = 2147483648", None),
            ("fs.inotify.max_user_instances = 8k", None),
            ("fs.inotify.max_user_instances = 512 # more", None),
            ("fs.inotify.max_user_instances = -1", None),
            ("fs.inotify.max_user_instances = 0x+9", None),
            ("fs.inotify.max_user_instances =", None),
            // The same variable.
            ("user.max_inotify_instances=512", Some(512)),
            ("-user/max_inotify_instances = 512", Some(512)),
            ("user.max_inotify_* = 512", Some(512)),
            // Other lines.
            ("user.max_inotify_watches = 512", None),
            ("# fs.inotify.max_user_instances = 512", None),
            ("; fs.inotify.max_user_instances = 512", None),
            ("fs.inotify.max_user_watches = 512", None),
            ("fs.inotify/max_user_instances = 512", None),
            ("fs.* = 512", None),
            ("max_user_instances = 512", None),
            ("fs.inotify.max_user_instances 512", None),
            ("fs.inotify.max_user_instances", None),
            ("= 512", None),
            ("-", None),
            ("-=", None),
            ("*", None),
            ("", None),
            ("\u{fffd}\u{fffd} = ü", None),
        ] {
            assert_eq!(value_of(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_last_one_wins_and_the_others_are_told() {
        let sources = [
            source("/etc/sysctl.d/10.conf", "\n# x\nfs.inotify.max_user_instances=1\n"),
            source("/etc/sysctl.d/20.conf", "fs/inotify/max_user_instances=2\nnonsense\n"),
            source("/etc/sysctl.conf", "vm.swappiness=1\nfs.inotify.max_user_instances = 3"),
        ];
        let found = configured(&sources, Sysctl::Instances);
        let winner = found.winner.unwrap();
        assert_eq!((winner.file.to_str(), winner.line), (Some("/etc/sysctl.conf"), 2));
        assert_eq!(winner.value, Some(3));
        let lines: Vec<_> = found.overridden.iter().map(|it| (it.line, it.value)).collect();
        assert_eq!(lines, [(3, Some(1)), (1, Some(2))]);
        assert_eq!(configured(&sources, Sysctl::Watches), Configured::default());
    }

    #[test]
    fn of_two_names_of_a_variable_the_last_set_wins() {
        let (own, alias) = ("fs.inotify.max_user_instances=1", "user.max_inotify_instances=2");
        for (first, last, expected) in [(own, alias, 2), (alias, own, 1)] {
            let found = configured(
                &[source("/etc/sysctl.d/10.conf", first), source("/etc/sysctl.conf", last)],
                Sysctl::Instances,
            );
            let winner = found.winner.as_ref().unwrap();
            assert_eq!((found.value(), winner.line), (Some(expected), 1));
            assert_eq!(winner.file.to_str(), Some("/etc/sysctl.conf"));
            let alias = (expected == 2).then_some("user.max_inotify_instances");
            assert_eq!(winner.alias.as_deref(), alias);
            assert_eq!(found.overridden.len(), 1);
        }
        // Each name has its own patterns, and its own line that takes it back.
        let text = format!("{alias}\nfs.inotify.* = 3\n-fs.inotify.max_user_instances\n");
        assert_eq!(value_of(&text), Some(2));
        assert_eq!(value_of(&format!("{alias}\nfs.inotify.* = 3\n")), Some(3));
        assert_eq!(value_of(&format!("{own}\nuser.* = 3\n{own}\n")), Some(1));
    }

    #[test]
    fn names_go_before_patterns_and_can_be_taken_back() {
        let named = "fs.inotify.max_user_instances = 1\n";
        let pattern = "fs.inotify.* = 2\n";
        let taken_back = "-fs.inotify.max_user_instances\n";
        for (text, expected) in [
            (format!("{named}{pattern}"), Some(1)),
            (format!("{pattern}{named}"), Some(1)),
            (format!("{pattern}{taken_back}"), None),
            (format!("{taken_back}{pattern}"), None),
            (format!("{named}{taken_back}"), None),
            (format!("{taken_back}{named}"), Some(1)),
            (format!("{pattern}fs.*.max_user_instances=3\n"), Some(3)),
        ] {
            assert_eq!(value_of(&text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_invalid_winner_is_not_skipped() {
        let found = configured(
            &[source("/f", "fs.inotify.max_user_instances=1\nfs.inotify.max_user_instances=lots")],
            Sysctl::Instances,
        );
        assert_eq!(found.winner.as_ref().map(|it| it.text.as_str()), Some("lots"));
        assert_eq!(State::of(Some(128), &found), State::Invalid);
    }

    #[test]
    fn live_and_configured_are_compared() {
        let says = |text: &str| configured(&[source("/f", text)], Sysctl::Instances);
        let eight = says("fs.inotify.max_user_instances=8192");
        assert_eq!(State::of(Some(8192), &eight), State::Same);
        assert_eq!(State::of(Some(128), &eight), State::Differs);
        assert_eq!(State::of(None, &eight), State::Unknown);
        assert_eq!(State::of(Some(128), &says("")), State::NotConfigured);
    }
}
