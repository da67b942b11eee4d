//! `inotify-trace list`, and its expected output for a world.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};

use crate::{
    agent, system,
    world::{Ledger, Payer, World, object},
};

/// The ways to look for existing instances.
pub const ROADS: [&[&str]; 2] = [&[], &["--walk-proc"]];

/// The keys by which rows are grouped.
const GROUPINGS: [&str; 3] = ["process", "container", "user"];

/// The output of one `inotify-trace list`.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its standard output.
    pub json: Value,
    /// Its standard error.
    pub errors: String,
    /// The command line.
    pub call: String,
}

impl Listing {
    /// Runs `list` as the user of the test.
    #[must_use]
    pub fn by(by: &str, options: &[&str]) -> Self {
        let listing = Self::run(Command::new(agent::binary()), by, options);
        assert_eq!(listing.errors, "", "nothing is hidden from root: {}", listing.call);
        listing
    }

    /// Runs `list` as another user, from a copy of the program that this user can execute.
    #[must_use]
    pub fn as_user(uid: u32, program: &Path, by: &str, options: &[&str]) -> Self {
        let mut command = Command::new(program);
        // Drops the groups of root, too.
        command.uid(uid).current_dir("/");
        Self::run(command, by, options)
    }

    /// Lists the instances of a recording.
    #[must_use]
    pub fn recorded(recording: &Path, by: &str, options: &[&str]) -> Self {
        let mut command = Command::new(agent::binary());
        command.arg("list").arg("--recording").arg(recording);
        let listing = Self::run_list(command, by, options);
        assert_eq!(listing.errors, "", "nothing is damaged: {}", listing.call);
        listing
    }

    fn run(mut command: Command, by: &str, options: &[&str]) -> Self {
        command.arg("list");
        Self::run_list(command, by, options)
    }

    fn run_list(mut command: Command, by: &str, options: &[&str]) -> Self {
        command.args(["-o", "json", "--by", by]).args(options);
        let call = format!("list --by {by} {}", options.join(" "));
        let output = command.output().expect("the agent must start");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{call}: {}: {errors}", output.status);
        let json = serde_json::from_slice(&output.stdout);
        let json = json.unwrap_or_else(|error| panic!("{call}: no JSON: {error}"));
        Self { json, errors, call }
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Value] {
        self.json["rows"].as_array().expect("there are always rows")
    }

    /// The row of a process in a listing by process.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Value> {
        self.rows().iter().find(|row| row["pid"] == pid)
    }

    /// The entry of a user.
    #[must_use]
    pub fn user(&self, uid: u32, userns: u64) -> Option<&Value> {
        let users = self.json["users"].as_array().expect("there are always users");
        users.iter().find(|user| user["user"]["uid"] == uid && user["user"]["userns"] == userns)
    }

    /// Checks that all sums agree.
    fn check_sums(&self) {
        let sum = |field: &str| {
            self.rows().iter().map(|row| row[field].as_u64().unwrap_or_default()).sum::<u64>()
        };
        let total = &self.json["total"];
        assert_eq!(total["instances"], self.rows().len(), "{}", self.call);
        assert_eq!(total["watches"], sum("watches"), "{}", self.call);
        assert_eq!(total["fds"], sum("fds"), "{}", self.call);
    }
}

/// An instance with holders.
#[derive(Clone, Debug)]
struct Held {
    instance: usize,
    /// The number of descriptors of each process.
    holders: BTreeMap<u32, u64>,
}

/// The expected row of a group.
#[derive(Debug, Default)]
struct Sum {
    instances: u64,
    watches: u64,
    fds: u64,
    shared: u64,
    processes: BTreeSet<u32>,
    users: BTreeMap<(u64, u32), Value>,
}

impl World {
    /// Lists in every way, and compares each listing with the expected one.
    ///
    /// # Panics
    /// With the first difference.
    pub fn check_listings(&self) {
        let ledger = self.0.borrow();
        // Each way must find the same instances, one by one; the grouping does not depend on it.
        for road in ROADS {
            let by_instance = Listing::by("instance", &[road, &["--watches"]].concat());
            ledger.check_instances(&by_instance);
            ledger.check_users(&by_instance);
        }
        if system::is_emulated() {
            // The kernel's data has been checked; the grouping is the same code everywhere.
            ledger.check_grouped(&["process"], |by| Listing::by(by, &[]));
        } else {
            ledger.check_grouped(&GROUPINGS, |by| Listing::by(by, &[]));
        }
    }

