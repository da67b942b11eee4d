//! What is in `deploy`: alerts, their runbooks, the dashboard, the unit, and plug-ins.

mod kubectl;
mod kubernetes;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use inotify_trace_tests::{agent::binary, require_program};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values of a key of YAML.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.trim_start().trim_start_matches("- ").strip_prefix(key);
    text.lines().filter_map(value).map(str::trim).collect()
}

/// Runs a program, which must succeed, in the directory of the alerts.
fn succeeds(program: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root().join("deploy/prometheus"));
    let output = command.output().expect("it must start");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let promtool = require_program!("promtool");
    succeeds(&promtool, &["check", "rules", "rules.yaml"]);
    succeeds(&promtool, &["test", "rules", "tests.yaml"]);
    succeeds(&promtool, &["check", "config", "prometheus.yaml"]);
}

#[test]
fn each_alert_has_a_runbook_and_a_test_and_each_runbook_an_alert() {
    let rules = read("deploy/prometheus/rules.yaml");
    let alerts: BTreeSet<_> = values(&rules, "alert:").into_iter().map(str::to_owned).collect();
    let runbooks = fs::read_dir(root().join("docs/runbooks")).expect("runbooks");
    let name =
        |file: fs::DirEntry| file.path().file_stem().map(|it| it.to_string_lossy().into_owned());
    let runbooks: BTreeSet<_> = runbooks.flatten().filter_map(name).collect();
    assert_eq!(alerts, runbooks);
    let tests = read("deploy/prometheus/tests.yaml");
    let repository = env!("CARGO_PKG_REPOSITORY");
    for alert in &alerts {
        let url = format!("runbook_url: {repository}/blob/main/docs/runbooks/{alert}.md");
        assert!(rules.contains(&url), "{url}");
        assert!(read(&format!("docs/runbooks/{alert}.md")).starts_with(&format!("# {alert}\n")));
        assert!(tests.contains(alert), "{alert} is not tested");
    }
    for key in ["summary:", "description:", "severity:"] {
        assert_eq!(values(&rules, key).len(), alerts.len(), "{key}");
    }
}

#[test]
fn runbooks_have_only_commands_that_exist() {
    for file in fs::read_dir(root().join("docs/runbooks")).expect("runbooks").flatten() {
        let (path, text) = (file.path(), fs::read_to_string(file.path()).expect("text"));
        let commands: Vec<_> =
            text.lines().filter_map(|line| line.trim_start().strip_prefix("$ ")).collect();
        assert!(commands.len() > 2, "{}: {commands:?}", path.display());
        for command in commands {
            let Some(arguments) = command.strip_prefix("sudo inotify-trace ") else { continue };
            let arguments = arguments.split(" | ").next().unwrap_or_default().split_whitespace();
            // With --help, nothing is done, but unknown options and values are refused.
            let output = Command::new(binary()).args(arguments).arg("--help").output();
            let is_known = output.expect("it must start").status.success();
            assert!(is_known, "{}: {command}", path.display());
        }
    }
}

/// The names of metrics in an expression.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_ours = |word: &&str| word.starts_with("inotify_") || word.starts_with("process_");
    words.filter(is_ours).map(str::to_owned).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/inotify-trace.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("panels")
}

fn queries(dashboard: &Value) -> Vec<String> {
    let targets =
        panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|it| it["expr"].as_str().expect("an expression").to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_have_only_metrics_that_exist() {
    let known = metrics(&read("docs/metrics.md"));
    let rules = read("deploy/prometheus/rules.yaml");
    let expressions =
        rules.lines().filter(|line| !line.contains("alert:") && !line.contains("url:"));
    let used = metrics(&expressions.collect::<Vec<_>>().join("\n"));
    let shown = metrics(&queries(&dashboard()).join("\n"));
    let unknown: BTreeSet<_> =
        used.union(&shown).filter(|it| !known.contains(*it)).map(String::as_str).collect();
    assert_eq!(unknown, BTreeSet::new());
    assert!(used.len() >= 8 && shown.len() > 8, "{used:?} {shown:?}");
}

#[test]
fn the_dashboard_has_the_structure_that_grafana_reads() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "instance"]);
    assert!(dashboard["id"].is_null(), "Grafana gives the id");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36) && dashboard["title"].is_string());
    let mut ids = BTreeSet::new();
    let mut places: Vec<[u64; 4]> = Vec::new();
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        for key in ["title", "description", "type"] {
            assert!(panel[key].as_str().is_some_and(|it| !it.is_empty()), "{key}: {panel}");
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect(key));
        let [x, y, w, h] = place;
        assert!(x + w <= 24 && w > 0 && h > 0, "{panel}");
        for [x2, y2, w2, h2] in &places {
            let is_beside = x + w <= *x2 || x2 + w2 <= x || y + h <= *y2 || y2 + h2 <= y;
            assert!(is_beside, "panels overlap: {panel}");
        }
        places.push(place);
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("an expression");
            assert!(target["refId"].is_string() && expression.contains("$instance"), "{target}");
        }
    }
}

#[test]
fn the_unit_is_hardened() {
    let analyze = require_program!("systemd-analyze");
    let unit = root().join("deploy/systemd/inotify-trace.service");
    let unit = unit.to_str().expect("a path without oddities");
    // It fails if the exposure, times ten, is above the threshold.
    succeeds(&analyze, &["security", "--offline=true", "--threshold=28", unit]);
    let text = read("deploy/systemd/inotify-trace.service");
    for line in [
        "Type=notify",
        "Restart=on-failure",
        "WatchdogSec=30s",
        "MemoryMax=128M",
        "CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
    // The files that name users and containers are opened by openat2, which it takes away.
    assert!(!text.lines().any(|it| it.starts_with("RestrictSUIDSGID=")));
}

#[test]
fn node_problem_detector_accepts_the_configuration() {
    let config: Value =
        serde_json::from_str(&read("deploy/node-problem-detector/inotify-limits.json"))
            .expect("JSON");
    assert_eq!(
        (&config["plugin"], &config["pluginConfig"]["max_output_length"]),
        (&"custom".into(), &80.into())
    );
    let conditions: Vec<_> =
        config["conditions"].as_array().expect("conditions").iter().map(|it| &it["type"]).collect();
    let rules = config["rules"].as_array().expect("rules");
    assert_eq!(rules.iter().map(|it| &it["condition"]).collect::<Vec<_>>(), conditions);
    for rule in rules {
        assert_eq!(
            (&rule["type"], &rule["timeout"]),
            (&"permanent".into(), &config["pluginConfig"]["timeout"])
        );
        // It asks an agent, and there is none at this socket.
        let mut arguments: Vec<_> =
            rule["args"].as_array().expect("arguments").iter().filter_map(Value::as_str).collect();
        assert_eq!(
            arguments.pop(),
            Some("--agent"),
            "it loads no kernel programs every 30 seconds"
        );
        arguments.push("--agent=/nonexistent/socket");
        let output = Command::new(binary()).args(&arguments).output().expect("it must start");
        let line = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(2), "the condition is unknown: {line}");
        assert!(line.starts_with("INOTIFY UNKNOWN - /nonexistent") && line.len() <= 81, "{line}");
    }
}
