//! Counts the events in a tracer's output.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};

/// How a tracer writes events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Bpftrace,
}

/// A tracer's output about one process.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub events: u64,
    /// The losses that it reports, of all processes.
    pub lost: u64,
}

/// Reads a tracer's output and messages.
pub fn read(format: Format, subject: u32, output: &Path, messages: &Path) -> Result<Told> {
    let file = File::open(output).with_context(|| format!("cannot read {}", output.display()))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let subject = Subject::new(format, subject);
    let mut told = Told::default();
    let mut line = Vec::new();
    // Bytes, because a traced path may be anything.
    while file.read_until(b'\n', &mut line).context("cannot read the tracer's output")? > 0 {
        told.events += u64::from(subject.is_in(&line));
        told.lost += lost_in(format, &String::from_utf8_lossy(&line[..line.len().min(512)]));
        line.clear();
    }
    if format == Format::Text {
        let said = fs::read_to_string(messages)
            .with_context(|| format!("cannot read {}", messages.display()))?;
        told.lost = numbers_after(&said, "LOST ");
    }
    Ok(told)
}

/// A process as a tracer's lines mention it.
pub struct Subject {
    format: Format,
    pid: String,
}

impl Subject {
    pub fn new(format: Format, pid: u32) -> Self {
        let pid = match format {
            Format::Json => format!("\"pid\":{pid},"),
            Format::Text | Format::Bpftrace => pid.to_string(),
        };
        Self { format, pid }
    }

    /// Whether `line` is an event of the process.
    pub fn is_in(&self, line: &[u8]) -> bool {
        let pid = self.pid.as_bytes();
        let word =
            |index| line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(index);
        match self.format {
            Format::Text => word(2) == Some(pid),
            Format::Bpftrace => word(1) == Some(pid),
            // Near the beginning, before anything that a traced process chooses.
            Format::Json => line[..line.len().min(160)].windows(pid.len()).any(|part| part == pid),
        }
    }
}

/// The losses in a line of output.
fn lost_in(format: Format, line: &str) -> u64 {
    match format {
        Format::Bpftrace if line.starts_with("Lost ") => numbers_after(line, "Lost "),
        Format::Json if line.starts_with(r#"{"event":"summary""#) => {
            line.split_once(r#""lost":{"#).map_or(0, |(_, lost)| numbers_after(lost, "\":"))
        }
        _ => 0,
    }
}

/// The sum of the numbers that follow `before`.
fn numbers_after(text: &str, before: &str) -> u64 {
    text.split(before)
        .skip(1)
        .filter_map(|rest| {
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{Format, Subject, lost_in, numbers_after};

    #[test]
    fn a_process_is_found_in_every_format() {
        let found = |format, line: &str| Subject::new(format, 42).is_in(line.as_bytes());
        assert!(found(Format::Text, "21:37:07 create   42 tail   /  3  1/128 cloexec\n"));
        assert!(!found(Format::Text, "21:37:07 create   7 42 /  3  1/128 cloexec\n"));
        assert!(found(Format::Bpftrace, "close 42 3 tail\n"));
        assert!(!found(Format::Bpftrace, "close 4 42 tail\n"));
        assert!(found(Format::Json, r#"{"time":"","event":"create","pid":42,"tid":42}"#));
        assert!(!found(Format::Json, r#"{"time":"","event":"create","pid":421,"tid":42}"#));
    }

    #[test]
    fn losses_are_read_as_each_tracer_says_them() {
        assert_eq!(lost_in(Format::Bpftrace, "Lost 17 events\n"), 17);
        assert_eq!(lost_in(Format::Bpftrace, "watch 1 3 Lost 17\n"), 0);
        let summary = r#"{"event":"summary","events":{"create":9},"open":0,"lost":{"events":5}}"#;
        assert_eq!(lost_in(Format::Json, summary), 5);
        assert_eq!(numbers_after("open 0; LOST 3 events; LOST 4 calls\n", "LOST "), 7);
    }
}
