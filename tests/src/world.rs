//! The expected state: the holders and descriptors of each instance, and the charged users.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use serde_json::{Map, Value, json};

use crate::{
    actor::Actor,
    backend::Backend,
    cgroup,
    expected::{self, ANY, End, Expected},
    process::Process,
    subject::Subject,
    system,
};

/// Processes under test, their actions, and the expected events.
#[derive(Clone, Debug, Default)]
pub struct World(pub(crate) Rc<RefCell<Ledger>>);

/// A charged user, with limits and charges.
#[derive(Clone, Copy, Debug)]
pub struct Payer {
    /// The user id in the initial user namespace.
    pub uid: u32,
    /// The inode number of the user namespace.
    pub userns: u64,
    /// How many namespaces above `userns` the limit is set.
    pub level: u32,
    /// The user who pays there, and the user namespace: at level 0 the user itself.
    pub binding: (u32, u64),
    /// The limit on instances.
    pub max_instances: u32,
    /// The limit on watches.
    pub max_watches: u32,
    /// The user in the parent namespace, who is charged too.
    pub above: Option<usize>,
    /// The number of charged instances.
    pub instances: u32,
    /// The number of charged watches.
    pub watches: u32,
}

/// The inotify descriptors of one process.
type Table = BTreeMap<i32, Descriptor>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) instance: usize,
    pub(crate) cloexec: bool,
    pub(crate) nonblock: bool,
}

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) payer: usize,
    references: u32,
    /// The expected fdinfo, by watch descriptor.
    pub(crate) watches: BTreeMap<i32, Map<String, Value>>,
    /// When the instance was created, if tracing had started.
    born: Option<(u64, u64)>,
}

/// How a descriptor was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By close(2): the agent sees it at once.
    Close,
    /// By close_range(2).
    Range,
    Exec,
    Exit,
    /// In a way the agent cannot see: it reports only the end of the instance.
    Unseen,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    expected: Vec<Expected>,
    pub(crate) pids: HashSet<u32>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) payers: Vec<Payer>,
    pub(crate) tables: BTreeMap<u32, Table>,
    pub(crate) actors: BTreeMap<u32, Actor>,
    /// Processes that have held an instance.
    pub(crate) holders: HashSet<u32>,
}

