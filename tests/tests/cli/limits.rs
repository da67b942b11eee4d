//! `inotify-trace limits` and the files it reads and writes, always in a test's own directory tree.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use inotify_trace_tests::{agent::binary, require_root, system};
use serde_json::{Value, json};

use crate::{copy_for_everybody, make_pipe, refuses, terminal::terminal, text};

const DROP_IN: &str = "etc/sysctl.d/99-inotify.conf";
const INSTANCES: &str = "fs.inotify.max_user_instances";
const WATCHES: &str = "fs.inotify.max_user_watches";

/// More than any user has: with these values in a file, the recommendation does not depend on the
/// machine's other processes.
const ENOUGH: [(&str, u64); 2] = [(INSTANCES, 1 << 24), (WATCHES, 1 << 28)];

/// A directory tree in place of the machine's root directory.
struct Tree {
    directory: tempfile::TempDir,
    _machine: system::Machine,
}

impl Tree {
    /// A tree with a kernel's usual values and no configuration.
    fn new() -> Self {
        let tree = Self { _machine: system::the_machine(), directory: system::directory() };
        for (name, value) in
            [("max_user_instances", 128), ("max_user_watches", 65536), ("max_queued_events", 16384)]
        {
            tree.write(&live(name), format!("{value}\n"));
        }
        tree
    }

    /// As [`Self::new`], but the configured values are above the live ones.
    fn with_enough() -> Self {
        let tree = Self::new();
        let lines = ENOUGH.map(|(key, value)| format!("{key} = {value}\n"));
        tree.write("etc/sysctl.d/10-enough.conf", lines.concat());
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Makes a symbolic link, in the place of another one.
    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is below the tree")).expect("directories");
        if path.is_symlink() {
            fs::remove_file(&path).expect("the old link");
        }
        std::os::unix::fs::symlink(to, path).expect("a link");
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("it is below the tree")).expect("a directory");
        fs::write(path, content).expect("the test's own directory");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The live values.
    fn live(&self) -> [String; 2] {
        ["max_user_instances", "max_user_watches"].map(|name| self.read(&live(name)))
    }

    fn command(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["limits", "--host-root"]).arg(self.directory.path()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn limits(&self, arguments: &[&str]) -> Output {
        self.command(binary(), arguments).output().expect("the agent must start")
    }

    /// The JSON output. The exit code may be 1: a user of this machine may be close to a limit. Without
    /// privileges nobody can tell.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.limits(&[&["-o", "json"], arguments].concat());
        let is_answered = matches!(output.status.code(), Some(0 | 1)) || !system::is_root();
        assert!(is_answered, "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }

    fn apply(&self) -> Output {
        self.limits(&["--apply", "--yes"])
    }
}

/// The kernel's file of a sysctl.
fn live(name: &str) -> String {
    format!("proc/sys/fs/inotify/{name}")
}

/// The entry of a sysctl in the output.
fn sysctl<'a>(report: &'a Value, key: &str) -> &'a Value {
    let sysctls = report["sysctls"].as_array().expect("there are always sysctls");
    sysctls.iter().find(|it| it["sysctl"] == key).expect("all three are told")
}

