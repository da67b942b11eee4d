//! A process's instances in the events of a trace, and in a list.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The file whose events containerd waits for.
const FILE: &str = "/memory.events";

/// The instances that one process made during a trace, by their state at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Instances that watch, or have watched, memory.events of a cgroup that was removed.
    pub leaked: usize,
    /// Other open instances.
    pub open: usize,
    /// All instances that the process made, open or closed.
    pub made: usize,
    /// The losses that the trace reports.
    pub lost: Vec<String>,
    /// When cgroups were removed, in nanoseconds since boot.
    pub removed: BTreeMap<u64, u64>,
}

impl Trace {
    pub fn read(text: &str, process: u64) -> Result<Self> {
        // Of each instance, the cgroups whose memory.events it watched.
        let mut instances: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let mut removed = BTreeMap::new();
        let mut made = 0;
        let mut summary = None;
        for line in text.lines() {
            let event: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line:?}"))?;
            let number = |field: &str| event.get(field).and_then(Value::as_u64);
            let word = |field: &str| event.get(field).and_then(Value::as_str);
            let instance = number("instance");
            match (word("event").context("an event without a name")?, instance) {
                ("create", Some(instance)) if number("pid") == Some(process) => {
                    instances.insert(instance, BTreeSet::new());
                    made += 1;
                }
                ("watch", Some(instance)) if word("path").is_some_and(|it| it.ends_with(FILE)) => {
                    if let (Some(cgroups), Some(cgroup)) =
                        (instances.get_mut(&instance), number("target_cgroup_id"))
                    {
                        cgroups.insert(cgroup);
                    }
                }
                // The process that gave up the last descriptor.
                ("release", Some(instance)) => {
                    instances.remove(&instance);
                }
                ("cgroup-remove", _) => {
                    removed.extend(number("target_cgroup_id").zip(number("boot_ns")));
                }
                ("summary", _) => summary = Some(event),
                _ => {}
            }
        }
        let summary = summary.context("the trace has no end")?;
        let lost = summary.get("lost").and_then(Value::as_object);
        let lost = lost.context("the trace does not say what it lost")?;
        let leaked = instances
            .values()
            .filter(|cgroups| cgroups.iter().any(|it| removed.contains_key(it)))
            .count();
        Ok(Self {
            leaked,
            open: instances.len() - leaked,
            made,
            lost: lost.iter().map(|(what, count)| format!("{count} {what}")).collect(),
            removed,
        })
    }
}

/// How many of a process's instances watch no file of a cgroup that exists, by a list of watches.
pub fn listed(text: &str, process: u64) -> Result<usize> {
    let list: Value = serde_json::from_str(text).context("the list is not JSON")?;
    let rows = list.get("rows").and_then(Value::as_array).context("the list has no rows")?;
    let is_its = |row: &&Value| row.get("pid").and_then(Value::as_u64) == Some(process);
    let Some(row) = rows.iter().find(is_its) else { return Ok(0) };
    let instances =
        row.get("instances").and_then(Value::as_u64).context("a row without a count")?;
    let targets = row.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let watching: BTreeSet<_> = targets
        .iter()
        // A cgroup that is gone has an id, and no path.
        .filter(|target| target.get("target_cgroup").is_some())
        .filter_map(|target| target.get("instance").and_then(Value::as_u64))
        .collect();
    let instances = usize::try_from(instances)?;
    ensure!(watching.len() <= instances, "a row has more instances than it counts");
    Ok(instances - watching.len())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Trace, listed};

    const SUMMARY: &str = r#"{"event":"summary","open":3,"lost":{}}"#;

    /// The file of cgroup 20 in instance `instance`, made by `pid`.
    fn made(pid: u64, instance: u64) -> String {
        format!(
            r#"{{"event":"create","pid":{pid},"instance":{instance}}}
{{"event":"watch","pid":{pid},"instance":{instance},"path":"/c/memory.events","target_cgroup_id":20}}
"#
        )
    }

    fn read(text: &str) -> Trace {
        let trace = Trace::read(&format!("{text}{SUMMARY}\n"), 7).unwrap();
        assert!(trace.removed.values().all(|&time| time == 5));
        Trace { removed: BTreeMap::new(), ..trace }
    }

    #[test]
    fn an_instance_is_leaked_once_its_cgroup_is_gone() {
        let removed = "{\"event\":\"cgroup-remove\",\"boot_ns\":5,\"target_cgroup_id\":20}\n";
        let open = Trace { open: 1, made: 1, ..Trace::default() };
        assert_eq!(read(&made(7, 1)), open);
        let leaked = Trace { leaked: 1, made: 1, ..Trace::default() };
        assert_eq!(read(&(made(7, 1) + removed)), leaked);
        // The kernel has taken the watch back, and the instance stays.
        let unwatched = "{\"event\":\"unwatch\",\"instance\":1,\"wd\":1,\"how\":\"vanished\"}\n";
        assert_eq!(read(&(made(7, 1) + unwatched + removed)), leaked);
        // Another process may give up the last descriptor.
        let released = "{\"event\":\"release\",\"pid\":9,\"instance\":1}\n";
        let ended = Trace { made: 1, ..Trace::default() };
        assert_eq!(read(&(made(7, 1) + removed + released)), ended);
        assert_eq!(read(&(made(8, 1) + removed)), Trace::default());
    }

    #[test]
    fn other_files_and_cgroups_are_no_leak() {
        let other = made(7, 1).replace("memory.events", "cgroup.events");
        let removed = "{\"event\":\"cgroup-remove\",\"boot_ns\":5,\"target_cgroup_id\":20}\n";
        assert_eq!(read(&(other + removed)), Trace { open: 1, made: 1, ..Trace::default() });
        let removed = "{\"event\":\"cgroup-remove\",\"boot_ns\":5,\"target_cgroup_id\":21}\n";
        assert_eq!(read(&(made(7, 1) + removed)).leaked, 0);
    }

    #[test]
    fn a_trace_tells_what_it_lost_and_whether_it_ended() {
        let trace = Trace::read(r#"{"event":"summary","lost":{"events":3}}"#, 7).unwrap();
        assert_eq!(trace.lost, ["3 events"]);
        assert!(Trace::read(&made(7, 1), 7).unwrap_err().to_string().contains("no end"));
        assert!(Trace::read("oops\n", 7).is_err());
    }

    #[test]
    fn a_list_tells_which_instances_watch_nothing_that_exists() {
        let list = r#"{"rows":[
            {"pid":7,"instances":4,"targets":[
                {"instance":2,"target_cgroup":"/pod/pause","target_cgroup_id":10},
                {"instance":3,"path":"/","target_cgroup_id":20},
                {"instance":4,"gone":true,"target_cgroup_id":30}]},
            {"pid":8,"instances":1,"targets":[{"instance":1,"path":"/etc"}]}]}"#;
        // Two whose cgroup is gone, and one without any watch.
        assert_eq!(listed(list, 7).unwrap(), 3);
        assert_eq!(listed(list, 9).unwrap(), 0);
        assert!(listed("{}", 7).is_err());
    }
}
