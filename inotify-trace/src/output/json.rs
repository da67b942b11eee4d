//! One JSON object a line, for programs. The fields are documented in docs/json.md.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
};

use inotify_trace_model::{
    clock::Clock,
    event::{
        BootTime, CgroupId, Charge, Event, EventKind, EventName, InstanceId, Loss, Quota, Target,
    },
    identity::{Container, Names},
    story::Audience,
    tracker::{Cgroup, Instance, Summary, Tracker},
    usage::Culprit,
    verdict::Verdict,
};
use serde::Serialize;

use super::{
    UserNames, actor,
    blame::{self, Blame},
    device, ending,
    failure::{self, Limit, errno_name},
    finding, lived, mask,
    shim::Served,
};

/// Writes events as JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
    clock: Clock,
    blame: Blame,
}

impl<W: Write> Json<W> {
    /// JSON lines on `out`.
    pub fn new(out: W, clock: Clock) -> Self {
        Self { out, clock, blame: Blame::new(UserNames::default()) }
    }

    /// Where the lines go.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Where the lines went.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn write(&mut self, object: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, object)?;
        self.out.write_all(b"\n")
    }
}

/// A line. Fields that do not apply, or are not known, are left out.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    boot_ns: u64,
    event: EventName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup_id: Option<CgroupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<NamedContainer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charged_userns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_level: Option<u32>,
    #[serde(flatten)]
    detail: Detail<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    culprits: Option<Vec<Suspect<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_visible: Option<u32>,
}

/// A container, and what it is called.
#[derive(Serialize)]
struct NamedContainer<'a> {
    #[serde(flatten)]
    container: &'a Container,
    #[serde(flatten)]
    names: Option<&'a Names>,
}

impl<'a> NamedContainer<'a> {
    fn of(cgroup: &'a Cgroup, tracker: &'a Tracker) -> Option<Self> {
        let container = cgroup.container.as_ref()?;
        Some(Self { container, names: tracker.cgroups().names(container) })
    }
}

/// A process that uses up what was refused.
#[derive(Serialize)]
struct Suspect<'a> {
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<NamedContainer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shim: Option<Served<'a>>,
    count: u32,
    shared: u32,
}

impl<'a> Suspect<'a> {
    fn new(culprit: &Culprit, tracker: &'a Tracker) -> Self {
        let process = tracker.process(culprit.pid);
        let task = process.map(|process| process.task);
        let cgroup = task.and_then(|task| tracker.cgroups().get(task.cgroup));
        Self {
            pid: culprit.pid,
            comm: task.map(|task| task.comm.to_str().into_owned()),
            container: cgroup.and_then(|cgroup| NamedContainer::of(cgroup, tracker)),
            shim: process.and_then(|it| Served::by(it, tracker)),
            count: culprit.count,
            shared: culprit.shared,
        }
    }
}

#[derive(Default, Serialize)]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wd: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_cgroup_id: Option<CgroupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_container: Option<NamedContainer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_cgroup_id: Option<CgroupId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_hit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lived_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watches: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a [i32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containerd_namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containerd_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<Loss>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charges: Option<Vec<Charged>>,
}

/// What one user is charged.
#[derive(Serialize)]
struct Charged {
    uid: u32,
    userns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watches: Option<Count>,
}

/// A count against its limit.
#[derive(Serialize)]
struct Count {
    used: u32,
    limit: u32,
}

impl From<Charge> for Charged {
    fn from(charge: Charge) -> Self {
        let count =
            |quota: Option<Quota>| quota.map(|Quota { used, limit, .. }| Count { used, limit });
        let Charge { uid, userns, instances, watches } = charge;
        Self { uid, userns, instances: count(instances), watches: count(watches) }
    }
}

/// The last line.
#[derive(Serialize)]
struct Last<'a> {
    event: &'static str,
    events: &'a BTreeMap<EventName, u64>,
    open: usize,
    lost: &'a BTreeMap<&'static str, u64>,
}

impl<W: Write> Audience for Json<W> {
    type Error = io::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> io::Result<()> {
        let subject = tracker.subject(event);
        let task = actor(event, subject);
        let cgroup = task.and_then(|task| task.cgroup.known());
        let named = cgroup.and_then(|id| tracker.cgroups().get(id));
        let quota = event.kind.quota();
        let comm = task.map(|task| task.comm);
        let culprits = self.blame.of(event, tracker);
        let line = Line {
            time: self.clock.utc(event.time),
            boot_ns: event.time.0,
            event: event.kind.name(),
            pid: task.map(|task| task.pid),
            tid: task.map(|task| task.tid),
            uid: task.map(|task| task.uid),
            comm: comm.as_ref().map(|comm| comm.to_str()),
            cgroup_id: cgroup,
            cgroup: named.map(|cgroup| &*cgroup.path),
            container: named.and_then(|cgroup| NamedContainer::of(cgroup, tracker)),
            instance: event.kind.instance(),
            used: quota.map(|quota| quota.used),
            limit: quota.map(|quota| quota.limit),
            charged_uid: quota.map(|quota| quota.uid),
            charged_userns: quota.map(|quota| quota.userns),
            limit_level: quota.map(|Quota { level, .. }| level).filter(|&level| level > 0),
            detail: detail(event, subject, tracker),
            culprits: culprits.as_ref().map(|culprits| {
                blame::named(culprits).iter().map(|it| Suspect::new(it, tracker)).collect()
            }),
            not_visible: culprits.as_ref().map(|culprits| culprits.unseen),
        };
        self.write(&line)
    }

