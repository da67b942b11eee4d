//! Events and verdicts as rows.

use std::collections::HashSet;

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, CgroupId, Event, EventKind, InstanceId, Quota, Target, Task},
    resource::Resource,
    story::Audience,
    tracker::{Tracker, User},
    verdict::{Confidence, Evidence, Grace, Kind, Verdict, verdicts},
};
use serde::Serialize;

use super::{
    ExportError, Exporter,
    column::{Column, Row, Value},
};
use crate::{
    output::{
        UserNames, actor, device, ending, errno_name, failed_limit, instance_flags, lived,
        watch_mask,
    },
    recording::Header,
};

/// Takes in rows.
pub trait Rows {
    /// A row.
    ///
    /// # Errors
    /// If it cannot be written.
    fn row(&mut self, row: &Row<'_>) -> Result<(), ExportError>;

    /// A run begins, of which the rows are that follow.
    ///
    /// # Errors
    /// If what came before cannot be written.
    fn begin(&mut self, _header: &Header) -> Result<(), ExportError> {
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// If it cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Makes rows of runs.
pub struct Flat {
    rows: Box<dyn Rows>,
    run: Run,
    /// The open instances of which a row told that they are leaked.
    told: HashSet<InstanceId>,
}

/// What all rows of a run have.
struct Run {
    node: String,
    boot_id: String,
    id: String,
    clock: Clock,
    users: UserNames,
}

impl Run {
    fn new(header: &Header) -> Self {
        Self {
            node: header.host.clone(),
            boot_id: header.boot_id.clone(),
            id: format!("{:016x}", header.run),
            clock: header.clock(),
            users: UserNames::from_map(header.users.clone()),
        }
    }

    fn time(&self, time: BootTime) -> Value<'static> {
        let nanoseconds = self.clock.timestamp(time).as_nanosecond();
        Value::Time(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }
}

impl Flat {
    /// Rows for `rows`.
    #[must_use]
    pub fn new(rows: Box<dyn Rows>) -> Self {
        Self { rows, run: Run::new(&Header::default()), told: HashSet::new() }
    }

    /// A row for each leaked instance of a verdict that was not told of yet.
    fn leaked(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
        for evidence in &verdict.evidence {
            if self.told.insert(evidence.instance) {
                self.rows.row(&leaked(&self.run, verdict, evidence, tracker, now))?;
            }
        }
        Ok(())
    }
}

impl Audience for Flat {
    type Error = ExportError;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), ExportError> {
        if let EventKind::InstanceReleased { instance, .. } = event.kind {
            self.told.remove(&instance);
        }
        self.rows.row(&of_event(&self.run, event, tracker))
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), ExportError> {
        if !verdict.kind.is_leak() {
            return Ok(());
        }
        self.rows.row(&of_verdict(&self.run, "verdict", verdict, tracker, now))?;
        self.leaked(verdict, tracker, now)
    }

    fn end(&mut self, tracker: &Tracker, now: BootTime) -> Result<(), ExportError> {
        // A verdict is told again only when it is about twice as many: those since then are left.
        let grace = Grace::default();
        verdicts(tracker, now, &grace)
            .iter()
            .filter(|verdict| verdict.kind.is_leak())
            .try_for_each(|verdict| self.leaked(verdict, tracker, now))
    }
}

impl Exporter for Flat {
    fn begin(&mut self, header: &Header) -> Result<(), ExportError> {
        self.run = Run::new(header);
        self.told.clear();
        self.rows.begin(header)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        self.rows.finish()
    }
}

fn of_event<'a>(run: &'a Run, event: &'a Event, tracker: &'a Tracker) -> Row<'a> {
    let subject = tracker.subject(event);
    let kind = &event.kind;
    let mut row = row(run, event.time);
    row.set(Column::Event, name(kind.name()));
    task(&mut row, actor(event, subject), tracker);
    row.maybe(Column::Instance, kind.instance().map(|it| it.0));
    quota(&mut row, run, kind.quota(), kind.counts());
    row.maybe(Column::LimitHit, failed_limit(kind).map(name));
    match kind {
        EventKind::InstanceFound { fd, flags, creator_cgroup, queued, .. } => {
            row.set(Column::Fd, *fd);
            row.maybe(Column::Flags, joined(&instance_flags(*flags)));
            row.set(Column::Queued, *queued);
            row.maybe(Column::CreatorCgroupId, creator_cgroup.known().map(|it| it.0));
        }
        EventKind::InstanceCreated { fd, flags, .. } => {
            row.set(Column::Fd, *fd);
            row.maybe(Column::Flags, joined(&instance_flags(*flags)));
        }
        EventKind::CreateFailed { flags, errno, .. } => {
            row.maybe(Column::Flags, joined(&instance_flags(*flags)));
            row.set(Column::Errno, errno_name(*errno));
        }
        EventKind::WatchFound { wd, target, mask, .. } => {
            row.set(Column::Wd, *wd);
            row.maybe(Column::Mask, joined(&watch_mask(*mask)));
            on(&mut row, target, tracker);
        }
        EventKind::WatchAdded { fd, wd, target, mask, .. } => {
            row.set(Column::Fd, *fd);
            row.set(Column::Wd, *wd);
            row.maybe(Column::Mask, joined(&watch_mask(*mask)));
            on(&mut row, target, tracker);
        }
        EventKind::WatchFailed { fd, path, mask, errno, .. } => {
            row.set(Column::Fd, *fd);
            row.set(Column::Path, &**path);
            row.maybe(Column::Mask, joined(&watch_mask(*mask)));
            row.set(Column::Errno, errno_name(*errno));
        }
        EventKind::WatchRemoved { fd, wd, .. } => {
            row.maybe(Column::Fd, *fd);
            row.set(Column::Wd, *wd);
            row.maybe(Column::How, fd.is_none().then_some("vanished"));
        }
        EventKind::DescriptorClosed { fd, left, .. } => {
            row.set(Column::Fd, *fd);
            row.set(Column::Left, *left);
        }
        EventKind::InstanceHeld { left, .. } => row.set(Column::Left, *left),
        EventKind::InstanceReleased { fd, .. } => {
            let leaver = subject.and_then(|instance| instance.ended_by);
            row.maybe(Column::Fd, fd.or(leaver.and_then(|leaver| leaver.fd)));
            row.set(Column::How, ending(subject));
            row.maybe(Column::LivedNs, lived(event, subject));
            row.maybe(Column::Watches, subject.map(|it| it.watches().len() as u64));
        }
        EventKind::RangeClosed { first, last } => {
            row.set(Column::First, *first);
            row.set(Column::Last, *last);
        }
        EventKind::ProcessForked { child } => row.set(Column::Child, *child),
        EventKind::CgroupFound { cgroup, path }
        | EventKind::CgroupCreated { cgroup, path }
        | EventKind::CgroupRenamed { cgroup, path } => {
            target_cgroup(&mut row, *cgroup, tracker);
            row.set(Column::TargetCgroup, &**path);
        }
        EventKind::ContainerNamed { cgroup, .. } | EventKind::CgroupRemoved { cgroup } => {
            target_cgroup(&mut row, *cgroup, tracker);
        }
        EventKind::ShimIdentified { id, version, .. } => {
            row.set(Column::TargetContainerId, &**id);
            row.maybe(Column::ContainerdVersion, version.as_deref());
            pod_of(&mut row, id, tracker);
        }
        EventKind::Charged { charges } => {
            // What binds the one who pays, wherever the limit stands.
            let payer = charges.first().map(|&charge| User::from(charge));
            let account = payer.and_then(|payer| tracker.users().get(payer));
            quota(
                &mut row,
                run,
                account.and_then(|account| account.instances),
                Resource::Instances,
            );
        }
        EventKind::Lost { count, what } => {
            row.set(Column::LostCount, *count);
            row.set(Column::LostWhat, name(*what));
        }
        // Nothing more fits into columns.
        EventKind::ProcessExec { .. } | EventKind::ProcessExited => {}
    }
    row
}