    /// The same for the recording so far.
    ///
    /// # Panics
    /// With the first difference.
    pub fn check_recording(&self, recording: &Path) {
        let ledger = self.0.borrow();
        ledger.check_grouped(&GROUPINGS, |by| Listing::recorded(recording, by, &[]));
    }
}

impl Ledger {
    fn check_grouped(&self, groupings: &[&str], list: impl Fn(&str) -> Listing) {
        for &by in groupings {
            let listing = list(by);
            match by {
                "process" => self.check_processes(&listing),
                "container" => self.check_containers(&listing),
                _ => self.check_user_rows(&listing),
            }
            self.check_users(&listing);
        }
    }

    fn held(&self) -> Vec<Held> {
        let mut all: BTreeMap<usize, Held> = BTreeMap::new();
        for (&pid, table) in &self.tables {
            for descriptor in table.values() {
                let instance = descriptor.instance;
                let held = all
                    .entry(instance)
                    .or_insert_with(|| Held { instance, holders: BTreeMap::new() });
                *held.holders.entry(pid).or_default() += 1;
            }
        }
        all.into_values().collect()
    }

    fn payer_of(&self, held: &Held) -> &Payer {
        &self.payers[self.instances[held.instance].payer]
    }

    fn watches_of(&self, held: &Held) -> u64 {
        self.instances[held.instance].watches.len() as u64
    }

    /// The sums over all processes with the same `key`.
    fn sums<K: Ord + Clone>(&self, key: impl Fn(u32) -> Option<K>) -> BTreeMap<K, Sum> {
        let mut sums: BTreeMap<K, Sum> = BTreeMap::new();
        for held in self.held() {
            let keys: BTreeSet<Option<K>> = held.holders.keys().map(|&pid| key(pid)).collect();
            for group in keys.iter().flatten() {
                let sum = sums.entry(group.clone()).or_default();
                sum.instances += 1;
                sum.watches += self.watches_of(&held);
                sum.shared += u64::from(keys.len() > 1);
                let payer = self.payer_of(&held);
                sum.users.insert((payer.userns, payer.uid), payer.user());
            }
            for (&pid, fds) in &held.holders {
                let Some(group) = key(pid) else { continue };
                let sum = sums.entry(group).or_default();
                sum.fds += fds;
                sum.processes.insert(pid);
            }
        }
        sums
    }

    fn check_processes(&self, listing: &Listing) {
        let mut expected = BTreeMap::new();
        for (pid, sum) in self.sums(Some) {
            let actor = &self.actors[&pid];
            let mut row = sum.fields();
            row.remove("processes");
            row.insert("comm".to_owned(), json!([actor.comm]));
            let cgroups: Vec<_> = actor.cgroup.iter().map(|(path, _)| path).collect();
            row.insert("cgroup".to_owned(), json!(cgroups));
            let pods: Vec<_> = actor.container.iter().map(|it| it["pod"].clone()).collect();
            row.insert("pod".to_owned(), json!(pods));
            expected.insert(pid, row);
        }
        let mut told = BTreeMap::new();
        for row in listing.rows() {
            let Some(pid) = number(&row["pid"]).filter(|pid| self.pids.contains(pid)) else {
                continue;
            };
            const FIELDS: [&str; 8] =
                ["instances", "watches", "fds", "shared", "user", "comm", "cgroup", "pod"];
            assert!(told.insert(pid, picked(row, &FIELDS)).is_none(), "{pid} twice");
        }
        same(listing, &expected, &told);
    }

