//! containerd's shims: each is a process outside of the containers that it runs, whose arguments
//! name the container it was started for.

use crate::event::Task;

/// The command name of every version-2 shim, cut by the kernel after 15 bytes.
const COMM: &str = "containerd-shim";

/// The parts of a variable's name by which containerd's build sets its version.
const PROJECT: &str = "/containerd";
const VERSION: &str = "/version.Version=";

/// The most bytes of an id or a namespace: containerd allows no more
/// (<https://github.com/containerd/containerd/blob/main/pkg/identifiers/validate.go>).
const LONGEST_ID: usize = 76;

/// The most bytes of a version.
const LONGEST_VERSION: usize = 64;

/// The container and the version of a shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shim {
    /// The container that it was started for: of a pod, the one that keeps its namespaces.
    pub id: Box<str>,
    /// containerd's namespace of that container: `k8s.io`, `moby`.
    pub namespace: Box<str>,
    /// The version of containerd, if the shim's executable carries it.
    pub version: Option<Box<str>>,
}

impl Shim {
    /// Whether a process may be a shim, by its name and its user: other users may call themselves so.
    #[must_use]
    pub fn may_be(task: &Task) -> bool {
        task.uid == 0 && task.comm.as_bytes().starts_with(COMM.as_bytes())
    }

    /// Parses a shim's arguments, which are in the form of Go's package `flag`. None if they name no
    /// container that containerd could have made: its ids and namespaces are at most 76 bytes of
    /// `[0-9A-Za-z_.-]`.
    #[must_use]
    pub fn from_arguments(arguments: &[String]) -> Option<Self> {
        let value = |name: &str| {
            let mut arguments = arguments.iter().skip(1);
            while let Some(argument) = arguments.next() {
                let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
                let Some(rest) = flag.and_then(|flag| flag.strip_prefix(name)) else { continue };
                let value = match rest.strip_prefix('=') {
                    Some(value) => Some(value),
                    None if rest.is_empty() => arguments.next().map(String::as_str),
                    None => None,
                };
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    return Some(Box::<str>::from(value));
                }
            }
            None
        };
        let value = |name: &str| value(name).filter(|it| is_identifier(it));
        Some(Self { id: value("id")?, namespace: value("namespace")?, version: None })
    }

    /// The version of containerd in a program's build information: the one set by linker flags, or
    /// else that of the module. Debian's programs have neither. None if it is none: a version is at
    /// most 64 bytes of `[0-9A-Za-z.+~-]`, and begins with a digit.
    #[must_use]
    pub fn version_in(build_info: &str) -> Option<Box<str>> {
        let set = build_info.lines().filter(|line| line.starts_with("build\t-ldflags=")).find_map(
            |flags| {
                let (before, after) = flags.split_once(VERSION)?;
                let module = before.rsplit(' ').next()?;
                let end = after.find(|c: char| c.is_whitespace() || "'\"\\".contains(c));
                module.contains(PROJECT).then_some(&after[..end.unwrap_or(after.len())])
            },
        );
        let of_module = || {
            let module = build_info.lines().find_map(|line| line.strip_prefix("mod\t"))?;
            let mut fields = module.split('\t');
            let name = fields.next().filter(|name| name.contains(PROJECT));
            fields.next().filter(|_| name.is_some())
        };
        let number = |text| str::strip_prefix(text, 'v').unwrap_or(text);
        // A build from unversioned sources has `(devel)`.
        set.or_else(of_module).map(number).filter(|it| is_version(it)).map(Into::into)
    }
}

fn is_identifier(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST_ID && text.bytes().all(is_part)
}

fn is_version(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte);
    let begins_well = text.starts_with(|c: char| c.is_ascii_digit());
    begins_well && text.len() <= LONGEST_VERSION && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shim(line: &str) -> Option<Shim> {
        Shim::from_arguments(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_shim_s_arguments_say_whom_it_serves() {
        let expected = Shim { id: "4fa3".into(), namespace: "k8s.io".into(), version: None };
        for line in [
            "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 4fa3 -address /run/c.sock",
            "containerd-shim-runc-v2 -debug --id=4fa3 --namespace=k8s.io",
            "shim -id 4fa3 -identity x -namespace k8s.io",
        ] {
            assert_eq!(shim(line).as_ref(), Some(&expected), "{line}");
        }
        for line in [
            "",
            "shim",
            "shim -id",
            "shim -id 4fa3",
            "-id 4fa3 -namespace=",
            "shim id 4 namespace x",
            "shim -id 4/../fa3 -namespace x",
            "shim -id 4\u{1b}[2Jfa3 -namespace x",
        ] {
            assert_eq!(shim(line), None, "{line}");
        }
        let long = |id: usize| shim(&format!("shim -id {} -namespace x", "4".repeat(id)));
        assert_eq!((long(76).is_some(), long(77)), (true, None));
        let task = |comm: &str, uid| Task { comm: comm.into(), uid, ..Task::default() };
        assert!(Shim::may_be(&task("containerd-shim", 0)));
        assert!(!Shim::may_be(&task("containerd-shim", 1000)));
        assert!(!Shim::may_be(&task("containerd", 0)));
    }

    #[test]
    fn the_version_is_the_one_that_was_built() {
        // As Go 1.19 writes it for the options of containerd's Makefile.
        let flags = "mod\tgithub.com/containerd/containerd\t(devel)\t\nbuild\t-compiler=gc\n\
                     build\t-ldflags=\"-X github.com/containerd/containerd/version.Version=v1.6.20 \
                     -X github.com/containerd/containerd/version.Revision=2806 -s -w\"\n";
        let module = "mod\tgithub.com/containerd/containerd/v2\tv2.0.1\th1:abc=\n";
        let path = "path\tgithub.com/containerd/containerd/cmd/containerd-shim-runc-v2\n";
        let version = |text: &str| Shim::version_in(text);
        assert_eq!(version(&format!("{path}{flags}")).as_deref(), Some("1.6.20"));
        assert_eq!(version(&format!("{path}{module}")).as_deref(), Some("2.0.1"));
        assert_eq!(version(path), None);
        assert_eq!(version(&module.replace("v2.0.1", "(devel)")), None);
        assert_eq!(version(&flags.replace("/containerd", "/kata")), None);
        assert_eq!(version(&module.replace("/containerd", "/kata")), None);
        assert_eq!(
            version(&module.replace("2.0.1", "1.6.20~ds1-1+b4")).as_deref(),
            Some("1.6.20~ds1-1+b4")
        );
        for wrong in ["9\u{1b}[2J", "1.6;rm", "1.6/", &format!("1.{}", "6".repeat(1 << 20))] {
            assert_eq!(version(&module.replace("2.0.1", wrong)), None);
        }
    }
}
