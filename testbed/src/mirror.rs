//! Downloads from a Debian mirror, and accepts only files signed by Debian.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::index;
use xtask::architecture::Architecture;
use xtask::step;

/// Names the mirror where apt's own configuration names none.
pub const VARIABLE: &str = "MIRROR";

/// Debian's keys, from the package debian-archive-keyring.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names by which a mirror's Debian proper goes in apt's configuration.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];

/// A mirror that has all of Debian's suites.
pub struct Mirror {
    root: String,
}

impl Mirror {
    /// The one the user names, or else the one apt uses.
    pub fn find() -> Result<Self> {
        let named = env::var(VARIABLE).ok().filter(|root| !root.is_empty());
        let root = named.or_else(|| from_files(&source_files())).with_context(|| {
            format!(
                "no Debian mirror is known: apt's configuration names none, so give one's address \
                 in the environment variable {VARIABLE}"
            )
        })?;
        Ok(Self { root: root.trim_end_matches('/').to_owned() })
    }

    /// Its address, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The suite's package index, which is fetched to and unpacked in `directory`.
    pub fn index(
        &self,
        suite: &str,
        architecture: &Architecture,
        directory: &Path,
    ) -> Result<String> {
        let packages = format!("main/binary-{}/Packages.xz", architecture.debian);
        let signed = directory.join("InRelease");
        self.fetch(&format!("dists/{suite}/InRelease"), &signed)?;
        let release = verified(&signed)?;
        let sum = index::checksum(&release, &packages)
            .with_context(|| format!("the Release file of {suite} does not list {packages}"))?;
        let packed = directory.join("Packages.xz");
        self.fetch(&format!("dists/{suite}/{packages}"), &packed)?;
        check(&packed, sum)?;
        step::output_of(Command::new("xz").args(["--decompress", "--stdout"]).arg(&packed))
    }

    /// Fetches a package's file to `directory`.
    pub fn package(&self, package: &index::Package, directory: &Path) -> Result<PathBuf> {
        let file = directory.join("package.deb");
        self.fetch(&package.file, &file)?;
        check(&file, &package.sha256)?;
        Ok(file)
    }

    fn fetch(&self, path: &str, to: &Path) -> Result<()> {
        let address = format!("{}/{path}", self.root);
        let mut command = Command::new("curl");
        // --fail turns an error page into an error; 300 s suffice for a slow line.
        command.args(["--fail", "--silent", "--show-error", "--location", "--retry", "2"]);
        command.args(["--connect-timeout", "10", "--max-time", "300", "--output"]);
        command.arg(to).arg(&address).stdin(Stdio::null());
        let output = command.output().context("cannot start curl")?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!("cannot fetch {address}: {}", why.trim().replace('\n', "; "));
        }
        Ok(())
    }
}