    fn check_instances(&self, listing: &Listing) {
        listing.check_sums();
        let mut expected = Vec::new();
        for held in self.held() {
            let mut row = Map::new();
            let pids: Vec<_> = held.holders.keys().collect();
            row.insert("pid".to_owned(), json!(pids));
            row.insert("fds".to_owned(), json!(held.holders.values().sum::<u64>()));
            row.insert("watches".to_owned(), json!(self.watches_of(&held)));
            row.insert("user".to_owned(), json!([self.payer_of(&held).user()]));
            let mut targets: Vec<Value> = Vec::new();
            for (wd, target) in &self.instances[held.instance].watches {
                let mut target = target.clone();
                target.remove("path");
                target.insert("wd".to_owned(), json!(wd));
                targets.push(target.into());
            }
            row.insert("targets".to_owned(), targets.into());
            expected.push(Value::Object(row));
        }
        let paths = self.paths();
        let mut told = Vec::new();
        for row in listing.rows() {
            let pids: Vec<u32> =
                row["pid"].as_array().into_iter().flatten().flat_map(number).collect();
            if !pids.iter().any(|pid| self.pids.contains(pid)) {
                continue;
            }
            let mut row = picked(row, &["pid", "fds", "watches", "user", "targets"]);
            let targets = row["targets"].as_array_mut().expect("it was asked for watches");
            for target in targets {
                let target = target.as_object_mut().expect("a target has fields");
                target.remove("instance");
                if let Some(path) = target.remove("path") {
                    let truth = paths.get(&(target["inode"].clone(), target["dev"].clone()));
                    let path = path.as_str().map(PathBuf::from);
                    assert_eq!(path.as_ref(), truth, "{}: path of {target:?}", listing.call);
                }
            }
            told.push(Value::Object(row));
        }
        // The agent may number instances as it likes.
        expected.sort_by_key(Value::to_string);
        told.sort_by_key(Value::to_string);
        same(listing, &expected, &told);
    }

    /// Paths of targets, by inode and device.
    fn paths(&self) -> HashMap<(Value, Value), PathBuf> {
        let targets = self.instances.iter().flat_map(|instance| instance.watches.values());
        let path = |target: &Map<String, Value>| {
            let path = Path::new(target["path"].as_str()?).canonicalize().ok()?;
            Some(((target["inode"].clone(), target["dev"].clone()), path))
        };
        targets.flat_map(path).collect()
    }

    /// Checks only cgroups that tests created: other processes may use the others.
    fn check_containers(&self, listing: &Listing) {
        let of_a_test =
            |path: &str| path.contains("/inotify-trace-test") || path.contains("/cri-containerd-");
        let place = |pid: u32| {
            let cgroup = self.actors[&pid].cgroup.as_ref();
            cgroup.map(|(path, _)| path.clone()).filter(|path| of_a_test(path))
        };
        let mut expected = BTreeMap::new();
        for (path, sum) in self.sums(place) {
            let mut row = sum.fields();
            let container =
                sum.processes.first().and_then(|pid| self.actors[pid].container.as_ref());
            let field = |name: &str| container.iter().map(|it| it[name].clone()).collect();
            row.insert("runtime".to_owned(), field("runtime"));
            row.insert("pod".to_owned(), field("pod"));
            expected.insert(path, row);
        }
        let ours: BTreeSet<_> = self.actors.keys().filter_map(|&pid| place(pid)).collect();
        let mut told = BTreeMap::new();
        for row in listing.rows() {
            let path = row["cgroup"][0].as_str().unwrap_or_default().to_owned();
            if ours.contains(&path) {
                const FIELDS: [&str; 8] = [
                    "instances",
                    "watches",
                    "fds",
                    "shared",
                    "processes",
                    "user",
                    "runtime",
                    "pod",
                ];
                assert!(told.insert(path, picked(row, &FIELDS)).is_none(), "twice: {row}");
            }
        }
        same(listing, &expected, &told);
    }

    /// Whether `payer` is charged for the instances of `user`.
    fn pays_for(&self, payer: usize, user: usize) -> bool {
        let above = |&user: &usize| self.payers[user].above;
        std::iter::successors(Some(user), above).any(|user| user == payer)
    }

    /// The instances and watches charged to a payer, with those of users in child namespaces.
    fn charged(&self, payer: usize) -> (u32, u32) {
        let users = self.payers.iter().enumerate().filter(|(user, _)| self.pays_for(payer, *user));
        users.fold((0, 0), |(instances, watches), (_, user)| {
            (instances + user.instances, watches + user.watches)
        })
    }

    /// The sums over all visible instances whose user matches `is_meant`.
    fn seen(&self, is_meant: impl Fn(usize) -> bool) -> Sum {
        let mut sum = Sum::default();
        for held in self.held() {
            if is_meant(self.instances[held.instance].payer) {
                sum.instances += 1;
                sum.watches += self.watches_of(&held);
                sum.fds += held.holders.values().sum::<u64>();
                sum.processes.extend(held.holders.keys());
            }
        }
        sum
    }