impl World {
    /// A world without processes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a process of a user without charges.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let mut subject = self.subject_of_root();
        subject.become_another();
        subject
    }

    /// Starts a process of root. The test does not know root's charges, so no instance of this
    /// process may be expected.
    #[must_use]
    pub fn subject_of_root(&self) -> Subject {
        let mut process = Process::start();
        // The process needs more files than instances, whatever its own limits. Where the machine
        // does not allow so many, the test that reaches the limit reports it.
        let instances = system::number_in("/proc/sys/fs/inotify/max_user_instances");
        let _ = process.call(&format!("open_files {}", u64::from(instances) + 1000));
        let cgroup = cgroup::of_process(process.pid);
        let actor = Actor {
            pid: process.pid,
            tid: process.tid,
            uid: 0,
            comm: "workload".to_owned(),
            cgroup,
            container: None,
        };
        self.adopt(process, actor, usize::MAX)
    }

    pub(crate) fn adopt(&self, process: Process, actor: Actor, payer: usize) -> Subject {
        let mut ledger = self.0.borrow_mut();
        ledger.pids.insert(process.pid);
        ledger.actors.insert(process.pid, actor.clone());
        drop(ledger);
        Subject { process, world: self.clone(), actor, payer }
    }

    pub(crate) fn update(&self, actor: &Actor) {
        self.0.borrow_mut().actors.insert(actor.pid, actor.clone());
    }

    /// Adds a charged user, with the machine's limits.
    #[must_use]
    pub fn payer(&self, uid: u32, userns: u64, level: u32) -> usize {
        let mut ledger = self.0.borrow_mut();
        ledger.payers.push(Payer {
            uid,
            userns,
            level,
            binding: (uid, if level == 0 { userns } else { system::INITIAL_USERNS }),
            max_instances: system::number_in("/proc/sys/fs/inotify/max_user_instances"),
            max_watches: system::number_in("/proc/sys/fs/inotify/max_user_watches"),
            above: None,
            instances: 0,
            watches: 0,
        });
        ledger.payers.len() - 1
    }

    /// A charged user.
    #[must_use]
    pub fn payer_at(&self, payer: usize) -> Payer {
        self.0.borrow().payers[payer]
    }

    /// Changes the limits or charges of a user.
    pub fn change_payer(&self, payer: usize, change: impl FnOnce(&mut Payer)) {
        change(&mut self.0.borrow_mut().payers[payer]);
    }

    /// Starts tracing: the agent reports no earlier action, and finds every existing instance.
    pub fn traced_from_now(&self) {
        let mut ledger = self.0.borrow_mut();
        let ledger = &mut *ledger;
        ledger.expected.clear();
        ledger.holders = ledger.tables.keys().copied().collect();
        let now = system::boot_ns();
        let mut expect = |fields, instance| {
            let time = (now, u64::MAX);
            let instance = Some(instance);
            let (ordered, lived, used, end) = (false, None, None, None);
            ledger.expected.push(Expected { fields, instance, ordered, time, lived, used, end });
        };
        for (pid, table) in &ledger.tables {
            for (fd, descriptor) in table {
                let payer = &ledger.payers[ledger.instances[descriptor.instance].payer];
                let mut fields = ledger.actors[pid].fields("found");
                fields.extend(payer.fields(payer.instances, payer.max_instances));
                fields.insert("tid".to_owned(), json!(pid));
                fields.insert("fd".to_owned(), json!(fd));
                fields.insert("flags".to_owned(), descriptor.flags());
                fields.insert("queued".to_owned(), json!(0));
                // The memory controller's cgroup, which may be one of v1.
                fields.insert("creator_cgroup_id".to_owned(), json!(ANY));
                expect(fields, descriptor.instance);
            }
        }
        for (number, instance) in ledger.instances.iter_mut().enumerate() {
            instance.born = None;
            if instance.references == 0 {
                continue;
            }
            let holders = ledger.tables.iter().filter(|(_, table)| {
                table.values().any(|descriptor| descriptor.instance == number)
            });
            let holders: Vec<_> = holders.map(|(pid, _)| &ledger.actors[pid]).collect();
            for (wd, target) in &instance.watches {
                let mut fields = target.clone();
                // The one that holds the instance, or any of several.
                if let Some(actor) = holders.first() {
                    let is_any = |name: &str| holders.len() > 1 && name != "event";
                    fields.extend(actor.fields("watch-found").into_iter().map(|(name, value)| {
                        let value = if is_any(&name) { json!(ANY) } else { value };
                        (name, value)
                    }));
                }
                fields.insert("event".to_owned(), json!("watch-found"));
                fields.insert("wd".to_owned(), json!(wd));
                // A recording has the full path, whatever path the program passed.
                let called = fields.remove("path");
                let called = called.as_ref().and_then(Value::as_str);
                if let Some(Ok(path)) = called.map(std::fs::canonicalize) {
                    fields.insert("path".to_owned(), json!(path.to_string_lossy()));
                }
                expect(fields, number);
            }
        }
    }

    /// The number of expected events.
    #[must_use]
    pub fn expected_count(&self, backend: Backend) -> usize {
        backend.tells(&self.0.borrow().expected).len()
    }

    /// The number of events about this world.
    #[must_use]
    pub fn count_of(&self, events: &[Value]) -> usize {
        self.0.borrow().of_interest(events).len()
    }

    /// Compares the events about this world with its actions.
    ///
    /// # Errors
    /// The first difference.
    pub fn compare(&self, events: &[Value], backend: Backend) -> Result<(), String> {
        let ledger = self.0.borrow();
        let expected = backend.tells(&ledger.expected);
        expected::compare(&expected, &ledger.of_interest(events))
    }
}

impl Descriptor {
    pub(crate) fn new(instance: usize, cloexec: bool, nonblock: bool) -> Self {
        Self { instance, cloexec, nonblock }
    }

    pub(crate) fn flags(self) -> Value {
        let flags = [(self.nonblock, "nonblock"), (self.cloexec, "cloexec")];
        flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
    }
}

impl Payer {
    pub(crate) fn fields(&self, used: u32, limit: u32) -> Map<String, Value> {
        let mut fields = object(json!({
            "used": used,
            "limit": limit,
            "charged_uid": self.uid,
            "charged_userns": self.userns,
        }));
        if self.level > 0 {
            fields.insert("limit_level".to_owned(), json!(self.level));
            fields.insert("payer_uid".to_owned(), json!(self.binding.0));
            fields.insert("payer_userns".to_owned(), json!(self.binding.1));
        }
        fields
    }
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => panic!("no object: {other}"),
    }
}

