//! The fields of events.

use inotify_trace_model::{
    event::{CgroupId, Charge, Event, EventKind, Files, Level, Quota, Silence, Target},
    findings::{Holder, NAMED},
    resource::Resource,
    tracker::{Instance, Tracker, User},
    usage::{Culprits, Place, Share, shares},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Context, Field, Record,
    objects::{self, TARGET, place, pod_of},
    task,
};
use crate::output::{
    actor, device, ending, errno_name, failed_limit, instance_flags, lived, watch_mask,
};

/// The fields of an event that `tracker` has just taken in.
pub(crate) fn event<'a>(
    context: &'a Context,
    event: &'a Event,
    tracker: &'a Tracker,
) -> Record<'a> {
    let subject = tracker.subject(event);
    let kind = &event.kind;
    let mut record = context.record_at(event.time);
    record.set(Field::Event, kind.name().as_str());
    task(&mut record, actor(event, tracker), tracker);
    record.maybe(Field::Instance, kind.instance().map(|it| it.0));
    quota(&mut record, context, kind.quota(), kind.counts());
    record.maybe(Field::LimitHit, failed_limit(kind).map(name));
    own(&mut record, context, event, subject, tracker);
    record
}

/// Adds the fields of this kind of event.
fn own<'a>(
    record: &mut Record<'a>,
    context: &'a Context,
    event: &'a Event,
    subject: Option<&'a Instance>,
    tracker: &'a Tracker,
) {
    match &event.kind {
        EventKind::InstanceFound { fd, flags, creator_cgroup, queued, .. } => {
            record.set(Field::Fd, *fd);
            record.set(Field::Flags, instance_flags(*flags));
            record.set(Field::Queued, *queued);
            record.maybe(Field::CreatorCgroupId, creator_cgroup.known().map(|it| it.0));
        }
        EventKind::InstanceCreated { fd, flags, .. } => {
            record.set(Field::Fd, *fd);
            record.set(Field::Flags, instance_flags(*flags));
        }
        EventKind::CreateFailed { flags, errno, files, .. } => {
            record.set(Field::Flags, instance_flags(*flags));
            record.set(Field::Errno, errno_name(*errno));
            if let Some(Files { used, limit }) = files {
                record.maybe(Field::FilesUsed, *used);
                record.set(Field::FilesLimit, *limit);
            }
        }
        EventKind::WatchFound { wd, target, mask, .. } => {
            record.set(Field::Wd, *wd);
            record.set(Field::Mask, watch_mask(*mask));
            on(record, target, tracker);
        }
        EventKind::WatchAdded { fd, wd, target, mask, .. } => {
            record.set(Field::Fd, *fd);
            record.set(Field::Wd, *wd);
            record.set(Field::Mask, watch_mask(*mask));
            // The kernel programs do not find the inode of each watch that is changed; it is that of
            // before.
            let known = subject.and_then(|instance| instance.watches().get(wd));
            on(record, known.map_or(target, |watch| &watch.target), tracker);
        }
        EventKind::WatchFailed { fd, path, mask, errno, .. } => {
            record.set(Field::Fd, *fd);
            record.maybe(Field::Path, path.as_deref());
            record.set(Field::Mask, watch_mask(*mask));
            record.set(Field::Errno, errno_name(*errno));
        }
        EventKind::WatchRemoved { fd, wd, .. } => {
            record.maybe(Field::Fd, *fd);
            record.set(Field::Wd, *wd);
            record.maybe(Field::How, fd.is_none().then_some("vanished"));
        }
        EventKind::DescriptorClosed { fd, left, .. } => {
            record.set(Field::Fd, *fd);
            record.set(Field::Left, *left);
        }
        EventKind::InstanceHeld { left, .. } => record.set(Field::Left, *left),
        EventKind::QueueOverflowed { queued, limit, was_seen, .. } => {
            record
                .maybe(Field::Fd, subject.and_then(|it| it.descriptors().first()).map(|it| it.fd));
            record.set(Field::Queued, *queued);
            record.maybe(Field::QueueLimit, (*limit > 0).then_some(*limit));
            record.set(Field::How, if *was_seen { "seen" } else { "found" });
        }
        EventKind::InstanceReleased { fd, .. } => {
            let leaver = subject.and_then(|instance| instance.ended_by);
            record.maybe(Field::Fd, fd.or(leaver.and_then(|leaver| leaver.fd)));
            record.set(Field::How, ending(subject));
            record.maybe(Field::LivedNs, lived(event, subject));
            record.maybe(Field::Watches, subject.map(|it| it.watches().len() as u64));
        }
        EventKind::RangeClosed { first, last } => {
            record.set(Field::First, *first);
            record.set(Field::Last, *last);
        }
        EventKind::ProcessForked { child } => record.set(Field::Child, *child),
        EventKind::ProcessExec { kept } => record.maybe(Field::Kept, kept.as_deref()),
        EventKind::ProcessExited => {}
        EventKind::CgroupFound { cgroup, path }
        | EventKind::CgroupCreated { cgroup, path }
        | EventKind::CgroupRenamed { cgroup, path } => {
            target_cgroup(record, *cgroup, tracker);
            record.set(Field::TargetCgroup, &**path);
        }
        EventKind::ContainerNamed { cgroup, .. } | EventKind::CgroupRemoved { cgroup } => {
            target_cgroup(record, *cgroup, tracker);
        }
        EventKind::ShimIdentified { id, namespace, version } => {
            record.set(Field::TargetContainerId, &**id);
            pod_of(record, id, tracker);
            record.set(Field::ContainerdNamespace, &**namespace);
            record.maybe(Field::ContainerdVersion, version.as_deref());
        }
        EventKind::ProgramIdentified { exe, arguments } => {
            record.maybe(Field::Exe, exe.as_deref());
            record.maybe(Field::Arguments, (!arguments.is_empty()).then(|| arguments.join(" ")));
        }
        EventKind::Charged { charges } => {
            // The quota that binds the charged user, at any level of user namespaces.
            let payer = charges.first().map(|&charge| User::from(charge));
            let users = tracker.users();
            let instances = payer.and_then(|payer| users.binding(payer, Resource::Instances));
            quota(record, context, instances, Resource::Instances);
            record.set(Field::Charges, charges.iter().map(charge).collect::<Vec<_>>());
        }
        EventKind::Lost { count, what } => {
            record.set(Field::LostCount, *count);
            record.set(Field::LostWhat, name(*what));
        }
    }
}

