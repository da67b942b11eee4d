//! Running other programs, and telling the user about it.

use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often to mention a command with a limit, which may be silent when no terminal shows its bars.
const REMINDER: Duration = Duration::from_secs(20);

/// Worth a line of its own when it is over.
const LONG: Duration = Duration::from_secs(2);

/// Tells the user what happens next. On standard error: the output of `cargo xtask run` is
/// inotify-trace's.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// Runs `command` with its output on the user's terminal; an error if it fails.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    finish(what, command, None)
}

/// Like [`run`], but ends the command if it takes longer than `limit`.
pub fn run_within(limit: Duration, what: &str, command: &mut Command) -> Result<()> {
    finish(what, command, Some(limit))
}

fn finish(what: &str, command: &mut Command, limit: Option<Duration>) -> Result<()> {
    say(what);
    let started = Instant::now();
    // Nothing here asks questions, except sudo, which opens the terminal itself.
    command.stdin(Stdio::null());
    let status = wait(command, limit).with_context(|| format!("{what}: {}", shown(command)))?;
    if !status.success() {
        bail!("{what} failed ({status}); the command was: {}", shown(command));
    }
    say_done(started.elapsed());
    Ok(())
}

fn wait(command: &mut Command, limit: Option<Duration>) -> Result<ExitStatus> {
    let Some(limit) = limit else { return Ok(command.status()?) };
    let mut child = command.spawn()?;
    let started = Instant::now();
    let mut told = started;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            bail!("not done after {} s, given up", limit.as_secs());
        }
        if told.elapsed() >= REMINDER {
            told = Instant::now();
            let (elapsed, limit) = (started.elapsed().as_secs(), limit.as_secs());
            say(&format!("... not done after {elapsed} s (giving up at {limit} s)"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What `command` prints, with its errors on the user's terminal.
pub fn output_with_errors_shown(what: &str, command: &mut Command) -> Result<String> {
    say(what);
    let started = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{what} failed ({}); the command was: {}", output.status, shown(command));
    }
    say_done(started.elapsed());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn say_done(elapsed: Duration) {
    if elapsed >= LONG {
        say(&format!("... done in {:.0} s", elapsed.as_secs_f32()));
    }
}

/// What `command` prints, without showing any of it.
pub fn output_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not UTF-8", shown(command)))
}

/// `command` as one would type it.
pub fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{run, run_within};

    #[test]
    fn a_command_that_hangs_is_ended() {
        // Were it not ended, it would never end.
        let limit = Duration::from_millis(100);
        let mut hang = Command::new("sleep");
        let error = run_within(limit, "sleeping", hang.arg("infinity")).unwrap_err();
        assert!(format!("{error:#}").contains("given up"), "{error:#}");
    }

    #[test]
    fn a_failure_names_the_purpose_and_the_command() {
        let error = run("building", Command::new("false").arg("--loudly")).unwrap_err().to_string();
        assert!(error.contains("building") && error.contains("false --loudly"), "{error}");
    }
}
