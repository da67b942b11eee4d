//! The fields of events and findings: one table, from which JSON lines, CSV and Parquet are written.
//!
//! docs/fields.md documents each, and a test holds it to this table. [`event`] and [`finding`] say
//! which value a field has.

mod event;
mod finding;
mod json;
mod objects;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use event::{culprits, event};
pub(crate) use finding::{evidence, finding, leaked};
pub(crate) use objects::{container, standing, user};
pub use record::{Record, Row, Value};

use inotify_trace_model::{
    clock::Clock,
    event::{BootTime, Task},
    tracker::{Summary, Tracker},
};

use super::UserNames;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A point in time: nanoseconds since 1970, UTC. In JSON, RFC 3339.
    Time,
    /// True or false.
    Bool,
    /// A number that may be negative, of 32 bits.
    I32,
    /// A number of 32 bits.
    U32,
    /// A number of 64 bits.
    U64,
    /// A number with a fraction.
    F64,
    /// Text.
    Text,
    /// Several names. In columns one text, with commas between them.
    Names,
    /// Several numbers; in lines only.
    Numbers,
    /// An object; in lines only.
    Object,
    /// Several objects; in lines only.
    Objects,
}

/// Where a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In JSON lines and in columns.
    Both,
    /// In JSON lines only.
    Lines,
    /// In columns only.
    Columns,
}

macro_rules! fields {
    ($($variant:ident $name:literal $kind:ident $form:ident $($object:literal $key:literal)?;)*) => {
        /// A field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "docs/fields.md says what each means")]
        pub enum Field { $($variant,)* }

        impl Field {
            /// All fields, in their order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it holds.
            #[must_use]
            pub fn kind(self) -> Type {
                match self { $(Self::$variant => Type::$kind,)* }
            }

            /// Where it is written.
            #[must_use]
            pub fn form(self) -> Form {
                match self { $(Self::$variant => Form::$form,)* }
            }

            /// The JSON object that has the field, and the field's name there; None if it is in no
            /// object.
            #[must_use]
            pub fn object(self) -> Option<(&'static str, &'static str)> {
                match self {
                    $($(Self::$variant => Some(($object, $key)),)?)*
                    _ => None,
                }
            }
        }
    };
}

// Those of one object must stand together.
fields! {
    Time "time" Time Both;
    BootNs "boot_ns" U64 Both;
    Node "node" Text Both;
    Machine "machine" Text Both;
    BootId "boot_id" Text Both;
    Run "run" Text Both;
    Event "event" Text Both;
    Pid "pid" U32 Both;
    Tid "tid" U32 Both;
    Uid "uid" U32 Both;
    Comm "comm" Text Both;
    Thread "thread" Text Both;
    CgroupId "cgroup_id" U64 Both;
    Cgroup "cgroup" Text Both;
    ContainerId "container_id" Text Both "container" "id";
    ContainerRuntime "container_runtime" Text Both "container" "runtime";
    ContainerName "container_name" Text Both "container" "name";
    PodUid "pod_uid" Text Both "container" "pod";
    PodName "pod_name" Text Both "container" "pod_name";
    Namespace "namespace" Text Both "container" "namespace";
    Image "image" Text Both "container" "image";
    Qos "qos" Text Lines "container" "qos";
    IsSandbox "is_sandbox" Bool Lines "container" "is_sandbox";
    ContainerOuter "container_outer" Text Both "container" "outer";
    Instance "instance" U64 Both;
    Fd "fd" I32 Both;
    Wd "wd" I32 Both;
    Flags "flags" Names Both;
    Mask "mask" Names Both;
    Path "path" Text Both;
    Resolved "resolved" Text Both;
    PathUnknown "path_unknown" Text Both;
    Gone "gone" Bool Both;
    Inode "inode" U64 Both;
    Dev "dev" Text Both;
    TargetCgroupId "target_cgroup_id" U64 Both;
    TargetCgroup "target_cgroup" Text Both;
    TargetContainerId "target_container_id" Text Both "target_container" "id";
    TargetContainerRuntime "target_container_runtime" Text Both "target_container" "runtime";
    TargetContainerName "target_container_name" Text Both "target_container" "name";
    TargetPodUid "target_pod_uid" Text Both "target_container" "pod";
    TargetPodName "target_pod_name" Text Both "target_container" "pod_name";
    TargetNamespace "target_namespace" Text Both "target_container" "namespace";
    TargetImage "target_image" Text Both "target_container" "image";
    TargetQos "target_qos" Text Lines "target_container" "qos";
    TargetIsSandbox "target_is_sandbox" Bool Lines "target_container" "is_sandbox";
    TargetContainerOuter "target_container_outer" Text Both "target_container" "outer";
    Errno "errno" Text Both;
    LimitHit "limit_hit" Text Both;
    Counted "counted" Text Columns;
    Used "used" U32 Both;
    Limit "limit" U32 Both;
    ChargedUid "charged_uid" U32 Both;
    ChargedUser "charged_user" Text Columns;
    ChargedUserns "charged_userns" U32 Both;
    LimitLevel "limit_level" U32 Lines;
    PayerUid "payer_uid" U32 Both;
    PayerUser "payer_user" Text Columns;
    PayerUserns "payer_userns" U32 Both;
    FilesUsed "files_used" U64 Both;
    FilesLimit "files_limit" U64 Both;
    Culprits "culprits" Objects Lines;
    CulpritGroups "culprit_groups" Objects Lines;
    NotVisible "not_visible" U32 Lines;
    How "how" Text Both;
    LivedNs "lived_ns" U64 Both;
    Watches "watches" U64 Both;
    CreatorCgroupId "creator_cgroup_id" U64 Both;
    Left "left" U32 Both;
    Queued "queued" U32 Both;
    QueueLimit "queue_limit" U32 Both;
    First "first" I32 Both;
    Last "last" I32 Both;
    Child "child" U32 Both;
    Kept "kept" Numbers Lines;
    Charges "charges" Objects Lines;
    ContainerdNamespace "containerd_namespace" Text Lines;
    ContainerdVersion "containerd_version" Text Both;
    Exe "exe" Text Both;
    Arguments "arguments" Text Both;
    LostCount "lost_count" U64 Both;
    LostWhat "lost_what" Text Both;
    Verdict "verdict" Text Both;
    Leak "leak" Bool Lines;
    Pattern "pattern" Text Both;
    VersionHasIt "version_has_it" Bool Lines;
    FixedIn "fixed_in" Text Lines;
    Source "source" Text Lines;
    Instances "instances" U64 Both;
    Processes "processes" U64 Both;
    LooksUsed "looks_used" Bool Lines;
    Since "since" Time Both;
    WasFound "was_found" Bool Both;
    Certain "certain" Bool Both;
    PerMinute "per_minute" F64 Both;
    SecondsLeft "seconds_left" U64 Lines;
    ContainersEnded "containers_ended" U64 Lines;
    PerRestart "per_restart" F64 Lines;
    PerRestartInferred "per_restart_inferred" Bool Lines;
    RestartsLeft "restarts_left" U32 Lines;
    Remedy "remedy" Text Lines;
    Shim "shim" Object Lines;
    Evidence "evidence" Objects Lines;
    Events "events" Object Lines;
    Open "open" U64 Lines;
    Lost "lost" Object Lines;
}