    fn check_user_rows(&self, listing: &Listing) {
        for (index, payer) in self.payers.iter().enumerate() {
            let (own, all) =
                (self.seen(|user| user == index), self.seen(|user| self.pays_for(index, user)));
            let is_payer = |row: &&Value| row["user"] == payer.user();
            let told: Vec<_> = listing.rows().iter().filter(is_payer).collect();
            if all.instances == 0 {
                assert_eq!(told.len(), 0, "{}: nothing visible: {told:?}", listing.call);
                continue;
            }
            let (instances, watches) = self.charged(index);
            let mut expected = object(json!({
                "user": payer.user(),
                "used": instances,
                "not_visible": u64::from(instances) - all.instances,
                "watches_used": watches,
                "instances": own.instances,
                "watches": own.watches,
                "fds": own.fds,
                "processes": own.processes.len(),
            }));
            if payer.level == 0 {
                expected.insert("limit".to_owned(), json!(payer.max_instances));
                expected.insert("watch_limit".to_owned(), json!(payer.max_watches));
            }
            assert_eq!(told.len(), 1, "{}: {expected:?}: {told:?}", listing.call);
            for (field, value) in &expected {
                assert_eq!(&told[0][field], value, "{}: {field} of {}", listing.call, told[0]);
            }
        }
    }

    fn check_users(&self, listing: &Listing) {
        for (index, payer) in self.payers.iter().enumerate() {
            let seen = self.seen(|user| self.pays_for(index, user));
            let told = listing.user(payer.uid, payer.userns);
            if seen.instances == 0 {
                assert_eq!(told, None, "{}: nothing visible", listing.call);
                continue;
            }
            let told = told.unwrap_or_else(|| panic!("{}: no {payer:?}", listing.call));
            let (instances, watches) = self.charged(index);
            assert_eq!(told["used"], instances, "{}: {told}", listing.call);
            assert_eq!(told["watches_used"], watches, "{}: {told}", listing.call);
            let hidden = u64::from(instances) - seen.instances;
            assert_eq!(told["not_visible"], hidden, "{}: {told}", listing.call);
            let hidden = u64::from(watches) - seen.watches;
            assert_eq!(told["watches_not_visible"], hidden, "{}: {told}", listing.call);
            if payer.level == 0 {
                assert_eq!(told["limit"], payer.max_instances, "{}", listing.call);
                assert_eq!(told["watch_limit"], payer.max_watches, "{}", listing.call);
            }
            let above = |&user: &usize| self.payers[user].above;
            let payers = std::iter::successors(payer.above, above);
            let payers: Vec<_> = payers.map(|payer| self.payers[payer].user()).collect();
            assert_eq!(told["payers"], json!(payers), "{}: {told}", listing.call);
        }
    }
}

impl Sum {
    fn fields(&self) -> Map<String, Value> {
        object(json!({
            "instances": self.instances,
            "watches": self.watches,
            "fds": self.fds,
            "shared": self.shared,
            "processes": self.processes.len(),
            "user": self.users.values().collect::<Vec<_>>(),
        }))
    }
}

impl Payer {
    /// A user without a name, in the agent's JSON.
    #[must_use]
    pub fn user(&self) -> Value {
        json!({ "uid": self.uid, "userns": self.userns })
    }
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

/// Some fields of a row. A missing list of words counts as an empty list.
fn picked(row: &Value, fields: &[&str]) -> Map<String, Value> {
    let list = |value: &Value| match value {
        Value::Null => json!([]),
        Value::Array(words) => {
            let mut words = words.clone();
            words.sort_by_key(Value::to_string);
            words.into()
        }
        other => other.clone(),
    };
    fields.iter().map(|&field| (field.to_owned(), list_in(field, &row[field], list))).collect()
}

/// The order of words does not matter; the order of targets does.
fn list_in(field: &str, value: &Value, sorted: impl Fn(&Value) -> Value) -> Value {
    match field {
        "targets" => value.clone(),
        "pid" => {
            let mut pids: Vec<u32> =
                value.as_array().into_iter().flatten().flat_map(number).collect();
            pids.sort_unstable();
            json!(pids)
        }
        _ => sorted(value),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(listing: &Listing, expected: &T, told: &T) {
    assert!(expected == told, "{}\nexpected:\n{expected:#?}\ntold:\n{told:#?}", listing.call);
}