impl Ledger {
    /// The events about the processes, and about the instances they created or held.
    fn of_interest<'a>(&self, events: &'a [Value]) -> Vec<&'a Value> {
        let ours = |event: &Value| {
            event["pid"]
                .as_u64()
                .and_then(|pid| u32::try_from(pid).ok())
                .is_some_and(|pid| self.pids.contains(&pid))
        };
        let begins = |event: &&Value| event["event"] == "create" || event["event"] == "found";
        let begun = events.iter().filter(begins).filter(|event| ours(event));
        let instances: HashSet<u64> = begun.flat_map(|event| event["instance"].as_u64()).collect();
        let about = |event: &Value| {
            event["instance"].as_u64().is_some_and(|instance| instances.contains(&instance))
        };
        // What a process runs is read when the agent comes to it, if it still runs: a test of its own
        // is about that.
        let events = events.iter().filter(|event| event["event"] != "program");
        events.filter(|event| ours(event) || about(event)).collect()
    }

    pub(crate) fn expect(
        &mut self,
        fields: Map<String, Value>,
        instance: Option<usize>,
        time: (u64, u64),
    ) {
        let (ordered, lived, used, end) = (true, None, None, None);
        self.expected.push(Expected { fields, instance, ordered, time, lived, used, end });
    }

    /// Adds a new instance.
    pub(crate) fn begin(&mut self, payer: usize, time: (u64, u64)) -> usize {
        self.payers[payer].instances += 1;
        let watches = BTreeMap::new();
        self.instances.push(Instance { payer, references: 1, watches, born: Some(time) });
        self.instances.len() - 1
    }

    pub(crate) fn instances_quota(&self, payer: usize) -> Map<String, Value> {
        let Some(payer) = self.payers.get(payer) else { return Map::new() };
        payer.fields(payer.instances, payer.max_instances)
    }

    pub(crate) fn watches_quota(&self, instance: usize) -> Map<String, Value> {
        let payer = &self.payers[self.instances[instance].payer];
        payer.fields(payer.watches, payer.max_watches)
    }

    pub(crate) fn add_watch(&mut self, instance: usize, wd: i32, target: Map<String, Value>) {
        let instance = &mut self.instances[instance];
        if instance.watches.insert(wd, target).is_none() {
            self.payers[instance.payer].watches += 1;
        }
    }

    pub(crate) fn remove_watch(&mut self, instance: usize, wd: i32) {
        let instance = &mut self.instances[instance];
        if instance.watches.remove(&wd).is_some() {
            self.payers[instance.payer].watches -= 1;
        }
    }

    pub(crate) fn refer(&mut self, instance: usize) {
        self.instances[instance].references += 1;
    }

    /// Removes a descriptor of `actor`, or another reference.
    pub(crate) fn leave(
        &mut self,
        actor: &Actor,
        fd: i32,
        instance: usize,
        way: Way,
        time: (u64, u64),
    ) {
        let it = &mut self.instances[instance];
        it.references -= 1;
        let left = it.references;
        if left > 0 {
            if way == Way::Close {
                let mut fields = actor.fields("close");
                fields.extend(self.instances_quota(self.instances[instance].payer));
                fields.extend(object(json!({ "fd": fd, "left": left })));
                self.expect(fields, Some(instance), time);
            }
            return;
        }
        let watches = it.watches.len();
        let (payer, born) = (it.payer, it.born);
        let paid = &mut self.payers[payer];
        paid.instances -= 1;
        paid.watches -= u32::try_from(watches).expect("few watches");
        let mut fields = actor.fields("release");
        fields.extend(self.instances_quota(payer));
        fields.extend(object(json!({ "fd": fd, "watches": watches, "how": match way {
            Way::Close | Way::Range => "closed",
            Way::Exec => "exec",
            Way::Exit => "exit",
            Way::Unseen => ANY,
        } })));
        if way == Way::Unseen {
            for field in ["pid", "tid", "uid", "comm", "cgroup", "cgroup_id", "container", "fd"] {
                fields.insert(field.to_owned(), json!(ANY));
            }
        }
        let ordered = way == Way::Close;
        // The agent reads the charge when it notices the end: the kernel may not have lowered it
        // yet, or may have dropped a user without charges.
        let used = (!ordered).then(|| {
            for field in ["used", "limit", "charged_uid", "charged_userns"] {
                fields.insert(field.to_owned(), json!(ANY));
            }
            for field in ["limit_level", "payer_uid", "payer_userns"] {
                fields.insert(field.to_owned(), json!(ANY));
            }
            let now = self.payers[payer].instances;
            (now, now + 1)
        });
        let latest = if ordered { time.1 } else { u64::MAX };
        // The instance ended with the close, even if the agent reports the end later.
        let lived_at_most = |born: u64| if way == Way::Unseen { u64::MAX } else { time.1 - born };
        let lived_at_least = |born: u64| if way == Way::Unseen { 0 } else { time.0 - born };
        let lived = born.map(|(first, last)| (lived_at_least(last), lived_at_most(first)));
        let end = End {
            by: actor.fields("release"),
            time,
            lived: born.map(|(first, last)| (time.0 - last, time.1 - first)),
        };
        self.expected.push(Expected {
            fields,
            instance: Some(instance),
            ordered,
            time: (time.0, latest),
            lived,
            used,
            end: Some(end),
        });
    }

    /// Lets several ends that happen at once come in any order.
    pub(crate) fn blur_used(&mut self, since: usize) {
        let ranges = self.expected[since..].iter().filter_map(|it| it.used);
        let Some(all) = ranges.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return };
        for used in self.expected[since..].iter_mut().flat_map(|it| &mut it.used) {
            *used = all;
        }
    }

    pub(crate) fn expected_so_far(&self) -> usize {
        self.expected.len()
    }
}