fn of_verdict<'a>(
    run: &'a Run,
    event: &'static str,
    verdict: &Verdict,
    tracker: &'a Tracker,
    now: BootTime,
) -> Row<'a> {
    let mut row = row(run, now);
    row.set(Column::Event, event);
    match tracker.process(verdict.pid) {
        Some(process) => {
            task(&mut row, Some(process.task), tracker);
            if let Some(shim) = &process.shim {
                row.maybe(Column::ContainerdVersion, shim.version.as_deref());
                pod_of(&mut row, &shim.id, tracker);
            }
        }
        None => row.set(Column::Pid, verdict.pid),
    }
    row.set(Column::Verdict, Kind::name(verdict.kind));
    row.maybe(Column::Pattern, verdict.pattern.map(|it| it.name.as_str()));
    row.set(Column::Instances, verdict.evidence.len() as u64);
    row.set(Column::Since, run.time(verdict.since()));
    row.set(Column::WasFound, verdict.was_found());
    row.set(Column::Certain, verdict.confidence() == Confidence::Certain);
    row.maybe(Column::PerMinute, verdict.growth.map(|it| it.per_minute));
    row.maybe(Column::Left, verdict.growth.and_then(|it| it.left));
    row
}

fn leaked<'a>(
    run: &'a Run,
    verdict: &Verdict,
    evidence: &Evidence,
    tracker: &'a Tracker,
    now: BootTime,
) -> Row<'a> {
    let mut row = of_verdict(run, "leaked", verdict, tracker, now);
    // These are the verdict's own, and would be counted many times over.
    for column in [Column::Instances, Column::PerMinute, Column::Left] {
        row.remove(column);
    }
    row.set(Column::Instance, evidence.instance.0);
    row.set(Column::Since, run.time(evidence.since));
    row.set(Column::WasFound, evidence.was_found);
    row.set(Column::Certain, evidence.confidence == Confidence::Certain);
    // One that served several containers counts for the first.
    let served = evidence.cgroups.first().copied();
    target_cgroup(&mut row, served.unwrap_or_default(), tracker);
    row
}

