//! Objects that have the same fields wherever they are: containers, users, shims.

use inotify_trace_model::{
    event::CgroupId,
    findings::Served,
    identity::{Container, Names},
    resource::Resource,
    tracker::{Tracker, User},
    usage::Standing,
};
use serde_json::{Map, Value, json};

use super::{Field, Record, json::Object};
use crate::output::UserNames;

/// The fields of a cgroup, in this order: its path; its container's id, runtime and name; its pod's
/// uid, name and namespace; its image; its class; whether it is a sandbox; the container it runs in.
pub(super) type Place = [Field; 11];

pub(super) const TASK: Place = [
    Field::Cgroup,
    Field::ContainerId,
    Field::ContainerRuntime,
    Field::ContainerName,
    Field::PodUid,
    Field::PodName,
    Field::Namespace,
    Field::Image,
    Field::Qos,
    Field::IsSandbox,
    Field::ContainerOuter,
];

pub(super) const TARGET: Place = [
    Field::TargetCgroup,
    Field::TargetContainerId,
    Field::TargetContainerRuntime,
    Field::TargetContainerName,
    Field::TargetPodUid,
    Field::TargetPodName,
    Field::TargetNamespace,
    Field::TargetImage,
    Field::TargetQos,
    Field::TargetIsSandbox,
    Field::TargetContainerOuter,
];

/// Sets the fields of a cgroup.
pub(super) fn place<'a>(
    record: &mut Record<'a>,
    cgroup: CgroupId,
    tracker: &'a Tracker,
    fields: &Place,
) {
    let Some(cgroup) = tracker.cgroups().get(cgroup) else { return };
    record.set(fields[0], &*cgroup.path);
    if let Some(container) = &cgroup.container {
        of_container(record, container, tracker, fields);
    }
}

fn of_container<'a>(
    record: &mut Record<'a>,
    container: &'a Container,
    tracker: &'a Tracker,
    fields: &Place,
) {
    let [_, id, runtime, _, pod, .., qos, _, outer] = *fields;
    record.set(id, &*container.id);
    record.maybe(runtime, container.runtime.map(|it| it.as_str()));
    record.maybe(pod, container.pod.as_ref().map(|it| it.as_str()));
    record.maybe(qos, container.qos.map(|it| it.as_str()));
    let of_outer = |outer: &_| tracker.cgroups().display_container(outer);
    record.maybe(outer, container.outer.as_deref().map(of_outer));
    if let Some(names) = tracker.cgroups().names(container) {
        of_names(record, names, fields);
    }
}

fn of_names<'a>(record: &mut Record<'a>, names: &'a Names, fields: &Place) {
    let [_, _, _, name, _, pod_name, namespace, image, _, is_sandbox, _] = *fields;
    record.maybe(name, names.name.as_deref());
    record.maybe(pod_name, names.pod_name.as_deref());
    record.maybe(namespace, names.namespace.as_deref());
    record.maybe(image, names.image.as_deref());
    record.maybe(is_sandbox, names.is_sandbox.then_some(true));
}

/// The pod of a shim's container: the names of the shim's own container are a sandbox's.
pub(super) fn pod_of<'a>(record: &mut Record<'a>, container: &str, tracker: &'a Tracker) {
    let Some(names) = tracker.cgroups().names_of(container) else { return };
    record.maybe(Field::TargetPodName, names.pod_name.as_deref());
    record.maybe(Field::TargetNamespace, names.namespace.as_deref());
}

/// A container, with the same fields everywhere.
pub(crate) fn container(container: &Container, tracker: &Tracker) -> Value {
    let mut record = Record::default();
    of_container(&mut record, container, tracker, &TASK);
    json!(Object { record: &record, name: "container" })
}

/// A user who is charged.
pub(crate) fn user(user: User, names: &UserNames) -> Value {
    let mut fields = Map::new();
    fields.extend(names.get(user.uid).map(|name| ("name".to_owned(), name.into())));
    fields.insert("uid".to_owned(), user.uid.into());
    fields.insert("userns".to_owned(), user.userns.into());
    fields.into()
}

/// The names of a user's charge, of its limit, and of the share.
pub(super) fn names_of_level(resource: Resource) -> [&'static str; 3] {
    match resource {
        Resource::Instances => ["used", "limit", "percent"],
        Resource::Watches => ["watches_used", "watch_limit", "watch_percent"],
    }
}

/// A user's charges and limits, and the other users who are charged too.
pub(crate) fn standing(user: User, standing: &Standing, names: &UserNames) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("user".to_owned(), self::user(user, names));
    let levels = [standing.instances, standing.watches];
    for (resource, level) in Resource::ALL.into_iter().zip(levels) {
        let Some(level) = level else { continue };
        let values: [Value; 3] = [level.used.into(), level.limit.into(), level.percent().into()];
        let named = names_of_level(resource).into_iter().zip(values);
        fields.extend(named.map(|(name, value)| (name.to_owned(), value)));
    }
    let payers = standing.payers.iter().map(|payer| self::user(*payer, names)).collect();
    fields.insert("payers".to_owned(), payers);
    fields
}

/// The container of a shim.
pub(super) fn shim(served: &Served) -> Map<String, Value> {
    let mut record = Record::default();
    record.set(Field::ContainerId, &*served.shim.id);
    if let Some(names) = &served.names {
        of_names(&mut record, names, &TASK);
    }
    let mut fields = Map::new();
    let container = json!(Object { record: &record, name: "container" });
    fields.insert("container".to_owned(), container);
    fields.insert(Field::ContainerdNamespace.name().to_owned(), (*served.shim.namespace).into());
    if let Some(version) = served.shim.version.as_deref() {
        fields.insert(Field::ContainerdVersion.name().to_owned(), version.into());
    }
    fields
}

/// The number of each kind.
pub(super) fn counts<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    counts.map(|(name, count)| (name.to_owned(), count.into())).collect()
}
