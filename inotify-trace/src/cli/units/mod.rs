//! Durations, sizes and times on the command line: one parser and one explanation for all commands.

mod coverage;
mod duration;
mod moment;
mod size;

pub(super) use coverage::Coverage;
pub(super) use duration::{duration, interval, positive_duration};
pub(super) use moment::Moment;
pub(super) use size::{buffer_size, file_size, total_size};

/// What a `DURATION` is.
pub(super) const DURATION: &str =
    "  DURATION  90, 90s, 1m30s, 2h, 1.5h or 500ms; a number alone is seconds";

/// What a `SIZE` is.
pub(super) const SIZE: &str =
    "  SIZE      64K, 4M, 1G or 1GiB, in powers of 1024; a number alone is bytes";

/// What a `TIME` is.
pub(super) const TIME: &str = concat!(
    "  TIME      03:05, 7:20 or 03:05:30   the last such time of day that was recorded\n",
    "            2026-01-31T03:05          local time; others end with Z or an offset, as in +01:00\n",
    "            @1769828700               seconds since 1970\n",
    "            +90s                      a DURATION after the beginning of what was recorded\n",
    "            -10m                      a DURATION before the end of what was recorded\n",
    "            now                       this moment, by this machine's clock",
);

/// The end of a command's help: its examples, then what the values it takes look like.
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