impl Field {
    /// Those that are columns of CSV and Parquet, in their order.
    pub fn columns() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|it| it.form() != Form::Lines)
    }
}

/// The facts that all records of a run share.
#[derive(Clone, Debug)]
pub struct Context {
    /// The machine's clock.
    pub clock: Clock,
    /// The names of its users; only columns show them.
    pub users: UserNames,
    /// The run; None where there is only one.
    pub run: Option<Run>,
}

/// The run that a record belongs to.
#[derive(Clone, Debug)]
pub struct Run {
    /// The machine.
    pub node: String,
    /// A hash of the machine's id; empty if unknown.
    pub machine: String,
    /// The id of the machine's boot.
    pub boot_id: String,
    /// The run of the recorder.
    pub id: String,
}

impl Context {
    /// A context without a run.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, users: UserNames::default(), run: None }
    }

    /// A record without a time.
    fn record(&self) -> Record<'_> {
        let mut record = Record::default();
        if let Some(Run { node, machine, boot_id, id }) = &self.run {
            record.set(Field::Node, &**node);
            record.maybe(Field::Machine, (!machine.is_empty()).then_some(&**machine));
            record.set(Field::BootId, &**boot_id);
            record.set(Field::Run, &**id);
        }
        record
    }

    fn record_at(&self, time: BootTime) -> Record<'_> {
        let mut record = self.record();
        record.set(Field::Time, self.clock.timestamp(time));
        record.set(Field::BootNs, time.0);
        record
    }
}

/// The record of the summary of a run.
pub(crate) fn summary<'a>(context: &'a Context, summary: &Summary) -> Record<'a> {
    let Summary { events, open, lost } = summary;
    let mut record = context.record();
    record.set(Field::Event, "summary");
    record.set(Field::Events, objects::counts(events.iter().map(|(name, n)| (name.as_str(), *n))));
    record.set(Field::Open, *open as u64);
    record.set(Field::Lost, objects::counts(lost.iter().map(|(what, n)| (*what, *n))));
    record
}

/// Sets the fields of the task.
fn task<'a>(record: &mut Record<'a>, task: Option<Task>, tracker: &'a Tracker) {
    let Some(task) = task else { return };
    record.set(Field::Pid, task.pid);
    record.set(Field::Tid, task.tid);
    record.set(Field::Uid, task.uid);
    record.set(Field::Comm, task.comm.to_str().into_owned());
    record.maybe(Field::Thread, task.thread.map(|thread| thread.to_str().into_owned()));
    record.maybe(Field::CgroupId, task.cgroup.known().map(|it| it.0));
    objects::place(record, task.cgroup, tracker, &objects::TASK);
}
