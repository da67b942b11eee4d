//! Settings of `serve`: what the command line does not say comes from variables, and what they don't
//! say from a file.
//!
//! Each option that the help shows is a setting, so that it is defined once. A setting becomes the
//! option's default after it was checked, and clap does the rest.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{
    Arg, ArgAction, ArgMatches, Args as _, Command, CommandFactory as _, parser::ValueSource,
};
use toml::de::{DeTable, DeValue};

use super::{Cli, serve};

/// The file that is read if no other is given.
const FILE: &str = "/etc/inotify-trace.toml";

/// The command that has settings.
const COMMAND: &str = "serve";

/// What variables' names begin with.
const PREFIX: &str = "INOTIFY_TRACE_";

/// Values by the keys of their settings.
#[derive(Debug, Default)]
pub(super) struct Settings(BTreeMap<String, Setting>);

#[derive(Debug)]
struct Setting {
    value: OsString,
    origin: Origin,
}

/// Where a setting comes from.
#[derive(Debug)]
enum Origin {
    File(PathBuf, usize),
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(out, "{}:{line}", path.display()),
            Self::Variable(name) => out.write_str(name),
        }
    }
}

impl Settings {
    /// Those of the environment and of a file: this one, that of `INOTIFY_TRACE_CONFIG`, or else the
    /// usual one if it is there.
    ///
    /// # Errors
    /// Says where something is that cannot be, and what could.
    pub(super) fn of(config: Option<&Path>) -> anyhow::Result<Self> {
        let mut settings = Self::default();
        let named = env::var_os(variable("config")).filter(|it| !it.is_empty());
        let path = config.map(Path::to_owned).or(named.map(PathBuf::from));
        let is_given = path.is_some();
        let path = path.unwrap_or_else(|| FILE.into());
        match fs::read_to_string(&path) {
            Ok(text) => settings.read(&text, &path)?,
            Err(error) if error.kind() == ErrorKind::NotFound && !is_given => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
        for option in options(&command()) {
            let name = variable(key(option));
            // Others that begin so are not ours: Kubernetes makes some of names of services.
            if let Some(value) = env::var_os(&name).filter(|it| !it.is_empty()) {
                settings.set(option, value, Origin::Variable(name))?;
            }
        }
        Ok(settings)
    }

    fn read(&mut self, text: &str, path: &Path) -> anyhow::Result<()> {
        let origin = |at: usize| {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            Origin::File(path.to_owned(), line)
        };
        let table = DeTable::parse(text).map_err(|error| {
            let origin = origin(error.span().map_or(0, |span| span.start));
            anyhow::anyhow!("{origin}: {}", error.message())
        })?;
        let command = command();
        for (key_read, value) in table.get_ref() {
            let origin = origin(key_read.span().start);
            let name = key_read.get_ref();
            let Some(option) = options(&command).find(|it| key(it) == name) else {
                let all: Vec<_> = options(&command).map(key).collect();
                bail!("{origin}: there is no setting {name:?}; there are {}", all.join(", "));
            };
            let value = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                DeValue::Boolean(is_on) => is_on.to_string(),
                other => {
                    let kind = other.type_str();
                    bail!(
                        "{origin}: {name}: a text in quotes, a number, true or false is needed, not {kind}"
                    );
                }
            };
            self.set(option, value.into(), origin)?;
        }
        Ok(())
    }

    /// Takes a value, if the option does.
    fn set(&mut self, option: &Arg, value: OsString, origin: Origin) -> anyhow::Result<()> {
        let key = key(option);
        if let Err(problem) = check(option, &value) {
            bail!("{origin}: {key}: {problem}");
        }
        self.0.insert(key.to_owned(), Setting { value, origin });
        Ok(())
    }

    /// The command's options as a command line gives them, and these settings below it.
    pub(super) fn below(
        &self,
        line: impl IntoIterator<Item = OsString>,
    ) -> anyhow::Result<ArgMatches> {
        let program = Cli::command().mut_subcommand(COMMAND, |command| {
            command.mut_args(|option| match self.0.get(key(&option)) {
                Some(setting) => option.default_value(setting.value.clone()),
                None => option,
            })
        });
        let mut matches = program.try_get_matches_from(line)?;
        let (_, of_command) = matches.remove_subcommand().context("there is no command")?;
        Ok(of_command)
    }

    /// The settings as a file that sets them, with where each comes from.
    pub(super) fn shown(&self, matches: &ArgMatches) -> String {
        let mut text = String::new();
        for option in options(&command()) {
            let (id, key) = (option.get_id().as_str(), key(option));
            let value = matches.get_raw(id).and_then(|mut values| values.next());
            let Some(value) = value.map(OsStr::to_string_lossy) else {
                text += &format!("# {key} is not set\n");
                continue;
            };
            let origin = match (matches.value_source(id), self.0.get(key)) {
                (Some(ValueSource::CommandLine), _) => format!("--{key}"),
                (_, Some(setting)) => setting.origin.to_string(),
                (_, None) => "the default".to_owned(),
            };
            let value = match option.get_action() {
                ArgAction::SetTrue => value.into_owned(),
                // JSON's texts are TOML's, too.
                _ => serde_json::Value::from(value).to_string(),
            };
            text += &format!("{key} = {value}  # {origin}\n");
        }
        text
    }
}

fn command() -> Command {
    serve::Args::augment_args(Command::new(COMMAND))
}

/// The options that are settings.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let is_setting = |it: &&Arg| {
        let has_value = matches!(it.get_action(), ArgAction::Set | ArgAction::SetTrue);
        has_value && !it.is_hide_set() && !["config", "print-config"].contains(&key(it))
    };
    command.get_arguments().filter(is_setting)
}

fn key(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"))
}

/// What clap says of a value.
fn check(option: &Arg, value: &OsStr) -> Result<(), String> {
    if matches!(option.get_action(), ArgAction::SetTrue) {
        let is_known = value == "true" || value == "false";
        return is_known
            .then_some(())
            .ok_or_else(|| format!("must be true or false, not {:?}", value.to_string_lossy()));
    }
    let mut word = OsString::from(format!("--{}=", key(option)));
    word.push(value);
    let Err(error) = command().try_get_matches_from([COMMAND.into(), word]) else { return Ok(()) };
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    Err(first.split_whitespace().collect::<Vec<_>>().join(" "))
}