/// What every row has.
fn row(run: &Run, time: BootTime) -> Row<'_> {
    let mut row = Row::default();
    row.set(Column::Time, run.time(time));
    row.set(Column::BootNs, time.0);
    row.set(Column::Node, &*run.node);
    row.set(Column::BootId, &*run.boot_id);
    row.set(Column::Run, &*run.id);
    row
}

/// Who did it.
fn task<'a>(row: &mut Row<'a>, task: Option<Task>, tracker: &'a Tracker) {
    let Some(task) = task else { return };
    row.set(Column::Pid, task.pid);
    row.set(Column::Tid, task.tid);
    row.set(Column::Uid, task.uid);
    row.set(Column::Comm, task.comm.to_str().into_owned());
    row.maybe(Column::CgroupId, task.cgroup.known().map(|it| it.0));
    place(row, task.cgroup, tracker, &TASK);
}

/// How far the count is from its limit.
fn quota<'a>(row: &mut Row<'a>, run: &'a Run, quota: Option<Quota>, counted: Resource) {
    let Some(quota) = quota else { return };
    row.set(Column::Counted, counted.name());
    row.set(Column::Used, quota.used);
    row.set(Column::Limit, quota.limit);
    row.set(Column::ChargedUid, quota.uid);
    row.set(Column::ChargedUser, run.users.payer(User::from(quota)));
    row.set(Column::ChargedUserns, quota.userns);
}

/// What a watch is on.
fn on<'a>(row: &mut Row<'a>, target: &'a Target, tracker: &'a Tracker) {
    row.maybe(Column::Path, target.path.as_deref());
    row.maybe(Column::Gone, target.is_gone.then_some(true));
    row.maybe(Column::Inode, (target.inode != 0).then_some(target.inode));
    row.maybe(Column::Dev, (target.dev != 0).then(|| device(target.dev)));
    target_cgroup(row, target.cgroup, tracker);
}

fn target_cgroup<'a>(row: &mut Row<'a>, cgroup: CgroupId, tracker: &'a Tracker) {
    row.maybe(Column::TargetCgroupId, cgroup.known().map(|it| it.0));
    place(row, cgroup, tracker, &TARGET);
}

/// Whom a shim serves that was started for a container.
fn pod_of<'a>(row: &mut Row<'a>, container: &str, tracker: &'a Tracker) {
    let Some(names) = tracker.cgroups().names_of(container) else { return };
    row.maybe(Column::TargetPodName, names.pod_name.as_deref());
    row.maybe(Column::TargetNamespace, names.namespace.as_deref());
}

/// The columns that tell of a cgroup, in this order: its path; its container's id, runtime and
/// name; its pod's uid, name and namespace; its image.
type Place = [Column; 8];

const TASK: Place = [
    Column::Cgroup,
    Column::ContainerId,
    Column::ContainerRuntime,
    Column::ContainerName,
    Column::PodUid,
    Column::PodName,
    Column::Namespace,
    Column::Image,
];

const TARGET: Place = [
    Column::TargetCgroup,
    Column::TargetContainerId,
    Column::TargetContainerRuntime,
    Column::TargetContainerName,
    Column::TargetPodUid,
    Column::TargetPodName,
    Column::TargetNamespace,
    Column::TargetImage,
];

fn place<'a>(row: &mut Row<'a>, cgroup: CgroupId, tracker: &'a Tracker, columns: &Place) {
    let [path, id, runtime, name, pod, pod_name, namespace, image] = *columns;
    let Some(cgroup) = tracker.cgroups().get(cgroup) else { return };
    row.set(path, &*cgroup.path);
    let Some(container) = &cgroup.container else { return };
    row.set(id, &*container.id);
    row.maybe(runtime, container.runtime.map(|it| it.as_str()));
    row.maybe(pod, container.pod.as_ref().map(|it| it.as_str()));
    let Some(names) = tracker.cgroups().names(container) else { return };
    row.maybe(name, names.name.as_deref());
    row.maybe(pod_name, names.pod_name.as_deref());
    row.maybe(namespace, names.namespace.as_deref());
    row.maybe(image, names.image.as_deref());
}

/// As JSON has it.
fn name(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        // Names are strings.
        _ => String::new(),
    }
}

/// Several in one column; None if there is none.
fn joined(names: &[&str]) -> Option<String> {
    (!names.is_empty()).then(|| names.join(","))
}
