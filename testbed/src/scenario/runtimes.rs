//! Compares inotify-trace's names of containers with those of real runtimes.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::step;

use super::each_kernel::{EachKernel, Story};
use super::{Options, Place, outcome, rootfs};
use crate::boot::Boot;
use crate::initramfs::{self, Program};
use crate::report::{self, Report};

pub const NAME: &str = "runtimes";

const SCRIPT: &str = include_str!("runtimes.sh");

/// Packages that the script needs besides a minimal Debian.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "containerd",
    "crun",
    "docker.io",
    "jq",
    // Podman needs one such, and debootstrap knows no virtual packages.
    "netavark",
    "podman",
    "procps",
    "runc",
];

/// The suite of all packages, and of the kernel unless another is chosen.
const SUITE: &str = "bookworm";

/// Containers on some machines.
pub struct Runtimes<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
    programs: [Program; 2],
}

impl<'a> Runtimes<'a> {
    pub fn on_kernels(place: &'a Place<'a>, options: &'a Options) -> Result<EachKernel<Self>> {
        let kernels = match options.kernels.as_slice() {
            [] => vec![super::kernel(SUITE).context("its kernel is not known")?],
            chosen => chosen.to_vec(),
        };
        let script = place.work.join("runtimes.sh");
        fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        let programs = [Program::from_path(&place.agent)?, Program::from_path(&script)?];
        Ok(EachKernel::new(Self { place, options, programs }, kernels))
    }
}

impl Story for Runtimes<'_> {
    // With room for the archive and its unpacked files at the same time.
    const MEMORY: u32 = 4096;

    const SECONDS: u32 = 240;

    /// Boots the machine; an error if a container's name differs from its runtime's.
    fn run(&self, report: &mut Report) -> Result<()> {
        let kernel = report.kernel;
        let root = rootfs::archive(NAME, SUITE, PACKAGES)
            .with_context(|| format!("Debian {SUITE} can't be had"))?;
        let image = match self.place.cache.image(kernel) {
            Ok(image) => image,
            Err(error) => {
                let allowed = self.options.allow_missing.contains(&kernel);
                report.result = report::Result::NotRun { why: format!("{error:#}"), allowed };
                return Ok(());
            }
        };
        report.version = Some(image.version.clone());
        let busybox = self.place.cache.busybox(image.architecture)?;
        let initramfs = self.place.work.join(format!("{NAME}-{}.cpio", kernel.suite));
        super::write(
            &initramfs,
            &initramfs::build(&busybox, &self.programs, &[], &entry())?,
            &root,
        )
        .with_context(|| format!("cannot write {}", initramfs.display()))?;
        let boot = Boot {
            image: &image,
            suite: kernel.suite,
            name: format!("{} with runtimes of {SUITE}", report.name()),
            directory: &format!("{NAME}-{}", kernel.suite),
            initramfs: &initramfs,
            disk: None,
            own_time: false,
            memory: Self::MEMORY,
            limit: self.options.limit,
            stream: self.options.stream,
        };
        let end = boot.run(self.place.work, self.place.results)?;
        if !outcome::is_well(&end, report, self.options.stream) {
            return Ok(());
        }
        let truth = truths(&end.text("truth.txt")?)?;
        let problems = problems(&truth, &end.text("list.json")?, &end.text("trace.json")?)?;
        step::say(&format!("{} containers were looked for", truth.len()));
        if !problems.is_empty() {
            report.result = report::Result::Wrong(problems.join("; "));
        }
        Ok(())
    }
}

/// The first script of the machine: the other scenario's, with another story.
fn entry() -> String {
    format!("export STORY=runtimes\n{}", super::SCRIPT)
}

/// A container as its runtime has it.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    runtime: String,
    id: String,
    /// Besides the id.
    name: Option<String>,
    pid: u64,
}

/// Each runtime must have one.
const RUNTIMES: [&str; 5] = ["runc", "crun", "containerd", "podman", "docker"];

