//! Detects kernel failures in the console's output.

/// Messages with which the kernel reports a failure.
const SIGNS: &[&str] = &[
    "Kernel panic",
    "Oops:",
    "BUG: ",
    "kernel BUG at",
    "general protection fault",
    "soft lockup",
    "hard LOCKUP",
    "self-detected stall",
    "detected stalls on CPUs",
    "blocked for more than",
    "Unable to mount root fs",
];

/// Lines of the console that are worth showing.
const TAIL: usize = 40;

/// The first line that reports a failure.
pub fn trouble(console: &str) -> Option<&str> {
    console.lines().map(str::trim).find(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

/// The end of the console: from the first trouble on, if there was any.
pub fn tail(console: &str) -> String {
    let lines: Vec<_> = console.lines().map(str::trim_end).collect();
    let first_sign = lines.iter().position(|line| SIGNS.iter().any(|sign| line.contains(sign)));
    let start = match first_sign {
        // The two lines before often name the cause.
        Some(first) => first.saturating_sub(2),
        None => lines.len().saturating_sub(TAIL),
    };
    let mut shown: Vec<_> = lines[start..].iter().take(TAIL).copied().collect();
    if shown.is_empty() {
        shown.push("(the console is empty)");
    }
    shown.join("\n")
}

/// The guest's own reports over its last port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The command was started.
    pub started: bool,
    /// The command's exit status.
    pub status: Option<u8>,
}

impl Progress {
    pub fn parse(port: &str) -> Self {
        let mut progress = Self::default();
        // A line without its end may be a number without its last digit.
        for line in port.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.trim_end().split_once(' ') {
                None if line.trim_end() == "started" => progress.started = true,
                Some(("status", status)) => progress.status = status.parse().ok(),
                _ => {}
            }
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, tail, trouble};

    #[test]
    fn a_quiet_console_is_a_healthy_one() {
        assert_eq!(trouble(""), None);
        assert_eq!(trouble("[    7.402441] reboot: Restarting system\n"), None);
    }

    #[test]
    fn panics_oopses_and_hangs_are_seen() {
        for line in [
            "[ 1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00007f00",
            "[ 1.2] Oops: 0000 [#1] SMP NOPTI",
            "[ 1.2] BUG: unable to handle page fault for address: ffff8880",
            "[ 1.2] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:1]",
            "[ 1.2] rcu: INFO: rcu_sched self-detected stall on CPU",
            "[ 1.2] INFO: task sh:1 blocked for more than 120 seconds.",
        ] {
            let console = format!("[ 0.1] booting\r\n{line}\r\n[ 1.3] ---[ end\r\n");
            assert_eq!(trouble(&console), Some(line));
        }
    }

    #[test]
    fn the_tail_starts_where_the_trouble_does() {
        let mut console: String = (0..100).map(|line| format!("line {line}\r\n")).collect();
        assert!(tail(&console).starts_with("line 60\n") && tail(&console).ends_with("line 99"));
        console += "Oops: 0002\n";
        console += &"Call Trace\n".repeat(100);
        assert!(tail(&console).starts_with("line 98\nline 99\nOops: 0002\nCall"));
        assert_eq!(tail(&console).lines().count(), 40);
        assert_eq!(tail(""), "(the console is empty)");
    }

    #[test]
    fn a_status_counts_once_it_is_complete() {
        let parse = Progress::parse;
        assert_eq!(parse(""), Progress { started: false, status: None });
        assert_eq!(parse("started\n"), Progress { started: true, status: None });
        assert_eq!(parse("started\nstatus 10"), Progress { started: true, status: None });
        assert_eq!(
            parse("started\r\nstatus 101\r\n"),
            Progress { started: true, status: Some(101) }
        );
        assert_eq!(parse("status x\n").status, None);
    }
}