/// The signed text, if Debian signed it.
fn verified(signed: &Path) -> Result<String> {
    let text = signed.with_extension("text");
    let mut command = Command::new("gpgv");
    command.args(["--quiet", "--keyring", KEYRING, "--status-fd", "1", "--output"]);
    command.arg(&text).arg(signed);
    let output = command.output().with_context(|| step::shown(&command))?;
    // Of several signatures one is enough: an older keyring lacks the newest keys, which alone
    // makes gpgv fail.
    let status = String::from_utf8_lossy(&output.stdout);
    ensure!(
        is_signed(&status),
        "{} has no valid signature by a key in {KEYRING}: {}",
        signed.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    fs::read_to_string(&text).with_context(|| format!("cannot read {}", text.display()))
}

/// Whether gpgv's status lines report a good signature and no bad one.
fn is_signed(status: &str) -> bool {
    let said = |word: &str| status.lines().any(|line| line.split_whitespace().nth(1) == Some(word));
    said("GOODSIG") && !said("BADSIG")
}

fn check(file: &Path, sha256: &str) -> Result<()> {
    let mut command = Command::new("sha256sum");
    let output = step::output_of(command.arg("--binary").arg(file))?;
    let actual = output.split_whitespace().next().unwrap_or_default();
    if actual != sha256 {
        bail!(
            "{} has the checksum {actual} instead of {sha256}: the mirror was being updated, or \
             the transfer was disturbed; try again",
            file.display()
        );
    }
    Ok(())
}

/// The texts of apt's configuration of sources, with the format each is in.
fn source_files() -> Vec<String> {
    let directory = Path::new("/etc/apt");
    let mut files: Vec<PathBuf> = fs::read_dir(directory.join("sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files.insert(0, directory.join("sources.list"));
    files
        .iter()
        .filter(|file| file.extension().is_some_and(|name| name == "list" || name == "sources"))
        .filter_map(|file| fs::read_to_string(file).ok())
        .collect()
}

fn from_files(files: &[String]) -> Option<String> {
    files.iter().find_map(|text| from_lines(text).or_else(|| from_stanzas(text)))
}

/// From `deb [options] URI suite components` lines.
fn from_lines(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim_start();
        let rest = rest
            .strip_prefix('[')
            .map_or(Some(rest), |options| options.split_once(']').map(|(_, rest)| rest))?;
        let mut words = rest.split_whitespace();
        let uri = words.next()?;
        (is_web(uri) && SUITES.contains(&words.next()?)).then(|| uri.to_owned())
    })
}

/// From stanzas with the fields `URIs` and `Suites`.
fn from_stanzas(text: &str) -> Option<String> {
    let mut uris: Vec<&str> = Vec::new();
    let mut suites: Vec<&str> = Vec::new();
    // A last empty line ends the last stanza.
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            if suites.iter().any(|suite| SUITES.contains(suite))
                && let Some(uri) = uris.iter().find(|uri| is_web(uri))
            {
                return Some((*uri).to_owned());
            }
            uris.clear();
            suites.clear();
        } else if let Some((field, value)) = line.split_once(':') {
            match field.to_ascii_lowercase().as_str() {
                "uris" => uris = value.split_whitespace().collect(),
                "suites" => suites = value.split_whitespace().collect(),
                _ => {}
            }
        }
    }
    None
}

fn is_web(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::{from_files, is_signed};

    fn find(text: &str) -> Option<String> {
        from_files(&[text.to_owned()])
    }

    #[test]
    fn the_mirror_is_the_one_that_has_debian_itself() {
        let text = "\
# deb https://commented.example/debian stable main
deb https://other.example/apt sdk-bookworm main
deb https://security.example/debian-security bookworm-security main
deb [arch=amd64 signed-by=/k.gpg] https://mirror.example/debian bookworm main contrib
";
        assert_eq!(find(text).as_deref(), Some("https://mirror.example/debian"));
    }

    #[test]
    fn stanzas_are_understood_too() {
        let text = "\
Types: deb
URIs: https://node.example/node_20.x
Suites: nodistro
Components: main

Types: deb
# http://commented.example/
URIs: file:/local http://mirror.example/debian/
Suites: trixie trixie-updates
Components: main
";
        assert_eq!(find(text).as_deref(), Some("http://mirror.example/debian/"));
    }

    #[test]
    fn other_distributions_have_no_debian_mirror() {
        assert_eq!(find("deb http://archive.example/ubuntu noble main universe\n"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn one_good_signature_is_enough_and_one_bad_is_too_many() {
        let missing = "[GNUPG:] NO_PUBKEY 12\n";
        let good = "[GNUPG:] GOODSIG 34 Debian\n[GNUPG:] VALIDSIG 34\n";
        assert!(is_signed(&format!("{missing}{good}")));
        assert!(!is_signed(missing));
        assert!(!is_signed(&format!("{good}[GNUPG:] BADSIG 56 Debian\n")));
        assert!(!is_signed("[GNUPG:] ERROR about GOODSIG\n"));
    }
}