fn truths(text: &str) -> Result<Vec<Truth>> {
    let truth = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let [runtime, id, name, pid] = words[..] else { return None };
        let name = (name != "-").then(|| name.to_owned());
        let (runtime, id) = (runtime.to_owned(), id.to_owned());
        Some(Truth { runtime, id, name, pid: pid.parse().ok()? })
    };
    let truths = text
        .lines()
        .map(|line| truth(line).with_context(|| format!("no container: {line:?}")))
        .collect::<Result<Vec<_>>>()?;
    for runtime in RUNTIMES {
        let count = truths.iter().filter(|truth| truth.runtime == runtime).count();
        ensure!(count == 1, "{count} containers of {runtime}");
    }
    Ok(truths)
}

/// The differences between the truth and the output of `list --by container` and the trace.
fn problems(truths: &[Truth], list: &str, trace: &str) -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(list).context("the list is not JSON")?;
    let rows = list.get("rows").and_then(Value::as_array).context("the list has no rows")?;
    let trace = trace
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()
        .context("the trace is not JSON")?;
    let mut problems = Vec::new();
    for Truth { runtime, id, name, pid } in truths {
        let shown = format!("{runtime}:{id}");
        // Whether a container of the list or the trace is this one.
        let is_it = |container: &Value| {
            [&container["runtime"], &container["id"]] == [&**runtime, &**id]
                && name.as_ref().is_none_or(|name| container["name"] == **name)
        };
        let pids = |row: &&Value| {
            let pids = row.get("pid").and_then(Value::as_array);
            pids.is_some_and(|pids| pids.contains(&Value::from(*pid)))
        };
        let row = rows.iter().find(|row| is_it(&row["container"]));
        match row {
            Some(row) if row["runtime"][0] != **runtime => {
                problems.push(format!("{shown} is of {} in the list", row["runtime"]));
            }
            Some(row) if row["instances"].as_u64() < Some(1) => {
                problems.push(format!("{shown} has no instance"));
            }
            Some(_) => {}
            None => {
                let is = rows.iter().find(pids).map(|row| row["container"].to_string());
                problems.push(format!("the list calls {shown} {is:?}"));
            }
        }
        for event in ["create", "watch"] {
            let its = |it: &&Value| it["event"] == event && it["pid"] == *pid;
            let Some(told) = trace.iter().find(its) else {
                problems.push(format!("no {event} of {shown} in the trace"));
                continue;
            };
            let container = &told["container"];
            if !is_it(container) {
                problems.push(format!("the {event} of {shown} is {container}'s in the trace"));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = "runc a a 7\ncrun b b 8\ncontainerd c - 9\npodman d p 10\ndocker e q 11\n";

    fn list(runtime: &str, container: &str) -> String {
        format!(
            r#"{{"rows":[{{"container":{container},"runtime":["{runtime}"],"pid":[7],"instances":1}}]}}"#
        )
    }

    fn trace(container: &str) -> String {
        let event = |name| format!(r#"{{"event":"{name}","pid":7,"container":{container}}}"#);
        format!("{}\n{}\n", event("create"), event("watch"))
    }

    #[test]
    fn every_runtime_has_one() {
        let truths = truths(TRUTH).unwrap();
        assert_eq!((truths.len(), truths[2].name.clone()), (5, None));
        assert!(super::truths("runc a a 7\n").unwrap_err().to_string().contains("of crun"));
        assert!(super::truths("runc a\n").is_err());
    }

    #[test]
    fn every_difference_is_a_problem() {
        let mut truths = truths(TRUTH).unwrap();
        truths.truncate(1);
        let found = |list: &str, trace: &str| problems(&truths, list, trace).unwrap();
        let right = r#"{"runtime":"runc","id":"a","name":"a"}"#;
        assert_eq!(found(&list("runc", right), &trace(right)), [""; 0]);
        assert_eq!(
            found(&list("runc", "null"), &trace(right)),
            [r#"the list calls runc:a Some("null")"#]
        );
        assert_eq!(found(&list("crun", right), &trace(right)).len(), 1);
        assert_eq!(found(&list("runc", right), "").len(), 2);
        for wrong in ["null", r#"{"runtime":"runc","id":"a"}"#] {
            assert_eq!(found(&list("runc", right), &trace(wrong)).len(), 2, "{wrong}");
        }
    }
}
