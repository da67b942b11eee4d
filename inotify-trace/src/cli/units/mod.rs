//! Durations, sizes and times on the command line: one parser and one help text for all commands.

mod coverage;
mod duration;
mod moment;
mod size;

pub(super) use coverage::Coverage;
pub(super) use duration::{duration, interval, positive_duration};
pub(super) use moment::Moment;
pub(super) use size::{buffer_size, file_size, memory_size, total_size};

/// Help on `DURATION`.
pub(super) const DURATION: &str =
    "  DURATION  90, 90s, 1m30s, 2h, 1.5h or 500ms; a number alone is seconds";

/// Help on `SIZE`.
pub(super) const SIZE: &str =
    "  SIZE      64K, 4M, 1G or 1GiB, in powers of 1024; a number alone is bytes";

/// Help on `TIME`.
pub(super) const TIME: &str = concat!(
    "  TIME      03:05, 7:20 or 03:05:30   the last such time of day in the recording\n",
    "            2026-01-31T03:05          local time; other zones end with Z or an offset (+01:00)\n",
    "            @1769828700               seconds since 1970\n",
    "            +90s                      a DURATION after the beginning of the recording\n",
    "            -10m                      a DURATION before the end of the recording\n",
    "            now                       the current time of this machine",
);

/// The end of a command's help: examples, then the forms of values.
pub(super) fn help(examples: &str, values: &[&str]) -> String {
    format!("{examples}\n\nValues:\n{}", values.join("\n"))
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::{DURATION, SIZE, TIME};
    use crate::cli::Cli;

    fn check(command: &Command, checked: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        // Clap breaks longer lines, wherever that is.
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "`{} --help`: {line}", command.get_name());
        }
        for argument in command.get_arguments() {
            for value in argument.get_value_names().unwrap_or_default() {
                let words = match value.as_str() {
                    "DURATION" => DURATION,
                    "SIZE" => SIZE,
                    "TIME" => TIME,
                    "SECONDS" => panic!("{argument}: every duration is a DURATION"),
                    _ => continue,
                };
                let name = command.get_name();
                assert!(help.contains(words), "`{name} --help` does not explain {argument}");
                // What takes a TIME explains its durations too.
                assert!(words != TIME || help.contains(DURATION), "`{name} --help`: {argument}");
                *checked += 1;
            }
        }
        command.get_subcommands().for_each(|command| check(command, checked));
    }

    #[test]
    fn every_command_explains_the_values_it_takes_in_the_same_words() {
        let mut checked = 0;
        check(&Cli::command(), &mut checked);
        assert!(checked >= 20, "{checked} arguments");
    }
}
