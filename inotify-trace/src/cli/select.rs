//! Options that choose processes, users and containers, the same for traces, recordings and lists.

use std::{collections::BTreeMap, io};

use anyhow::bail;
use inotify_trace_model::tracker::Tracker;

use super::say::say;
use crate::{host::cgroup, output::Selection};

/// The most bytes of a command name that the kernel keeps (`TASK_COMM_LEN` without the zero).
const COMM: usize = 15;

/// A user id that nobody has (`INVALID_UID`).
const NOBODY: u32 = u32::MAX;

/// Names of users by id.
pub(super) type Users = BTreeMap<u32, String>;

#[derive(Debug, clap::Args)]
pub(super) struct SelectArgs {
    /// Only these processes
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', value_parser = pid)]
    pids: Vec<u32>,
    /// Only these users, by name or number: in events the effective user, in a list who is charged
    #[arg(short, long = "uid", visible_alias = "user", value_name = "USER", value_delimiter = ',')]
    users: Vec<String>,
    /// Only these command names (at most 15 bytes, as the kernel keeps them)
    #[arg(short, long = "comm", value_name = "COMM", value_delimiter = ',', value_parser = comm)]
    comms: Vec<String>,
    /// Only this cgroup and its descendants: a path from the root of the v2 hierarchy, or below its
    /// mount point
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Only these pods, by name, NAMESPACE/NAME or uid, with what shims hold for them
    #[arg(long = "pod", value_name = "POD", value_delimiter = ',')]
    pods: Vec<String>,
    /// Only pods of these Kubernetes namespaces
    #[arg(long = "namespace", value_name = "NAMESPACE", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Only these containers, by name, id or the beginning of an id
    #[arg(long = "container", value_name = "CONTAINER", value_delimiter = ',')]
    containers: Vec<String>,
}

fn pid(text: &str) -> Result<u32, String> {
    // PID_MAX_LIMIT of 64-bit kernels.
    match text.parse() {
        Ok(pid @ 1..=4_194_304) => Ok(pid),
        Ok(_) => Err("no process has this number: the kernel's go from 1 to 4194304".to_owned()),
        Err(_) => Err("must be the number of a process; for names there is --comm".to_owned()),
    }
}

fn comm(text: &str) -> Result<String, String> {
    if text.len() <= COMM {
        return Ok(text.to_owned());
    }
    let mut kept = COMM;
    while !text.is_char_boundary(kept) {
        kept -= 1;
    }
    let kept = &text[..kept];
    Err(format!("no process has this name: the kernel keeps {COMM} bytes, as in `{kept}`"))
}

impl SelectArgs {
    /// The selection on a machine with these users; who is none of them matches nobody.
    pub(super) fn selection(&self, users: &Users) -> Selection {
        Selection {
            pids: self.pids.clone(),
            uids: self.users.iter().map(|name| uid(name, users).unwrap_or(NOBODY)).collect(),
            comms: self.comms.clone(),
            cgroup: self.cgroup.as_deref().map(from_root),
            pods: self.pods.clone(),
            namespaces: self.namespaces.clone(),
            containers: self.containers.clone(),
        }
    }

    /// Fails if one of the users is on none of the machines.
    pub(super) fn check_users<'a>(
        &self,
        machines: impl Iterator<Item = &'a Users> + Clone,
    ) -> anyhow::Result<()> {
        for name in &self.users {
            if !machines.clone().any(|users| uid(name, users).is_some()) {
                bail!("no user is called {name}: give the number of the user, as in `-u 1000`");
            }
        }
        Ok(())
    }

    /// Tells what is chosen and does not exist now.
    pub(super) fn warn_of_missing_processes(&self) -> io::Result<()> {
        for &pid in &self.pids {
            let exists =
                i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).is_some_and(
                    |it| rustix::process::test_kill_process(it) != Err(rustix::io::Errno::SRCH),
                );
            if !exists {
                say(format_args!("inotify-trace: no process has the number {pid} now"))?;
            }
        }
        Ok(())
    }
}

/// Tells what is chosen and not known of the machine.
pub(super) fn warn_of_unknown(selection: &Selection, tracker: &Tracker) -> io::Result<()> {
    selection
        .unknown(tracker)
        .iter()
        .try_for_each(|unknown| say(format_args!("inotify-trace: {unknown}")))
}

pub(super) fn uid(name: &str, users: &Users) -> Option<u32> {
    let by_name = || users.iter().find(|(_, it)| *it == name).map(|(uid, _)| *uid);
    name.parse().ok().or_else(by_name)
}

/// The cgroup's path from the root of the hierarchy; `path` may begin with the mount point.
fn from_root(path: &str) -> String {
    cgroup::mount_point()
        .and_then(|mount| path.strip_prefix(mount.to_str()?))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .unwrap_or(path)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_match_is_refused() {
        assert_eq!(pid("7"), Ok(7));
        for text in ["0", "99999999", "-1", "init"] {
            assert!(pid(text).is_err(), "{text}");
        }
        assert_eq!(comm("containerd-shim"), Ok("containerd-shim".to_owned()));
        let error = comm("containerd-shim-runc-v2").unwrap_err();
        assert!(error.ends_with("as in `containerd-shim`"), "{error}");
        assert!(comm("äääääääää").unwrap_err().ends_with("`äääääää`"));
    }

    #[test]
    fn users_have_names_and_numbers() {
        let users: Users = [(0, "root".to_owned()), (7, "1000".to_owned())].into();
        assert_eq!(uid("root", &users), Some(0));
        assert_eq!(uid("5", &users), Some(5));
        assert_eq!(uid("1000", &users), Some(1000), "a number is one");
        assert_eq!(uid("web", &users), None);
    }
}
