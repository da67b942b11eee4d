//! `inotify-trace man`: the manual pages, made of the definition of the options.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{Cli, completions::PROGRAM};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to write to
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let directory = &args.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for (name, page) in pages()? {
        let path = directory.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The name and the text of each page: one for the program, and one for each command.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut program = Cli::command().name(PROGRAM);
    program.build();
    let visible = |it: &&Command| !it.is_hide_set() && it.get_name() != "help";
    let commands: Vec<_> = program.get_subcommands().filter(visible).collect();
    let names: Vec<_> = commands.iter().map(|it| format!("{PROGRAM}-{}", it.get_name())).collect();
    let mut pages = vec![(format!("{PROGRAM}.1"), page(&program, PROGRAM, &names)?)];
    for (command, name) in commands.iter().zip(&names) {
        let others = [PROGRAM.to_owned()];
        pages.push((format!("{name}.1"), page(command, name, &others)?));
    }
    Ok(pages)
}

fn page(command: &Command, name: &str, see_also: &[String]) -> io::Result<Vec<u8>> {
    let end = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // The end has lines to be kept as they are, which the generator would fill.
    let command = command.clone().after_help("").display_name(name.to_owned());
    // A page is long help.
    let command = command.mut_args(|it| it.hide_short_help(false));
    let has_commands = command.get_subcommands().any(|it| !it.is_hide_set());
    let man = Man::new(command);
    let version = env!("CARGO_PKG_VERSION");
    // The generator would leave an empty date out, and the version would be taken for it.
    let title = format!(".TH {name} 1 \"\" \"{PROGRAM} {version}\" \"User Commands\"\n");
    let mut page = title.into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    for block in end.split("\n\n").filter(|it| !it.trim().is_empty()) {
        add(&mut rest, block);
    }
    rest.control("SH", ["SEE ALSO"]);
    let see_also: Vec<_> = see_also.iter().map(|it| format!("{it}(1)")).collect();
    rest.text([roman(see_also.join(", "))]);
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// Adds a part of what follows the options in the help.
fn add(page: &mut Roff, block: &str) {
    let (head, lines) = block.split_once('\n').unwrap_or((block, ""));
    match head.strip_suffix(':') {
        Some(title) if lines.starts_with("  ") => {
            page.control("SH", [title.to_uppercase().as_str()]);
            page.control("nf", []);
            for line in lines.lines() {
                page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            page.control("fi", []);
        }
        _ => {
            let title = if head.starts_with("Exit code") { "EXIT STATUS" } else { "NOTES" };
            page.control("SH", [title]);
            page.text([roman(block.split_whitespace().collect::<Vec<_>>().join(" "))]);
        }
    }
}
