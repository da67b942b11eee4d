//! The machine that measures.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::proc;
use crate::stats::{number, table};
use xtask::step;

/// The table at the top of the report.
pub fn describe(bpftrace: Option<&str>) -> String {
    let cpus = thread::available_parallelism().map_or(0, usize::from);
    let kind = match fs::read_to_string("/proc/cpuinfo") {
        Ok(text) if text.contains(" hypervisor") => ", virtual machine",
        _ => "",
    };
    let memory = first_number("/proc/meminfo", "MemTotal").unwrap_or(0.0) / 1024.0 / 1024.0;
    let rows: &[(&str, String)] = &[
        ("CPU", processor()),
        ("Cores", format!("{cpus}{kind}")),
        ("Memory", format!("{} GiB", number(memory, 0))),
        ("Architecture", std::env::consts::ARCH.to_owned()),
        ("Kernel", release()),
        ("Date", date()),
        ("bpftrace", bpftrace.unwrap_or("not installed").to_owned()),
    ];
    let rows: Vec<_> =
        rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    // A column of words: not aligned to the right.
    table(&["", ""], &rows).replace("---:", "---")
}

pub fn processor() -> String {
    line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned())
}

/// Today's date.
pub fn date() -> String {
    said(Command::new("date").args(["-u", "+%Y-%m-%d"]))
}

/// Other tracers, which multiply what a system call costs. Asked while none of ours is attached.
pub fn other_tracers() -> Option<String> {
    let others = proc::called(&["inotify-trace", "bpftrace", "perf", "strace"]);
    others.first().map(|name| format!("another tracer was attached meanwhile: {name}"))
}

/// Other programs that take the CPUs. Asked while nothing of ours runs.
pub fn other_programs() -> Option<String> {
    (busy_cores() > BUSY).then(|| "other programs kept CPUs busy meanwhile".to_owned())
}

/// Cores that may be busy with something else.
const BUSY: f64 = 0.3;

/// How many cores do something.
fn busy_cores() -> f64 {
    // Ticks of all CPUs together: all, and those at rest (idle, and waiting for a disk).
    let ticks = || {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let ticks: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
        (ticks.iter().sum::<f64>(), ticks.iter().skip(3).take(2).sum::<f64>())
    };
    let (all_before, rest_before) = ticks();
    thread::sleep(Duration::from_millis(500));
    let (all, rest) = ticks();
    let cpus = thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = 1.0 - (rest - rest_before) / (all - all_before).max(1.0);
    share * cpus
}

/// The version without the builder's suffixes: `6.18.4-somebody` is 6.18.4.
fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release.trim().split('-').next().unwrap_or("unknown").to_owned()
}

fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn first_number(file: &str, name: &str) -> Option<f64> {
    line_of(file, name)?.split_whitespace().next()?.parse().ok()
}

fn said(command: &mut Command) -> String {
    step::output_of(command).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
