//! The comparison of the agent's backends, in a virtual machine with a kernel that has all of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use xtask::workspace::{Workspace, which};

use crate::backends::{self, MISSING, PAIR, TRACERS};
use crate::machine;
use crate::report::verdict;
use crate::stats::{Spread, cell, number, table};
use crate::tracer::Tracer;
use crate::vm::{self, Guest, one_line, with_libraries};

const HEADING: &str = "## Added cost of other system calls, by backend (virtual machine)";

/// bpftrace's libraries are 300 MB, which are in memory twice while the kernel unpacks them.
const MEMORY: u32 = 3 << 10;

/// Starting bpftrace takes most of it: its compiler is emulated too.
const LIMIT: Duration = Duration::from_secs(1800);

/// The deviation of the control that is excused, at least and at most: figures are rounded to
/// hundredths, and a control that deviates by more than a tenth makes the measurement useless.
const EXCUSED: (f64, f64) = (1.01, 1.1);

/// The place of the control and of the fentry backend among the tracers.
const CONTROL: usize = 0;
const FENTRY: usize = 1;

const CALLS: [&str; 2] = ["close(-1)", "getppid()"];

/// Boots a machine that measures; the section of the report.
pub fn measure(workspace: &Workspace, quick: bool) -> Result<String> {
    let (rounds, batches) = if quick { (1, 50) } else { (11, 100) };
    let program = which("bpftrace").context("it is not installed");
    // The backends can be compared with each other without it.
    let (files, no_bpftrace) = match program.and_then(with_libraries) {
        Ok(files) => (files, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let bpftrace = files.first().and_then(|program| program.parent()).unwrap_or(Path::new("/"));
    let guest = Guest {
        name: "bench",
        memory: MEMORY,
        limit: LIMIT,
        path: format!("$PATH:{}", bpftrace.display()),
        files,
        task: format!("backends --rounds {rounds} --batches {batches}"),
    };
    let printed = vm::measure(workspace, guest)?;
    let mut text = format!(
        "{HEADING}\n\n\
         The same two calls with each of the agent's backends (`--backend`), and with bpftrace \
         tracing creations and closes of instances. All on one kernel, which has every backend: \
         Debian's {}, in a virtual machine with one processor, which {} emulates \
         (TCG) on {}; {}. Emulation makes all figures in nanoseconds large, and does not make \
         everything slower by as much: only ratios within this table mean something, and those on \
         a real processor are others.\n\n\
         Nanoseconds a call: the fastest of {batches} batches in a process, and of {processes} \
         processes in succession the median. Rounds: {rounds}. In each, every tracer is measured \
         right after a measurement without any, to which its ratio refers; the order of the tracers \
         changes from round to round. Each has to print instances created and closed \
         just before, which shows that it is attached.\n\n",
        printed.kernel,
        printed.emulator,
        machine::processor(),
        machine::date(),
        processes = backends::PROCESSES,
    );
    if let Some(by) = printed.disturbed {
        text += &format!("**Warning: {by}.**\n\n");
    }
    if let Some(why) = no_bpftrace {
        let why = one_line(&why);
        text += &format!("**The machine was booted without bpftrace, because: {why}.**\n\n");
    }
    Ok(text + &Measured::parse(&printed.lines)?.shown())
}

/// The section if there are no figures.
pub fn not_measured(why: &anyhow::Error) -> String {
    let why = one_line(why);
    let mut names: Vec<_> = TRACERS.iter().map(|(name, _)| *name).collect();
    names.remove(CONTROL);
    format!("{HEADING}\n\n**Not measured: {}, because: {why}.**\n", names.join(", "))
}

/// The figures in the machine's lines, in the order of [`TRACERS`]; pairs of calls in that of
/// [`CALLS`].
#[derive(Default)]
struct Measured {
    alone: [Vec<f64>; 2],
    with: [[Vec<f64>; 2]; TRACERS.len()],
    ratios: [[Vec<f64>; 2]; TRACERS.len()],
    missing: Vec<String>,
}

impl Measured {
    fn parse(lines: &str) -> Result<Self> {
        let mut measured = Self::default();
        for line in lines.lines() {
            measured.take(line).with_context(|| format!("the machine said {line:?}"))?;
        }
        Ok(measured)
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let mut words = line.split('\t');
        let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let index = TRACERS.iter().position(|(other, _)| *other == name);
        let index = index.context("there is no such tracer")?;
        match kind {
            PAIR => {
                let numbers = words.map(str::parse).collect::<Result<Vec<f64>, _>>()?;
                let [close, getppid, close_with, getppid_with] = numbers[..] else {
                    bail!("that is not four numbers");
                };
                for (call, (alone, with)) in
                    [(close, close_with), (getppid, getppid_with)].into_iter().enumerate()
                {
                    self.alone[call].push(alone);
                    self.with[index][call].push(with);
                    self.ratios[index][call].push(with / alone);
                }
            }
            MISSING => {
                let why = words.next().unwrap_or("it did not say why");
                let rounds = match self.ratios[index][0].len() {
                    0 => String::new(),
                    rounds => format!(" after {rounds} rounds"),
                };
                self.missing.push(format!("Not measured{rounds}: {name}, because: {why}"));
            }
            _ => bail!("that is no known kind of line"),
        }
        Ok(())
    }

    fn ratio(&self, tracer: usize) -> Option<[Spread; 2]> {
        let [close, getppid] = &self.ratios[tracer];
        Some([Spread::of(close.iter().copied())?, Spread::of(getppid.iter().copied())?])
    }

    /// The table, and the conclusion from it.
    fn shown(&self) -> String {
        let spread = |values: &Vec<f64>| Spread::of(values.iter().copied());
        let [close, getppid] = &self.alone;
        let mut rows = vec![vec![
            "no tracer".to_owned(),
            cell(spread(close), 0),
            String::new(),
            cell(spread(getppid), 0),
            String::new(),
        ]];
        for (index, (name, _)) in TRACERS.iter().enumerate() {
            if let Some([close, getppid]) = self.ratio(index) {
                let [with_close, with_getppid] = &self.with[index];
                rows.push(vec![
                    row_name(index, name),
                    cell(spread(with_close), 0),
                    close.shown(2),
                    cell(spread(with_getppid), 0),
                    getppid.shown(2),
                ]);
            }
        }
        let head = ["", CALLS[0], "ratio to no tracer", CALLS[1], "ratio to no tracer"];
        let mut text = table(&head, &rows) + "\n";
        for missing in &self.missing {
            text += &format!("**{missing}.**\n\n");
        }
        text + &self.assess() + "\n"
    }

    fn assess(&self) -> String {
        let Some(control) = self.ratio(CONTROL) else {
            return "Without the control, nothing can be said about the ratios.\n".to_owned();
        };
        let limits = control.map(|ratio| ratio.most.clamp(EXCUSED.0, EXCUSED.1));
        let per_call = |numbers: [f64; 2]| {
            format!(
                "{} for `{}`, {} for `{}`",
                number(numbers[0], 2),
                CALLS[0],
                number(numbers[1], 2),
                CALLS[1]
            )
        };
        let mut text = format!(
            "No tracer measured twice differs from itself, too, so that up to this ratio nothing \
             counts as slower: {}.",
            per_call(limits)
        );
        let (mut as_fast, mut slower) = (Vec::new(), Vec::new());
        for (index, (name, _)) in TRACERS.iter().enumerate().skip(CONTROL + 1) {
            let Some(ratios) = self.ratio(index) else { continue };
            let medians = ratios.map(|ratio| ratio.median);
            let said = format!("{} ({})", row_name(index, name), per_call(medians));
            let is_slower = medians.iter().zip(limits).any(|(median, limit)| *median > limit);
            if is_slower { &mut slower } else { &mut as_fast }.push((index, said));
        }
        for (what, which) in [("As fast as no tracer", &as_fast), ("Slower", &slower)] {
            if !which.is_empty() {
                let said: Vec<_> = which.iter().map(|(_, said)| said.as_str()).collect();
                text += &format!(" {what}: {}.", said.join("; "));
            }
        }
        let goal = "fentry mode as fast as no tracer";
        if self.ratio(FENTRY).is_some() {
            text += "\n\n";
            text += &verdict(goal, as_fast.iter().any(|(index, _)| *index == FENTRY));
        }
        text + "\n"
    }
}

fn row_name(index: usize, name: &str) -> String {
    match TRACERS[index].1 {
        Tracer::Backend(_) => format!("inotify-trace, {name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, not_measured};

    const CONTROL: &str = "pair\tno tracer, once more\t1000\t800\t1010\t808\n";

    #[test]
    fn a_backend_is_as_fast_if_the_control_deviates_as_much() {
        let lines = format!(
            "{CONTROL}pair\tfentry\t1000\t800\t1005\t800\npair\ttracepoint\t1000\t800\t2000\t1000\n"
        );
        let shown = Measured::parse(&lines).unwrap().shown();
        assert!(shown.contains("**Met.**"), "{shown}");
        assert!(
            shown.contains("Slower: inotify-trace, tracepoint (2.00 for `close(-1)`"),
            "{shown}"
        );
        let lines = format!("{CONTROL}pair\tfentry\t1000\t800\t1000\t900\n");
        let shown = Measured::parse(&lines).unwrap().shown();
        assert!(shown.contains("**Not met.**"), "{shown}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let lines = format!("{CONTROL}missing\tbpftrace\tthere is no bpftrace\n");
        let shown = Measured::parse(&lines).unwrap().shown();
        assert!(shown.contains("**Not measured: bpftrace, because: there is no bpftrace.**"));
        assert!(!shown.contains("Goal"), "{shown}");
        let section = not_measured(&anyhow::anyhow!("no QEMU"));
        assert!(section.contains("fentry, kprobe, tracepoint, bpftrace, because: no QEMU"));
        assert!(Measured::parse("pair\tstrace\t1\t1\t1\t1\n").is_err());
        assert!(Measured::parse("pair\tfentry\t1\t1\t1\n").is_err());
    }
}
