//! How many pods the kubelet of this machine takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{DEFAULT_PODS, Pods, PodsFrom, files::Root};
use crate::{host::procfs::is_run_by_the_machine_s_root, regular};

/// The kubelet's file of settings where its command line names none (kubeadm's).
const CONFIG: &str = "var/lib/kubelet/config.yaml";

/// The most bytes of a command line or of a file of settings.
const LONGEST: u64 = 1 << 20;

/// Programs that are, or contain, a kubelet.
const PROGRAMS: [&str; 6] = ["kubelet", "k3s", "k3s-server", "k3s-agent", "kubelite", "hyperkube"];

/// The most pods that the kubelet takes; None if there is no kubelet.
#[must_use]
pub fn pods(root: &Root) -> Option<Pods> {
    let arguments = arguments(root);
    let file = |path: &str| root.join(path);
    let (mut found, mut is_there) = (None, arguments.is_some());
    let arguments = arguments.unwrap_or_default();
    let config = option(&arguments, "config").map_or_else(|| root.join(CONFIG), |it| file(&it));
    if let Some(text) = text(&config) {
        is_there = true;
        found = max_pods(&text);
    }
    // Drop-ins, in the order of their names.
    if let Some(directory) = option(&arguments, "config-dir") {
        for path in drop_ins(&file(&directory)) {
            found = text(&path).as_deref().and_then(max_pods).or(found);
        }
    }
    // The command line goes before the files.
    let flag = option(&arguments, "max-pods").and_then(|it| it.parse().ok());
    match flag.or(found) {
        Some(count) => Some(Pods { count, from: PodsFrom::Kubelet }),
        None => is_there.then_some(Pods { count: DEFAULT_PODS, from: PodsFrom::Default }),
    }
}

/// The arguments of the running kubelet. A process of that name in a container is none: its arguments
/// would name files of the machine to read.
fn arguments(root: &Root) -> Option<Vec<String>> {
    let processes = fs::read_dir(root.join("proc")).ok()?;
    processes.flatten().find_map(|process| {
        let name = process.file_name();
        name.to_str()?.parse::<u32>().ok()?;
        let comm = regular::read(&process.path().join("comm"), LONGEST).ok()?;
        let comm = String::from_utf8_lossy(&comm);
        let is_it = PROGRAMS.contains(&comm.trim_end());
        if !(is_it && is_run_by_the_machine_s_root(&process.path())) {
            return None;
        }
        let line = regular::read(&process.path().join("cmdline"), LONGEST).ok()?;
        let line = String::from_utf8_lossy(&line);
        Some(line.split('\0').map(str::to_owned).collect())
    })
}

/// The last value of an option `--name=VALUE` or `--name VALUE`, or of one that k3s passes on
/// (`--kubelet-arg=name=VALUE`).
fn option(arguments: &[String], name: &str) -> Option<String> {
    let (equals, passed) = (format!("--{name}="), format!("{name}="));
    let mut value = None;
    for (at, argument) in arguments.iter().enumerate() {
        let next = arguments.get(at + 1);
        let is_named = argument.strip_prefix("--").is_some_and(|it| it == name);
        let through = match argument.strip_prefix("--kubelet-arg") {
            Some("") => next.and_then(|it| it.strip_prefix(&passed)),
            Some(rest) => rest.strip_prefix('=').and_then(|it| it.strip_prefix(&passed)),
            None => None,
        };
        let direct = argument.strip_prefix(&equals);
        let direct = direct.or(next.filter(|_| is_named).map(String::as_str));
        value = direct.or(through).map(str::to_owned).or(value);
    }
    value
}

/// The value of `maxPods` in a KubeletConfiguration, which is YAML or JSON.
fn max_pods(text: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        // A field of the document itself, in YAML not indented.
        let at = line.find("maxPods")?;
        let before = line[..at].trim_end_matches('"');
        let is_json = before.trim_start().is_empty() || before.contains(['{', ',']);
        if !(before.is_empty() || line[..at].ends_with('"') && is_json) {
            return None;
        }
        let value = line[at + "maxPods".len()..].trim_start_matches('"').trim_start();
        let value = value.strip_prefix(':')?.trim_start();
        let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value[..end].parse().ok()
    })
}

fn text(path: &Path) -> Option<String> {
    let bytes = regular::read(path, LONGEST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn drop_ins(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "conf"));
    paths.sort_unstable();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_found_in_yaml_and_json() {
        for (text, expected) in [
            ("kind: KubeletConfiguration\nmaxPods: 250\n", Some(250)),
            ("maxPods:   64 # few\n", Some(64)),
            ("{\"kind\":\"KubeletConfiguration\",\"maxPods\":32}", Some(32)),
            ("{\n  \"maxPods\": 31,\n}", Some(31)),
            ("# maxPods: 250\n", None),
            ("nested:\n  maxPods: 250\n", None),
            ("maxPods: many", None),
            ("maxPods: 99999999999999999999", None),
            ("maxPodsPerCore: 9", None),
            ("", None),
        ] {
            assert_eq!(max_pods(text), expected, "{text:?}");
        }
    }

    #[test]
    fn options_have_two_forms_and_the_last_counts() {
        let value = |line: &str, name| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            option(&words, name)
        };
        assert_eq!(value("kubelet --max-pods=9 --v=2", "max-pods").as_deref(), Some("9"));
        assert_eq!(value("kubelet --config /a --config=/b", "config").as_deref(), Some("/b"));
        let k3s = "k3s server --kubelet-arg=max-pods=250 --kubelet-arg v=2";
        assert_eq!(value(k3s, "max-pods").as_deref(), Some("250"));
        assert_eq!(value("k3s agent --kubelet-arg max-pods=7", "max-pods").as_deref(), Some("7"));
        assert_eq!(value("kubelet --config-dir=/c", "config"), None);
        assert_eq!(value("kubelet --max-pods", "max-pods"), None);
    }
}