/// The text with single spaces instead of line breaks.
fn words(bytes: &[u8]) -> String {
    text(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_says(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
}

#[test]
fn live_and_configured_values_are_compared() {
    let tree = Tree::new();
    tree.write("usr/lib/sysctl.d/50-vendor.conf", format!("{INSTANCES} = 256\n"));
    tree.write("etc/sysctl.d/10-first.conf", format!("# ours\n-{INSTANCES} = 512\n"));
    // Hidden by the file of the same name in /etc, although its directory comes later.
    tree.write("usr/lib/sysctl.d/10-first.conf", format!("{WATCHES} = 9\n"));
    tree.write("run/sysctl.d/90-last.conf", "\nfs/inotify/max_user_instances=1024");
    tree.write("usr/local/lib/sysctl.d/60-same.conf", format!("{WATCHES}=65536"));
    // No program reads this file.
    tree.write("etc/sysctl.d/95-backup.conf.bak", format!("{INSTANCES} = 1\n"));
    let report = tree.json(&[]);
    let told = |path: &str, line: u64, value: u64| {
        let text = value.to_string();
        json!({ "file": tree.path(path), "line": line, "text": text, "value": value })
    };
    let instances = json!({
        "sysctl": INSTANCES,
        "live": 128,
        "state": "differs",
        "configured": told("run/sysctl.d/90-last.conf", 2, 1024),
        "overridden": [
            told("etc/sysctl.d/10-first.conf", 2, 512),
            told("usr/lib/sysctl.d/50-vendor.conf", 1, 256),
        ],
    });
    assert_eq!(sysctl(&report, INSTANCES), &instances);
    let watches = sysctl(&report, WATCHES);
    assert_eq!((&watches["state"], &watches["overridden"]), (&json!("same"), &json!([])));
    let queued = sysctl(&report, "fs.inotify.max_queued_events");
    assert_eq!((&queued["state"], &queued["live"]), (&json!("not-configured"), &json!(16384)));
    // The recommendation is never below the configured value.
    let recommended = &report["recommendation"]["max_user_instances"];
    assert_eq!(recommended["floor"], 1024);
    assert!(recommended["value"].as_u64() >= Some(1024), "{recommended}");
    let output = tree.limits(&[]);
    let said = words(&output.stdout);
    assert_says(&said, &["90-last.conf:2 says 1024, live is 128", "50-vendor.conf:1 says 256"]);
    assert_says(&said, &["no file sets it", "Recommended", DROP_IN, "--apply"]);
}

#[test]
fn what_sysctl_conf_says_is_not_what_systemd_does() {
    let tree = Tree::new();
    tree.write("etc/sysctl.d/10.conf", format!("{INSTANCES} = 256\n"));
    tree.write("etc/sysctl.conf", format!("{INSTANCES} = 512\n"));
    let report = tree.json(&[]);
    let instances = sysctl(&report, INSTANCES);
    let values = ["configured", "at_boot"].map(|field| instances[field]["value"].as_u64());
    assert_eq!(values, [Some(512), Some(256)], "{instances}");
    assert_says(&words(&tree.limits(&[]).stdout), &["systemd does not read it", "256"]);
}

#[test]
fn what_is_no_setting_does_no_harm() {
    let tree = Tree::new();
    tree.write("etc/sysctl.d/20-bad.conf", b"\xff\xfe = 9\n==\n-\n=\n*\n[\n\0\n\x1b[2J\n");
    tree.write("etc/sysctl.d/30-bad.conf", format!("{INSTANCES}\n{INSTANCES} 7\n{WATCHES} = lots"));
    fs::create_dir(tree.path("etc/sysctl.d/40-directory.conf")).expect("a directory");
    std::os::unix::fs::symlink("nowhere", tree.path("etc/sysctl.d/50-link.conf")).expect("a link");
    // Neither waits for a writer, nor never ends; a mask is no file.
    make_pipe(&tree.path("etc/sysctl.d/60-pipe.conf"));
    for (name, device) in [("70-device.conf", "/dev/zero"), ("80-mask.conf", "/dev/null")] {
        let link = tree.path(&format!("etc/sysctl.d/{name}"));
        std::os::unix::fs::symlink(device, link).expect("a link");
    }
    File::create(tree.path("etc/sysctl.d/90-large.conf"))
        .and_then(|file| file.set_len(1 << 40))
        .expect("a file with a hole");
    tree.write(&live("max_queued_events"), "many\n");
    let report = tree.json(&[]);
    assert_eq!(sysctl(&report, INSTANCES)["state"], "not-configured");
    let watches = sysctl(&report, WATCHES);
    assert_eq!(
        (&watches["state"], &watches["configured"]["value"]),
        (&json!("invalid"), &json!(null))
    );
    assert_eq!(sysctl(&report, "fs.inotify.max_queued_events")["state"], "unknown");
    let notes = report["notes"].to_string();
    assert_says(&notes, &["40-directory.conf", "max_queued_events", "many"]);
    assert_says(&notes, &["60-pipe.conf: no regular file", "70-device.conf: no regular file"]);
    assert_says(&notes, &["90-large.conf: more than 1048576 bytes"]);
    assert!(!notes.contains("80-mask.conf"), "{notes}");
    let output = tree.limits(&[]);
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains('\x1b'), "nothing moves the terminal's cursor");
    assert_says(&words(&output.stdout), &["\"lots\", which the kernel refuses"]);
    // Without the kernel's files.
    fs::remove_dir_all(tree.path("proc")).expect("it was there");
    assert_says(&tree.json(&[])["notes"].to_string(), &["cannot read", "max_user_watches"]);
    refuses_after_report(&tree.apply(), &["cannot read", "max_user_instances"]);
    assert!(!tree.path(DROP_IN).exists(), "nothing is written where the kernel cannot be told");
}

/// Expects exit code 2, a message with all of these words, and the report.
fn refuses_after_report(output: &Output, all: &[&str]) {
    let errors = words(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_says(&errors, all);
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn prose_fits_a_terminal() {
    let tree = Tree::with_enough();
    tree.write("etc/sysctl.conf", format!("{INSTANCES} = 1\n{WATCHES} = x\n"));
    let output = tree.limits(&[]);
    for line in text(&output.stdout).lines() {
        // Tables are as wide as their content, and paths are not cut.
        let is_prose = !line.trim_start().contains("  ") && line.trim().contains(' ');
        assert!(!is_prose || line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn recommended_values_are_written_once() {
    let tree = Tree::with_enough();
    let report = tree.json(&[]);
    assert_eq!(report["recommendation"]["file"], json!(tree.path(DROP_IN)));
    assert!(!tree.path(DROP_IN).exists(), "only told");
    let output = tree.apply();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = words(&output.stdout);
    assert_says(&said, &["Wrote", "max_user_instances was 128, is 16777216 now"]);
    let written = tree.read(DROP_IN);
    assert_eq!(report["recommendation"]["text"], json!(written), "as was told");
    let settings: Vec<_> = written.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(settings, ENOUGH.map(|(key, value)| format!("{key} = {value}")));
    assert_eq!(tree.live(), ENOUGH.map(|(_, value)| format!("{value}\n")));
    assert_eq!(fs::metadata(tree.path(DROP_IN)).expect("it is there").mode() & 0o777, 0o644);
    let names = || fs::read_dir(tree.path("etc/sysctl.d")).expect("a directory").count();
    assert_eq!(names(), 2, "no temporary file is left");
    // The agent reads the values it has just written.
    let report = tree.json(&[]);
    for (key, value) in ENOUGH {
        let told = sysctl(&report, key);
        assert_eq!((&told["live"], &told["state"]), (&json!(value), &json!("same")));
        assert_eq!(told["configured"]["file"], json!(tree.path(DROP_IN)));
    }
    let identity = || {
        let files = [DROP_IN, &live("max_user_instances"), &live("max_user_watches")].map(|path| {
            let metadata = fs::metadata(tree.path(path)).expect("it is there");
            (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
        });
        (files, tree.read(DROP_IN), tree.live())
    };
    let before = identity();
    let output = tree.apply();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(identity(), before, "a second time changes nothing");
    let said = words(&output.stdout);
    assert_says(&said, &["99-inotify.conf is like that already", "is 16777216 already"]);
    assert!(!said.contains("Wrote"), "{said}");
    let report = tree.json(&["--apply", "--yes"]);
    let applied = &report["applied"][0];
    assert_eq!((&applied["before"], &applied["after"]), (&json!(1 << 24), &json!(1 << 24)));
}

#[test]
fn other_lines_of_the_file_are_kept() {
    let tree = Tree::with_enough();
    // The drop-in comes last, and would lower the value.
    tree.write(&live("max_user_watches"), format!("{}\n", ENOUGH[1].1));
    let existing =
        format!("# by hand\n{WATCHES} = 5\n\nvm.swappiness = 10\n{WATCHES} = 6\n;end\nnonsense");
    tree.write(DROP_IN, existing);
    let secret = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    fs::set_permissions(tree.path(DROP_IN), secret).expect("its owner may");
    let report = tree.json(&["--apply", "--yes"]);
    let expected = format!(
        "# by hand\n{WATCHES} = {}\n\nvm.swappiness = 10\n;end\nnonsense\n{INSTANCES} = {}\n",
        ENOUGH[1].1, ENOUGH[0].1
    );
    assert_eq!(tree.read(DROP_IN), expected);
    assert_eq!(fs::metadata(tree.path(DROP_IN)).expect("it is there").mode() & 0o777, 0o640);
    assert_eq!(
        report["applied"],
        json!([
            { "sysctl": INSTANCES, "before": 128, "after": ENOUGH[0].1 },
            { "sysctl": WATCHES, "before": ENOUGH[1].1, "after": ENOUGH[1].1 },
        ])
    );
}

#[test]
fn what_cannot_be_written_is_told() {
    let tree = Tree::new();
    tree.write("etc", "no directory");
    refuses_after_report(&tree.apply(), &[DROP_IN, "Not a directory"]);
    drop(tree);
    let tree = Tree::with_enough();
    let link = tree.path(DROP_IN);
    std::os::unix::fs::symlink("/dev/null", &link).expect("a link");
    refuses_after_report(&tree.apply(), &[DROP_IN, "a symbolic link", "move it away"]);
    assert_says(&words(&tree.limits(&[]).stdout), &["a symbolic link"]);
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink(), "left as it was");
    assert_eq!(tree.live(), ["128\n", "65536\n"]);
}

#[test]
fn who_may_not_write_is_told_what_has_been_written() {
    require_root!();
    let (_directory, program) = copy_for_everybody();
    let tree = Tree::with_enough();
    let uid = system::fresh_uid();
    let apply = || {
        let mut command = tree.command(program.get_program(), &["--apply", "--yes"]);
        command.uid(uid).current_dir("/").output().expect("the agent must start")
    };
    refuses_after_report(&apply(), &["cannot write", DROP_IN, "run it with sudo"]);
    assert!(!tree.path(DROP_IN).exists());
    let owned = tree.path("etc/sysctl.d");
    std::os::unix::fs::chown(&owned, Some(uid), None).expect("root may");
    let output = apply();
    refuses_after_report(&output, &["99-inotify.conf is written, but not all is set now"]);
    assert_says(&words(&output.stderr), &["cannot write", "max_user_instances", "containers"]);
    assert!(tree.path(DROP_IN).exists());
    assert_eq!(tree.live(), ["128\n", "65536\n"]);
}

#[test]
fn without_a_terminal_it_asks_for_a_yes() {
    let tree = Tree::with_enough();
    refuses(&tree.limits(&["--apply"]), &["--yes", "terminal"]);
    refuses(&tree.limits(&["--yes"]), &["--apply"]);
    refuses(&tree.limits(&["--apply", "--yes", "--watch"]), &["--watch"]);
    refuses(&tree.limits(&["--interval", "1"]), &["--watch"]);
    refuses(&tree.limits(&["--warn", "0"]), &["--warn"]);
    refuses(&tree.limits(&["--warn", "101"]), &["--warn"]);
    assert!(!tree.path(DROP_IN).exists());
    assert_eq!(tree.live(), ["128\n", "65536\n"]);
}

/// Runs `limits --apply` and answers its question. Returns its messages before the answer, and its
/// exit code.
fn answered(tree: &Tree, answer: &str) -> (String, Option<i32>) {
    let (mut ours, theirs) = terminal(80);
    let mut command = tree.command(binary(), &["--apply"]);
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the agent must start");
    // Only the child may hold the program's end of the terminal.
    drop(command);
    let mut errors = child.stderr.take().expect("it is piped");
    let mut said = Vec::new();
    while !said.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(errors.read(&mut byte).expect("a pipe"), 1, "no question: {}", words(&said));
        said.push(byte[0]);
    }
    assert_eq!(tree.live(), ["128\n", "65536\n"], "written before the answer");
    assert!(!tree.path(DROP_IN).exists(), "written before the answer");
    writeln!(ours, "{answer}").expect("it reads");
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    let status = child.wait().expect("it is ours");
    (words(&said), status.code())
}

#[test]
fn it_asks_before_it_writes() {
    let tree = Tree::with_enough();
    for answer in ["", "n", "what?"] {
        let (said, status) = answered(&tree, answer);
        assert_says(&said, &[DROP_IN, "max_user_instances = 16777216", "now?"]);
        assert_eq!(status, Some(0));
        assert!(!tree.path(DROP_IN).exists(), "{answer:?} is no yes");
        assert_eq!(tree.live(), ["128\n", "65536\n"]);
    }
    assert_eq!(answered(&tree, "y").1, Some(0));
    assert_eq!(tree.live(), ENOUGH.map(|(_, value)| format!("{value}\n")));
    assert!(tree.path(DROP_IN).exists());
}

#[test]
fn what_overrides_it_is_told_before_it_is_written() {
    let tree = Tree::with_enough();
    tree.write("etc/sysctl.d/99-zz.conf", format!("\n{INSTANCES} = 64\n-{WATCHES}\n"));
    let told = ["99-zz.conf:2 sets fs.inotify.max_user_instances to 64", "takes fs.inotify"];
    // The notes also appear without `--apply`.
    assert_says(&words(&tree.limits(&[]).stdout), &told);
    assert_says(&tree.json(&[])["notes"].to_string(), &told);
    let (said, status) = answered(&tree, "n");
    assert_says(&said, &told);
    assert_eq!(status, Some(0), "declined");
    let (said, status) = answered(&tree, "yes");
    assert_says(&said, &told);
    assert_eq!(status, Some(2));
    assert!(tree.path(DROP_IN).exists());
    let output = tree.limits(&["--apply", "--yes", "-o", "json"]);
    refuses_after_report(&output, &told);
    assert_says(&words(&output.stderr), &["will not last"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(sysctl(&report, INSTANCES)["state"], "differs");
    // A file with the same values does not conflict.
    let lines = ENOUGH.map(|(key, value)| format!("{key} = {value}\n"));
    tree.write("etc/sysctl.d/99-zz.conf", lines.concat());
    let output = tree.apply();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("99-zz.conf"), "{}", text(&output.stderr));
}

/// `user.max_inotify_*` are the same variables in the initial user namespace.
#[test]
fn the_other_names_of_the_sysctls_are_known() {
    let tree = Tree::new();
    let alias = "user.max_inotify_instances=8192\nuser.max_inotify_watches = 524288\n";
    tree.write("etc/sysctl.d/99-sysctl.conf", alias);
    let report = tree.json(&[]);
    let expected = [(INSTANCES, 1, 8192), (WATCHES, 2, 524_288)];
    for (key, line, value) in expected {
        let told = &sysctl(&report, key)["configured"];
        let file = tree.path("etc/sysctl.d/99-sysctl.conf");
        assert_eq!((&told["file"], &told["line"]), (&json!(file), &json!(line)), "{told}");
        assert_eq!(told["value"], value, "{told}");
        assert!(told["alias"].as_str().is_some_and(|it| it.starts_with("user.max_inotify")));
    }
    // What is proposed agrees with the file, which is read later.
    let proposed = report["recommendation"]["text"].as_str().unwrap();
    let values = expected.map(|(key, _, value)| format!("{key} = {value}\n"));
    assert!(values.iter().all(|it| proposed.contains(it)), "{proposed}");
    let said = words(&tree.limits(&[]).stdout);
    assert_says(&said, &["99-sysctl.conf:1 (user.max_inotify_instances, the same) says 8192"]);
    assert_says(&said, &["a file sets 8192, which is enough, but 128 is live"]);
    assert_eq!(tree.apply().status.code(), Some(0));
    // A later file that says less would win over what is written.
    tree.write("etc/sysctl.d/99-zz.conf", "user/max_inotify_instances = 64\n");
    let output = tree.apply();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&words(&output.stderr), &["99-zz.conf:1 sets"]);
    drop(tree);
    // In the file itself, the line is replaced.
    let tree = Tree::with_enough();
    tree.write(DROP_IN, "user.max_inotify_instances = 5\n");
    assert_eq!(tree.apply().status.code(), Some(0));
    assert!(!tree.read(DROP_IN).contains("user."), "{}", tree.read(DROP_IN));
}

#[test]
fn a_file_that_lowers_the_live_value_is_told() {
    let tree = Tree::new();
    tree.write(&live("max_user_instances"), "4096\n");
    tree.write("etc/sysctl.d/10.conf", format!("{INSTANCES} = 256\n"));
    let said = words(&tree.limits(&[]).stdout);
    assert_says(&said, &["10.conf:1 says 256, live is 4096", "`sysctl --system`, lowers it"]);
    assert_says(&said, &["4096 is live, and is enough, but a file sets 256: the next boot"]);
}

#[test]
fn lines_for_pam_limits_have_no_effect() {
    let tree = Tree::new();
    let comment = "# inotify\n* soft nofile 1024\n";
    tree.write("etc/security/limits.conf", comment);
    assert!(!words(&tree.limits(&[]).stdout).contains("no effect"));
    tree.write("etc/security/limits.conf", format!("{comment}* hard inotify 8192\n"));
    tree.write("etc/security/limits.d/90.conf", "root - max_user_watches 9\n");
    assert_says(&words(&tree.limits(&[]).stdout), &["limits.conf:3 and 1 more: no effect"]);
}

#[test]
fn pods_are_those_that_kubelet_takes() {
    let tree = Tree::new();
    let sized = |arguments: &[&str]| tree.json(arguments)["recommendation"].clone();
    let pods = |arguments: &[&str]| {
        let sized = &sized(arguments)["max_user_instances"];
        (sized["pods"].as_u64(), sized["pods_from"].as_str().unwrap_or_default().to_owned())
    };
    // No kubelet, and no container on this machine: no word of pods.
    if pods(&[]).0.is_none() {
        let text = words(&tree.limits(&[]).stdout);
        assert!(!text.contains("pod"), "{text}");
    }
    tree.write("var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\n");
    assert_eq!(pods(&[]), (Some(110), "default".to_owned()));
    tree.write("var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\nmaxPods: 250\n");
    assert_eq!(pods(&[]), (Some(250), "kubelet".to_owned()));
    assert_says(&words(&tree.limits(&[]).stdout), &["a pod (assumed) x 250 pods (kubelet's"]);
    assert_eq!(pods(&["--pods", "400"]), (Some(400), "asked".to_owned()));
    // The running kubelet has another file, and an option goes before that.
    tree.write("etc/kubelet.yaml", "maxPods: 300\n");
    tree.write("proc/77/comm", "kubelet\n");
    tree.write("proc/77/cmdline", b"/usr/bin/kubelet\0--config\0/etc/kubelet.yaml\0");
    // It is one only if the machine's root runs it, in no container.
    let container = format!("0::/docker/{}\n", "4f".repeat(32));
    for (uid, namespace, cgroup, is_believed) in [
        (0, "user:[4026531837]", "0::/system.slice/kubelet.service\n", true),
        (1000, "user:[4026531837]", "0::/\n", false),
        (0, "user:[4026532000]", "0::/\n", false),
        (0, "user:[4026531837]", container.as_str(), false),
    ] {
        tree.write("proc/77/status", format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n"));
        tree.write("proc/77/cgroup", cgroup);
        tree.link("proc/77/ns/user", namespace);
        let expected = if is_believed { 300 } else { 250 };
        assert_eq!(pods(&[]), (Some(expected), "kubelet".to_owned()), "{uid} {namespace} {cgroup}");
    }
    tree.write("proc/77/cgroup", "0::/\n");
    assert_eq!(pods(&[]), (Some(300), "kubelet".to_owned()));
    tree.write("proc/77/cmdline", b"/usr/bin/kubelet\0--config=/etc/kubelet.yaml\0--max-pods=64\0");
    assert_eq!(pods(&[]), (Some(64), "kubelet".to_owned()));
}
