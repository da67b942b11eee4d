//! Facts in English: findings, refusals and remedies, each worded here and nowhere else.

mod exhausted;
mod finding;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt};

pub(crate) use exhausted::{remedy_for, used_up};
pub(crate) use finding::{
    Detail, LEAK, NOTE, SINCE, Text, details, heading, in_lines, line, paragraph, who,
};

use inotify_trace_model::{
    event::{Event, EventKind, Files},
    findings::{Afterwards, Remedy, Served},
    identity::Names,
    resource::Resource,
};

use super::{Limit, errno_name, failed_files, failed_limit, printable};

/// The number of characters of an id that are shown.
const SHORT: usize = 12;

/// The words of a remedy.
pub(crate) fn remedy(remedy: Remedy) -> Cow<'static, str> {
    match remedy {
        Remedy::Known(pattern) => Cow::Borrowed(&pattern.remedy),
        Remedy::RestartAndReport => {
            "restart the process, which releases them all, and report the bug to its authors".into()
        }
        Remedy::ReadFaster => {
            "let the process read sooner, and look again at what it watches: it missed changes; a \
             higher fs.inotify.max_queued_events is for instances made after"
                .into()
        }
        Remedy::DeleteServed { is_pod } => format!(
            "delete the {}, which ends this shim and releases them all, and report the bug to the \
             authors of containerd",
            if is_pod { "pod" } else { "container" }
        )
        .into(),
        Remedy::DeleteWhatShimRuns { pid } => format!(
            "delete the pod or container that this shim runs, which ends it and releases them all \
             (its id is among the arguments: `ps -o args -p {pid}`), and report the bug to the \
             authors of containerd"
        )
        .into(),
        Remedy::LookAndReport { pid, resource } => format!(
            "look at what it watches (`inotify-trace list --watches -p {pid}`) and report it to its \
             authors; meanwhile raise {} (`inotify-trace limits` recommends a value)",
            resource.sysctl()
        )
        .into(),
        Remedy::FindStarter { pid } => format!(
            "find what starts them and does not end them (`ps -o ppid,lstart,args -p {pid}` shows \
             one), report it to its authors, and end those that nobody needs"
        )
        .into(),
        Remedy::BeSure => {
            "to be sure, run `inotify-trace leaks --watch` for some minutes, or this again later: \
             it is a leak if they become more"
                .into()
        }
        Remedy::GainTime(resource) => format!(
            "wait for a verdict, which takes two minutes or more of `inotify-trace leaks --watch`; \
             raise {} to gain time (`inotify-trace limits` recommends a value)",
            resource.sysctl()
        )
        .into(),
        Remedy::Wait => "nothing, unless the number grows".into(),
        Remedy::RaiseFor(resource) => {
            format!("raise {} (`inotify-trace limits` recommends a value)", resource.sysctl())
                .into()
        }
        Remedy::RaiseInside { resource, userns, pid } => {
            let sysctl = resource.namespace_sysctl();
            // Only a process in the namespace can raise it, with CAP_SYS_RESOURCE there.
            match pid {
                Some(pid) => format!(
                    "raise the limit inside their user namespace: \
                     `nsenter -t {pid} -U sysctl -w {sysctl}=N`"
                ),
                None => format!("raise {sysctl} inside user namespace {userns}"),
            }
            .into()
        }
        Remedy::RaiseDescriptors { pid } => {
            let now = pid.map(|pid| format!(" (now: `prlimit --pid={pid} --nofile=N:N`)"));
            format!(
                "raise LimitNOFILE= of its unit{}, or find the descriptors it leaks",
                now.unwrap_or_default()
            )
            .into()
        }
        Remedy::RaiseFiles => {
            "raise fs.file-max, or look for the process with the most open files".into()
        }
        Remedy::Raise => "raise the limit (`inotify-trace limits` recommends a value)".into(),
    }
}

/// How many of something there are.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8>>(
    number: N,
    one: &str,
    more: &str,
) -> String {
    format!("{number} {}", if number == N::from(1) { one } else { more })
}

