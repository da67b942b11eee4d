//! The plug-in of kubectl, with a kubectl that answers from files.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use inotify_trace_tests::{require_program, system};
use serde_json::{Value, json};

use crate::{read, root};

/// `get` answers with the file `pods`; `exec POD` is the script named after the pod. What is asked
/// is noted.
const KUBECTL: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/asked"
for word; do
    case $word in
    get) exec cat "$here/pods" ;;
    agent-*) exec sh "$here/$word" "$@" ;;
    esac
done
exit 9
"#;

struct Fake(tempfile::TempDir);

impl Fake {
    /// Nodes with the scripts that are their agents; a node without one is not ready.
    fn new(nodes: &[(&str, Option<&str>)]) -> Self {
        let fake = Self(system::directory());
        fake.write("kubectl", KUBECTL);
        fs::set_permissions(fake.0.path().join("kubectl"), fs::Permissions::from_mode(0o755))
            .expect("own files");
        let pod = |(node, script): &(&str, Option<&str>)| {
            let name = format!("agent-{node}");
            fake.write(&name, script.unwrap_or("exit 9"));
            let ready = if script.is_some() { "True" } else { "False" };
            json!({
                "metadata": { "name": name }, "spec": { "nodeName": node },
                "status": { "phase": "Pending", "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let pods: Vec<_> = nodes.iter().map(pod).collect();
        fake.write("pods", &json!({ "items": pods }).to_string());
        fake
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("room");
    }

    fn run(&self, python: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(python);
        command.arg(root().join("deploy/kubectl/kubectl-inotify_trace")).args(arguments);
        command.env("KUBECTL", self.0.path().join("kubectl")).output().expect("it must start")
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.0.path().join("asked")).expect("something was asked")
    }
}

fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned())
}

/// An agent with one row of `list`.
fn agent(instances: u32, comm: &str) -> String {
    let row = json!({
        "pid": 7, "comm": [comm], "instances": instances, "watches": 3,
        "container": [{ "namespace": "prod", "pod_name": "shop-5d8f", "name": "web", "id": "c1" }],
    });
    format!("cat << 'END'\n{}\nEND\n", json!({ "rows": [row] }))
}

#[test]
fn rows_of_all_nodes_are_merged() {
    let python = require_program!("python3");
    let (first, second) = (agent(2, "tail"), agent(50, "node"));
    let fake = Fake::new(&[("a", Some(&first)), ("b", Some(&second))]);
    let output = fake.run(&python, &["--context", "east", "list", "--by", "process"]);
    let [table, errors] = texts(&output);
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{table}");
    let lines: Vec<Vec<_>> = table.lines().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NODE", "INSTANCES", "WATCHES", "PID", "COMMAND", "HOLDER"]);
    assert_eq!(lines[1], ["b", "50", "3", "7", "node", "prod/shop-5d8f/web"]);
    assert_eq!(lines[2], ["a", "2", "3", "7", "tail", "prod/shop-5d8f/web"]);
    let asked = fake.asked();
    for expected in [
        "--context=east --namespace=inotify-trace get pods",
        "exec agent-a --container=inotify-trace -- inotify-trace list --agent --host-root=/host \
         -o json --by process",
    ] {
        assert!(asked.contains(expected), "{asked}");
    }
    let [json, _] = texts(&fake.run(&python, &["-o", "json", "list"]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let nodes: Vec<_> =
        json["rows"].as_array().expect("rows").iter().map(|row| &row["node"]).collect();
    assert_eq!(nodes, ["b", "a"]);
    assert_eq!(json["failed"], json!({}));
}

#[test]
fn a_node_that_fails_hides_no_other() {
    let python = require_program!("python3");
    let good = agent(2, "tail");
    let fake = Fake::new(&[
        ("good", Some(&good)),
        ("waits", Some("exec sleep 1000")),
        ("refuses", Some("echo 'no agent answers' >&2; exit 2")),
        ("rubbish", Some("echo hello")),
        ("endless", Some("exec cat /dev/zero")),
        ("starts", None),
    ]);
    let output = fake.run(&python, &["--timeout", "5", "list"]);
    let [table, errors] = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(table.lines().count(), 2, "{table}");
    for expected in [
        "waits: no answer within 5 s",
        "refuses: no agent answers",
        "rubbish: its answer is no JSON of inotify-trace: 'hello",
        "endless: its answer is too long",
        "starts: its pod is not ready (Pending)",
        "5 of 6 nodes did not answer",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let none = Fake::new(&[]).run(&python, &["list"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(texts(&none)[1].contains("no pod in namespace inotify-trace"), "{:?}", texts(&none));
}

#[test]
fn findings_of_any_node_are_the_exit_code_and_lines_have_their_node() {
    let python = require_program!("python3");
    let fake = Fake::new(&[("a", Some("echo none")), ("b", Some("echo leak; exit 1"))]);
    let output = fake.run(&python, &["leaks"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(texts(&output)[0], "a  none\nb  leak\n");
    // As JSON they are an object a line for each verdict, and nothing where nothing leaks.
    let two = r#"echo '{"pid": 7}'; echo '{"pid": 8}'; exit 1"#;
    let fake = Fake::new(&[("a", Some("exit 0")), ("b", Some(two))]);
    let output = fake.run(&python, &["-o", "json", "leaks"]);
    let told: Value = serde_json::from_str(&texts(&output)[0]).expect("JSON");
    assert_eq!(told["nodes"], json!({ "a": [], "b": [{ "pid": 7 }, { "pid": 8 }] }));
    let fake = Fake::new(&[("a", Some("echo '{\"event\": \"create\"}'"))]);
    let output = fake.run(&python, &["-o", "json", "trace", "-d", "1s"]);
    assert_eq!(texts(&output)[0], "{\"node\": \"a\", \"event\": \"create\"}\n");
    assert!(fake.asked().contains("inotify-trace trace --agent --host-root=/host -d 1s -o json"));
}

#[test]
fn what_pods_say_cannot_drive_a_terminal() {
    let python = require_program!("python3");
    let hostile = agent(2, "\u{1b}[2J\u{202e}x");
    let fake = Fake::new(&[
        ("a", Some(&hostile)),
        ("b", Some("printf 'bad \\033]0;title\\007' >&2; exit 2")),
    ]);
    let [table, errors] = texts(&fake.run(&python, &["list"]));
    assert!(table.contains("\\x1b[2J\\u202ex"), "{table}");
    assert!(errors.contains("bad \\x1b]0;title\\x07"), "{errors}");
    let fake = Fake::new(&[("a", Some("printf 'x\\033[31m\\n'"))]);
    for command in ["why", "trace"] {
        assert_eq!(texts(&fake.run(&python, &[command]))[0], "a  x\\x1b[31m\n");
    }
}

#[test]
fn the_manifest_of_krew_names_the_program() {
    let manifest = read("deploy/kubectl/inotify-trace.yaml");
    let version = format!("version: v{}", env!("CARGO_PKG_VERSION"));
    for line in [version.as_str(), "bin: kubectl-inotify_trace", "name: inotify-trace"] {
        assert!(manifest.lines().any(|it| it.trim() == line), "{line}");
    }
}
