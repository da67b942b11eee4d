//! `limits --apply`: writes the recommended values, and sets them.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::{Args, print::print};
use crate::{
    cli::{EXIT_ERROR, format::TextJsonOrCsv, say::say},
    limits::{self, apply::Plan, files::Root},
    output::{LimitsReport, Patient},
};

/// Writes the recommended values, if the user agrees.
pub(super) fn apply(args: &Args, report: &mut LimitsReport) -> anyhow::Result<ExitCode> {
    let root = Root::new(&args.host.root());
    let plan = Plan::new(&root, &report.recommendation)?;
    if args.output == TextJsonOrCsv::Text {
        print(args, report, Patient::stdout_to_the_end())?;
    }
    // JSON has these sentences too, but comes at the end; the user needs them before answering.
    for sentence in overruled(&plan, &plan.foreseen(&root)) {
        say(format_args!("inotify-trace: {sentence}"))?;
    }
    if !args.yes && !agreed(&plan)? {
        say(format_args!("Nothing was changed."))?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = plan.carry_out(&root).map_err(|error| {
        let error = anyhow::Error::from(error);
        // Half done: the file takes effect at the next boot, so say that it is written.
        if plan.is_file_written() {
            error.context(format!("{} is written, but not all is set now", plan.file.display()))
        } else {
            error
        }
    })?;
    let is_overruled = plan.overridden(&done.settings).next().is_some();
    report.settings.clone_from(&done.settings);
    report.done = Some(done);
    match args.output {
        TextJsonOrCsv::Json | TextJsonOrCsv::Csv => {
            print(args, report, Patient::stdout_to_the_end())?
        }
        TextJsonOrCsv::Text => report.write_done(&mut Patient::stdout_to_the_end())?,
    }
    if is_overruled {
        say(format_args!(
            "inotify-trace: the live values are set, but will not last: see the messages above"
        ))?;
        return Ok(ExitCode::from(EXIT_ERROR));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sentence for each setting outside the plan's file that overrides it; `settings` are those of
/// all files, the plan's included.
pub(super) fn overruled(plan: &Plan, settings: &[limits::Setting]) -> Vec<String> {
    let file = plan.file.display();
    let sentence = |setting: &limits::Setting| {
        let key = setting.sysctl.key();
        let what = match &setting.configured.winner {
            Some(it) => format!("{} sets {key} to {}", it.place(), it.text),
            None => format!("a line `-{key}` takes {key} back"),
        };
        format!(
            "{what} after {file} is read, at the next boot or by `sysctl --system`: remove or \
             change that, or what is written to {file} has no effect."
        )
    };
    plan.overridden(settings).map(sentence).collect()
}

/// Asks the user on the terminal.
fn agreed(plan: &Plan) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    let values: Vec<_> =
        plan.values.iter().map(|(sysctl, value)| format!("{} = {value}", sysctl.key())).collect();
    write!(err, "\nWrite {} and set {} now? [y/N] ", plan.file.display(), values.join(" and "))?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