    fn verdict(&mut self, verdict: &Verdict, tracker: &Tracker, now: BootTime) -> io::Result<()> {
        let mut line = serde_json::Map::new();
        line.insert("event".to_owned(), "verdict".into());
        line.append(&mut finding::json(verdict, tracker, &self.clock, now));
        self.write(&line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, tracker: &Tracker, _now: BootTime) -> io::Result<()> {
        let Summary { events, open, lost } = &tracker.summary();
        self.write(&Last { event: "summary", events, open: *open, lost })?;
        self.out.flush()
    }
}

fn detail<'a>(event: &'a Event, subject: Option<&Instance>, tracker: &'a Tracker) -> Detail<'a> {
    let none = Detail::default();
    let path_of = |id| tracker.cgroups().get(id).map(|cgroup| &*cgroup.path);
    match &event.kind {
        EventKind::InstanceFound { fd, flags, creator_cgroup, queued, .. } => Detail {
            fd: Some(*fd),
            flags: Some(mask::instance_flags(*flags)),
            creator_cgroup_id: creator_cgroup.known(),
            queued: Some(*queued),
            ..none
        },
        EventKind::InstanceCreated { fd, flags, .. } => {
            Detail { fd: Some(*fd), flags: Some(mask::instance_flags(*flags)), ..none }
        }
        EventKind::CreateFailed { flags, errno, .. } => Detail {
            flags: Some(mask::instance_flags(*flags)),
            errno: Some(errno_name(*errno)),
            limit_hit: failure::limit(&event.kind),
            ..none
        },
        EventKind::WatchFound { wd, target, mask, .. } => {
            Detail { wd: Some(*wd), mask: Some(mask::watch_mask(*mask)), ..on(target, tracker) }
        }
        EventKind::WatchAdded { fd, wd, target, mask, .. } => Detail {
            fd: Some(*fd),
            wd: Some(*wd),
            mask: Some(mask::watch_mask(*mask)),
            ..on(target, tracker)
        },
        EventKind::WatchFailed { fd, path, mask, errno, .. } => Detail {
            fd: Some(*fd),
            path: Some(path),
            mask: Some(mask::watch_mask(*mask)),
            errno: Some(errno_name(*errno)),
            limit_hit: failure::limit(&event.kind),
            ..none
        },
        EventKind::WatchRemoved { fd, wd, .. } => {
            Detail { fd: *fd, wd: Some(*wd), how: fd.is_none().then_some("vanished"), ..none }
        }
        EventKind::DescriptorClosed { fd, left, .. } => {
            Detail { fd: Some(*fd), left: Some(*left), ..none }
        }
        EventKind::InstanceHeld { left, .. } => Detail { left: Some(*left), ..none },
        EventKind::InstanceReleased { fd, .. } => released(*fd, event, subject),
        EventKind::RangeClosed { first, last } => {
            Detail { first: Some(*first), last: Some(*last), ..none }
        }
        EventKind::ProcessForked { child } => Detail { child: Some(*child), ..none },
        EventKind::ProcessExec { kept } => Detail { kept: kept.as_deref(), ..none },
        EventKind::ProcessExited => none,
        EventKind::CgroupFound { cgroup, path }
        | EventKind::CgroupCreated { cgroup, path }
        | EventKind::CgroupRenamed { cgroup, path } => {
            Detail { target_cgroup_id: Some(*cgroup), target_cgroup: Some(path), ..none }
        }
        EventKind::ContainerNamed { cgroup, .. } => {
            let named = tracker.cgroups().get(*cgroup);
            Detail {
                target_cgroup_id: Some(*cgroup),
                target_cgroup: path_of(*cgroup),
                target_container: named.and_then(|cgroup| NamedContainer::of(cgroup, tracker)),
                ..none
            }
        }
        EventKind::ShimIdentified { id, namespace, version } => Detail {
            container_id: Some(id),
            containerd_namespace: Some(namespace),
            containerd_version: version.as_deref(),
            ..none
        },
        EventKind::CgroupRemoved { cgroup } => {
            Detail { target_cgroup_id: Some(*cgroup), target_cgroup: path_of(*cgroup), ..none }
        }
        EventKind::Charged { charges } => {
            Detail { charges: Some(charges.iter().copied().map(Charged::from).collect()), ..none }
        }
        EventKind::Lost { count, what } => {
            Detail { count: Some(*count), what: Some(*what), ..none }
        }
    }
}

fn on<'a>(target: &'a Target, tracker: &'a Tracker) -> Detail<'a> {
    Detail {
        path: target.path.as_deref(),
        gone: target.is_gone.then_some(true),
        inode: (target.inode != 0).then_some(target.inode),
        dev: (target.dev != 0).then(|| device(target.dev)),
        target_cgroup_id: target.cgroup.known(),
        target_cgroup: tracker.cgroups().get(target.cgroup).map(|cgroup| &*cgroup.path),
        target_container: tracker
            .cgroups()
            .get(target.cgroup)
            .and_then(|cgroup| NamedContainer::of(cgroup, tracker)),
        ..Detail::default()
    }
}

fn released(fd: Option<i32>, event: &Event, subject: Option<&Instance>) -> Detail<'static> {
    let leaver = subject.and_then(|instance| instance.ended_by);
    Detail {
        fd: fd.or(leaver.and_then(|leaver| leaver.fd)),
        how: Some(ending(subject)),
        lived_ns: lived(event, subject),
        watches: subject.map(|instance| instance.watches().len()),
        ..Detail::default()
    }
}