/// How many instances there are.
pub(crate) fn instances(number: usize) -> String {
    counted(number, "instance", "instances")
}

/// The state of a queue that has overflowed.
pub(crate) fn overflowed(queued: u32, limit: u32) -> String {
    let of = if limit > 0 { format!(" of {limit}") } else { String::new() };
    format!("{queued}{of} events unread: the kernel drops more")
}

/// The limit that was hit.
pub(crate) fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::InotifyInstances => "inotify instance limit",
        Limit::InotifyWatches => "inotify watch limit",
        Limit::RlimitNofile => "RLIMIT_NOFILE",
        Limit::FileMax => "fs.file-max",
        Limit::InstancesOrNofile => "instance limit or RLIMIT_NOFILE",
        Limit::Neither => "no limit is reached",
        Limit::NotKnown => "limit not known",
    }
}

/// The reason of a failed call, as in `EMFILE: inotify instance limit`, and the open files if it is
/// about these.
pub(crate) fn failure(errno: i32, limit: Option<Limit>, files: Option<Files>) -> String {
    let name = errno_name(errno);
    let Some(limit) = limit else { return name.into_owned() };
    let what = if limit == Limit::FileMax { "files of the machine" } else { "descriptors" };
    let files = files.and_then(|Files { used, limit }| Some((used?, limit)));
    let files = files.map(|(used, limit)| format!(", {used} of {limit} {what}"));
    let why = if limit == Limit::Neither { NEITHER } else { self::limit(limit) };
    format!("{name}: {why}{}", files.unwrap_or_default())
}

const NEITHER: &str = "neither its instances nor its descriptors were used up when it was refused; \
                       a seccomp filter refuses calls like that";

/// What a failure that is no user's quota is about, in a line of its own; None if there is nothing to
/// add to the reason.
pub(crate) fn explained(event: &Event) -> Option<String> {
    let limit = failed_limit(&event.kind)?;
    if limit == Limit::Neither {
        return Some(NEITHER.to_owned());
    }
    let Files { used, limit: most } = failed_files(&event.kind)?;
    let files = format!("{} of {most}", used?);
    if limit == Limit::FileMax {
        return Some(format!("{files} files of the machine"));
    }
    let task = event.task?;
    let comm = task.comm.to_str();
    Some(format!("{files} descriptors of {} ({})", printable(&comm), task.pid))
}

/// The reason of an event's failure, in few words; None if the event is no failure.
pub(crate) fn failed(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::CreateFailed { errno, .. } | EventKind::WatchFailed { errno, .. } => {
            let (name, limit) = (errno_name(*errno), failed_limit(kind).map(limit));
            Some(limit.map_or_else(|| name.to_string(), |limit| format!("{name}: {limit}")))
        }
        _ => None,
    }
}

/// The state of a leak at the end of a recording.
pub(crate) fn afterwards(afterwards: Afterwards) -> String {
    match afterwards {
        Afterwards::Over => "It ended before the recording did.".to_owned(),
        Afterwards::Stopped { held, resource } => {
            let what = resource.name();
            format!("It had stopped growing by the end, and held {held} {what}.")
        }
    }
}

/// A resource in the singular, with its article.
pub(crate) fn one(resource: Resource) -> &'static str {
    match resource {
        Resource::Instances => "an instance",
        Resource::Watches => "a watch",
    }
}

/// The pod of a shim's container as people write it, `namespace/name`, if it has one.
fn pod(served: &Served) -> Option<String> {
    let (namespace, pod) = served.pod()?;
    let namespace = namespace.map(|it| format!("{}/", printable(it))).unwrap_or_default();
    Some(format!("{namespace}{}", printable(pod)))
}

/// The container of a shim, as in `pod default/web`.
fn served(served: &Served) -> String {
    pod(served).map_or_else(
        || {
            let id = &served.shim.id;
            let short = id.get(..SHORT).unwrap_or(id);
            let name = served.names.as_ref().and_then(Names::display);
            format!("container {}", printable(name.as_deref().unwrap_or(short)))
        },
        |pod| format!("pod {pod}"),
    )
}
