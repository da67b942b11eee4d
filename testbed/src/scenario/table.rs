//! Tables of the machines' results.

use super::Case;
use super::check::Row;
use super::churn::Churned;
use crate::kernels::Kernel;
use crate::report::Report;

const HEADING: &str = "\
Instances leaked, by /proc (truth), by the trace, which may have lost something, the list, and leaks;
and by leaks --watch, which tells whenever they are twice as many, and how long after each was due:
";

const CHURN: &str = "Pods that came and went, with what leaks --watch said of them:\n";

/// The left-aligned columns: those with text.
const WORDS: usize = 4;

/// A line for each backend of each machine that got to its end.
pub fn restarts(cases: &[(Case, Kernel)], reports: &[Report], rows: &[Vec<Row>]) -> String {
    let mut lines = vec![
        [
            "suite",
            "containerd",
            "kernel",
            "backend",
            "restarts",
            "truth",
            "trace",
            "list",
            "leaks",
            "watch",
            "after",
            "lost",
        ]
        .map(str::to_owned),
    ];
    for (((case, _), report), rows) in cases.iter().zip(reports).zip(rows) {
        lines.extend(rows.iter().map(|row| {
            [
                case.suite.to_owned(),
                row.containerd.clone(),
                report.version.clone().unwrap_or_default(),
                row.backend.clone(),
                row.restarts.to_string(),
                row.truth.to_string(),
                row.trace.to_string(),
                row.list.to_string(),
                row.leaks.to_string(),
                row.watch.to_string(),
                row.delay.map_or_else(|| "-".to_owned(), |delay| format!("{delay} ms")),
                if row.lost.is_empty() { "-".to_owned() } else { row.lost.join(", ") },
            ]
        }));
    }
    format!("{HEADING}{}", aligned(&lines))
}

/// A line for each machine on which pods came and went.
pub fn churn(cases: &[(Case, Kernel)], reports: &[Report], churned: &[Option<Churned>]) -> String {
    let mut lines = vec![
        ["suite", "containerd", "kernel", "", "pods", "containers", "instances", "verdicts"]
            .map(str::to_owned),
    ];
    for (((case, _), report), churned) in cases.iter().zip(reports).zip(churned) {
        lines.extend(churned.iter().map(|it| {
            [
                case.suite.to_owned(),
                it.containerd.clone(),
                report.version.clone().unwrap_or_default(),
                String::new(),
                it.pods.to_string(),
                it.containers.to_string(),
                it.made.to_string(),
                it.verdicts.len().to_string(),
            ]
        }));
    }
    format!("{CHURN}{}", aligned(&lines))
}

fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let mut table = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let width = lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
            table.push_str(&match column {
                _ if column + 1 == N => format!("{cell}\n"),
                _ if width == 0 => continue,
                _ if column < WORDS => format!("{cell:width$}  "),
                _ => format!("{cell:>width$}  "),
            });
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::{CASES, kernel};
    use super::*;
    use crate::report::Result;

    fn report() -> Report {
        Report {
            kernel: kernel("sid").unwrap(),
            version: Some("7.2.13-1".to_owned()),
            result: Result::Ended(0),
            seconds: 1.0,
            retried: false,
            suite: None,
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_backend() {
        let row = |backend: &str| Row {
            containerd: "1.4.13".to_owned(),
            backend: backend.to_owned(),
            restarts: 8,
            truth: 8,
            trace: 8,
            list: 10,
            leaks: 8,
            watch: 8,
            delay: (backend == "fentry").then_some(140),
            lost: if backend == "fentry" { Vec::new() } else { vec!["7 runs".to_owned()] },
            problems: Vec::new(),
        };
        let kernel = kernel("sid").unwrap();
        assert_eq!(
            restarts(&[(CASES[3], kernel)], &[report()], &[vec![row("fentry"), row("kprobe")]]),
            format!(
                "{HEADING}\
                 suite     containerd  kernel    backend  restarts  truth  trace  list  leaks  watch   after  lost\n\
                 bullseye  1.4.13      7.2.13-1  fentry          8      8      8    10      8      8  140 ms  -\n\
                 bullseye  1.4.13      7.2.13-1  kprobe          8      8      8    10      8      8       -  7 runs\n"
            )
        );
    }

    #[test]
    fn what_came_and_went_has_a_line_for_each_machine() {
        let churned = Churned {
            containerd: "1.7.24".to_owned(),
            pods: 12,
            containers: 36,
            made: 48,
            verdicts: Vec::new(),
            problems: Vec::new(),
        };
        let kernel = kernel("trixie").unwrap();
        assert_eq!(
            churn(&[(CASES[2], kernel)], &[report()], &[Some(churned)]),
            format!(
                "{CHURN}\
                 suite   containerd  kernel    pods  containers  instances  verdicts\n\
                 trixie  1.7.24      7.2.13-1    12          36         48  0\n"
            )
        );
    }
}
