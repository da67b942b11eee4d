//! What a machine's end says of its scenario.

use std::fs;
use std::path::Path;

use xtask::step;

use crate::boot::End;
use crate::machine::Outcome;
use crate::report::{self, Report};

/// What a script writes before it gives up, with the reason.
const FAILED: &str = " s: FAILED: ";

/// Whether the machine's script ended well; otherwise the report says what failed, and the output is
/// shown unless it has been.
pub fn is_well(end: &End, report: &mut Report, was_shown: bool) -> bool {
    report.retried |= end.retried;
    match &end.outcome {
        Outcome::Ended(0) => return true,
        Outcome::Ended(status) => {
            let output = output(&end.kept);
            if !was_shown {
                step::say(&format!("output of {}:\n{output}", report.name()));
            }
            report.result = match failure(&output) {
                Some(why) => report::Result::Wrong(why.to_owned()),
                None => report::Result::Ended(*status),
            };
        }
        Outcome::Lost { why, .. } => report.result = report::Result::Lost(why.clone()),
    }
    false
}

fn output(kept: &Path) -> String {
    fs::read_to_string(kept.join("output.txt")).unwrap_or_default()
}

/// The reason that a script gives.
fn failure(output: &str) -> Option<&str> {
    let mut lines = output.lines();
    lines.find_map(|line| line.find(FAILED).map(|start| &line[start + FAILED.len()..]))
}

#[cfg(test)]
mod tests {
    use super::failure;

    #[test]
    fn a_script_says_what_failed() {
        assert_eq!(
            failure("3 s: begin\n40 s: FAILED: in vain: a node\nFAILED\n"),
            Some("in vain: a node")
        );
        assert_eq!(failure("3 s: begin\n40 s: done\n"), None);
    }
}