/// Adds the culprits of a refusal.
pub(crate) fn culprits(record: &mut Record<'_>, culprits: &Culprits, tracker: &Tracker) {
    let culprit = |it: &inotify_trace_model::usage::Culprit| {
        let holder = Holder::of(it.pid, tracker);
        let mut fields = Map::new();
        let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        add("pid", it.pid.into());
        if let Some(comm) = holder.comm {
            add("comm", json!(comm.to_str()));
        }
        let task = tracker.process(it.pid).map(|process| process.task);
        let cgroup = task.and_then(|task| tracker.cgroups().get(task.cgroup));
        if let Some(container) = cgroup.and_then(|cgroup| cgroup.container.as_ref()) {
            add("container", objects::container(container, tracker));
        }
        if let Some(served) = &holder.serves {
            add("shim", objects::shim(served).into());
        }
        add("count", it.count.into());
        add("shared", it.shared.into());
        Value::Object(fields)
    };
    let named: Vec<_> = culprits.holders.iter().take(NAMED).map(culprit).collect();
    record.set(Field::Culprits, named);
    let shares = shares(culprits, tracker, NAMED);
    let named: Vec<_> = shares.iter().take(NAMED).map(|it| share(it, tracker)).collect();
    record.set(Field::CulpritGroups, named);
    record.set(Field::NotVisible, culprits.unseen);
}

/// A share of a quota, with all its processes.
fn share(share: &Share, tracker: &Tracker) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    if let Some(comm) = share.comm {
        add("comm", json!(comm.to_str()));
    }
    match &share.place {
        Place::Container(container) => add("container", objects::container(container, tracker)),
        Place::Cgroup(cgroup) => {
            if let Some(cgroup) = tracker.cgroups().get(*cgroup) {
                add("cgroup", (*cgroup.path).into());
            }
        }
        Place::Several(places) => add("places", (*places).into()),
        Place::Pods(pods) => add("pods", (*pods).into()),
        Place::Containers(containers) => add("containers", (*containers).into()),
        Place::Shims => {}
    }
    add("processes", share.pids.len().into());
    add("count", share.count.into());
    add("shared", share.shared.into());
    Value::Object(fields)
}

/// Adds a quota: its count, its limit, and the user who is charged.
fn quota<'a>(record: &mut Record<'a>, context: &Context, quota: Option<Quota>, counted: Resource) {
    let Some(quota) = quota else { return };
    record.set(Field::Counted, counted.name());
    record.set(Field::Used, quota.used);
    record.set(Field::Limit, quota.limit);
    record.set(Field::ChargedUid, quota.uid);
    record.set(Field::ChargedUser, context.users.payer(User::from(quota)));
    record.set(Field::ChargedUserns, quota.userns);
    if quota.level > 0 {
        let payer = User::payer(quota);
        record.set(Field::LimitLevel, quota.level);
        record.set(Field::PayerUid, payer.uid);
        record.set(Field::PayerUser, context.users.payer(payer));
        record.set(Field::PayerUserns, payer.userns);
    }
}

/// Adds the fields of a watch's target.
fn on<'a>(record: &mut Record<'a>, target: &'a Target, tracker: &'a Tracker) {
    record.maybe(Field::Path, target.path.as_deref());
    record.maybe(Field::Resolved, target.resolved.as_deref());
    record.maybe(Field::PathUnknown, target.silence.map(Silence::name));
    record.maybe(Field::Gone, target.is_gone.then_some(true));
    record.maybe(Field::Inode, (target.inode != 0).then_some(target.inode));
    record.maybe(Field::Dev, (target.dev != 0).then(|| device(target.dev)));
    target_cgroup(record, target.cgroup, tracker);
}

pub(super) fn target_cgroup<'a>(record: &mut Record<'a>, cgroup: CgroupId, tracker: &'a Tracker) {
    record.maybe(Field::TargetCgroupId, cgroup.known().map(|it| it.0));
    place(record, cgroup, tracker, &TARGET);
}

/// The charge of one user.
fn charge(charge: &Charge) -> Value {
    let mut fields = Map::new();
    fields.insert("uid".to_owned(), charge.uid.into());
    fields.insert("userns".to_owned(), charge.userns.into());
    for resource in Resource::ALL {
        if let Some(Level { used, limit }) = charge.of(resource) {
            let [name_of_used, name_of_limit, _] = objects::names_of_level(resource);
            fields.insert(name_of_used.to_owned(), used.into());
            fields.insert(name_of_limit.to_owned(), limit.into());
        }
    }
    fields.into()
}

/// A name that is also part of other JSON.
fn name(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        // Names are strings.
        _ => String::new(),
    }
}
