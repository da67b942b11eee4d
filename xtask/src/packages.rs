//! Debian's packages with programs that tests use.

use anyhow::anyhow;

use crate::apt;
use crate::step;
use crate::workspace::which;

/// Programs that the live tests trace, and their packages.
const TOOLS: &[(&str, &str)] = &[
    ("inotifywait", "inotify-tools"),
    ("stress-ng", "stress-ng"),
    ("node", "nodejs"),
    ("tail", "coreutils"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("containerd", "containerd"),
    // The terminal in which `top` is looked at.
    ("tmux", "tmux"),
    // In the images of its containers, which have nothing else in them.
    ("busybox", "busybox-static"),
    // They read the completions and the manual pages.
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("man", "man-db"),
    // And its promtool: they read the alerts, and scrape the agent.
    ("prometheus", "prometheus"),
];

/// The browser that looks at reports, and a font for it.
const BROWSERS: &[&str] =
    &["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
const BROWSER_PACKAGES: &[&str] = &["chromium-headless-shell", "fonts-dejavu-core"];

/// Installs the programs the tests use. Without them those tests are skipped, and say so;
/// the others are still worth running.
pub fn setup() {
    let tools: Vec<_> = TOOLS.iter().filter(|(program, _)| which(program).is_none()).collect();
    let packages: Vec<_> = tools.iter().map(|(_, package)| *package).collect();
    // Ubuntu has no such package: one is not to keep the others from being installed.
    let browser =
        if BROWSERS.iter().any(|it| which(it).is_some()) { &[] } else { BROWSER_PACKAGES };
    let wanted = [(&packages[..], "that the live tests need"), (browser, "for tests of reports")];
    if wanted.iter().all(|(packages, _)| packages.is_empty()) {
        return;
    }
    let updated = apt::update();
    for (packages, purpose) in wanted.into_iter().filter(|(packages, _)| !packages.is_empty()) {
        let installed = match &updated {
            Ok(()) => apt::install(packages, purpose),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        if let Err(error) = installed {
            let packages = packages.join(", ");
            step::say(&format!("{error:#}; tests that need {packages} will be skipped"));
        }
    }
}
