//! The chart, what is rendered from it, and the image.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use inotify_trace::host::privileges::NEEDED;
use inotify_trace_tests::system;
use serde_json::Value;
use xtask::{
    image,
    kubernetes::{CHART, MANIFEST, Tools},
    workspace::Workspace,
};

use crate::{read, root};

/// The tools; skips the test, with a reason, if they are not installed.
macro_rules! require_tools {
    () => {
        match Workspace::locate().ok().and_then(|it| Tools::found(&it)) {
            Some(tools) => tools,
            None => {
                let test = std::thread::current().name().unwrap_or("a test").to_owned();
                let why = "helm and kubectl are not installed; `cargo xtask setup` does that";
                return system::skip(&test, why);
            }
        }
    };
}

/// The objects in a text of YAML, sorted.
fn objects(tools: &Tools, text: &str) -> Vec<Value> {
    let script = "import json, sys, yaml\n\
                  print(json.dumps([it for it in yaml.safe_load_all(sys.stdin) if it]))";
    let mut python = tools.command("python");
    python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.spawn().expect("Python must start");
    python.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "no YAML: {text}");
    let mut objects: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    objects.sort_by_key(Value::to_string);
    objects
}

/// The output of a command, and its errors; `is_fine` says whether it must succeed.
fn run(command: &mut Command, is_fine: bool) -> (String, String) {
    let output = command.output().expect("it must start");
    let texts = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it).into_owned());
    assert_eq!(output.status.success(), is_fine, "{command:?}: {texts:?}");
    let [output, errors] = texts;
    (output, errors)
}

fn template(tools: &Tools, arguments: &[&str], is_fine: bool) -> (String, String) {
    let mut helm = tools.command("helm");
    helm.args(["template", "inotify-trace", "--namespace", "inotify-trace"]);
    run(helm.arg(root().join(CHART)).args(arguments), is_fine)
}

fn scenarios() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join(CHART).join("ci")).expect("scenarios");
    files.flatten().map(|file| file.path()).collect()
}

#[test]
fn the_manifest_is_what_the_chart_renders() {
    let tools = require_tools!();
    let workspace = Workspace::locate().expect("a workspace");
    let rendered = tools.manifest(&workspace).expect("a manifest");
    let manifest = read(MANIFEST);
    assert_eq!(manifest, rendered, "`cargo xtask manifests` renders it");
    let mut kubectl = tools.command("kubectl");
    let (kustomized, _) = run(kubectl.arg("kustomize").arg(root().join("deploy/kubernetes")), true);
    assert_eq!(objects(&tools, &kustomized), objects(&tools, &manifest));
}

#[test]
fn every_scenario_is_valid_on_every_version_of_kubernetes() {
    let tools = require_tools!();
    let directory = system::directory();
    let mut files = vec![root().join(MANIFEST)];
    for scenario in scenarios() {
        let values = scenario.to_str().expect("a path without oddities");
        let mut lint = tools.command("helm");
        run(lint.args(["lint", "--strict", "--values", values]).arg(root().join(CHART)), true);
        let (rendered, _) = template(&tools, &["--values", values], true);
        files.push(directory.path().join(scenario.file_name().expect("a name")));
        fs::write(files.last().expect("it was pushed"), rendered).expect("room");
    }
    assert_eq!(files.len(), 7, "{files:?}");
    let mut unknown = BTreeSet::new();
    for minor in 25..=37 {
        let mut validate = tools.command("kubernetes-validate");
        validate.args(["--strict", "--quiet", "-k", &format!("1.{minor}")]).args(&files);
        let (output, errors) = run(&mut validate, true);
        for line in [output, errors].concat().lines() {
            let kind = line.split_once("schema for kind ").unwrap_or_else(|| panic!("{line}")).1;
            unknown.insert(kind.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    // These are not Kubernetes' own.
    let others = ["PodMonitor", "PrometheusRule", "SecurityContextConstraints"].map(str::to_owned);
    assert_eq!(unknown, others.into());
}

#[test]
fn what_cannot_work_is_refused_by_the_schema() {
    let tools = require_tools!();
    for (value, named) in [
        ("port=0", "port"),
        ("port=http", "port"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("image.digest=latest", "digest"),
        ("recording.maxTotal=much", "maxTotal"),
        ("recording.directory=relative", "directory"),
        ("criSocket=run/containerd.sock", "criSocket"),
        ("maxUnavailable=0", "maxUnavailable"),
        ("podMonitor.interval=often", "interval"),
        ("privileged=true", "privileged"),
        ("recording.enable=true", "enable"),
    ] {
        let (_, errors) = template(&tools, &["--set", value], false);
        assert!(errors.contains("schema") && errors.contains(named), "{value}: {errors}");
    }
}

#[test]
fn options_make_what_they_say() {
    let tools = require_tools!();
    let with = |scenario: &str| {
        let values = root().join(CHART).join(format!("ci/{scenario}-values.yaml"));
        let values = values.to_str().expect("a path without oddities");
        objects(&tools, &template(&tools, &["--values", values], true).0)
    };
    let of_kind = |objects: &[Value], kind: &str| {
        objects.iter().find(|it| it["kind"] == kind).cloned().unwrap_or_else(|| panic!("no {kind}"))
    };
    let operator = with("prometheus-operator");
    let rules = objects(&tools, &read("deploy/prometheus/rules.yaml"));
    assert_eq!(of_kind(&operator, "PrometheusRule")["spec"], rules[0]);
    let dashboard = of_kind(&operator, "ConfigMap")["data"]["inotify-trace.json"].clone();
    let dashboard: Value = serde_json::from_str(dashboard.as_str().expect("text")).expect("JSON");
    assert_eq!(dashboard, crate::dashboard());
    let endpoint = &of_kind(&operator, "PodMonitor")["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["honorLabels"], true, "pods of the metrics would be renamed");

    let pod = |objects: &[Value]| of_kind(objects, "DaemonSet")["spec"]["template"]["spec"].clone();
    let has_argument = |pod: &Value, argument: &str| {
        let all = pod["containers"][0]["args"].as_array().expect("arguments");
        all.iter().any(|it| it == argument)
    };
    let recording = pod(&with("recording"));
    assert!(has_argument(&recording, "--record-max-total=2G"), "{recording}");
    assert!(has_argument(
        &pod(&with("k3s")),
        "--cri-socket=/host/run/k3s/containerd/containerd.sock"
    ));
    assert!(!has_argument(&pod(&with("minimal")), "--record=/recordings"));
    let restricted = with("restricted");
    assert!(pod(&restricted)["containers"][0]["image"].to_string().contains("@sha256:"));
    let policy = of_kind(&restricted, "NetworkPolicy")["spec"].clone();
    assert_eq!(policy["egress"], Value::Array(Vec::new()), "it connects to nothing");
    of_kind(&with("openshift"), "SecurityContextConstraints");
}

#[test]
fn the_agent_may_do_no_more_than_it_needs() {
    let manifest = read(MANIFEST);
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    for line in [
        "automountServiceAccountToken: false",
        "hostNetwork: false",
        "privileged: false",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
        "mountPropagation: HostToContainer",
        "type: RuntimeDefault",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    assert!(!manifest.contains("Role"), "it asks the API server nothing");
    let at = lines.iter().position(|&it| it == "add:").expect("capabilities");
    let added: Vec<_> =
        lines[at + 1..].iter().take_while(|it| it.starts_with(['#', '-'])).collect();
    let reasons = added.iter().step_by(2).filter(|it| it.starts_with("# ")).count();
    let names: Vec<_> = added.iter().filter_map(|it| it.strip_prefix("- ")).collect();
    let needed = NEEDED.map(|it| it.name.trim_start_matches("CAP_"));
    assert_eq!((names, reasons), (needed.to_vec(), needed.len()), "each with a reason above it");
}

#[test]
fn the_same_programs_make_the_same_image() {
    let directory = system::directory();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("program"), "not executed").expect("room");
    let programs = ["amd64", "arm64"].map(|it| image::Program::new(it, &at("program")).expect(it));
    let digests = ["a.tar", "b.tar"].map(|it| image::write(&programs, &at(it)).expect(it));
    assert_eq!(digests[0], digests[1]);
    assert_eq!(fs::read(at("a.tar")).expect("a"), fs::read(at("b.tar")).expect("b"));
    fs::write(at("program"), "another").expect("room");
    assert_ne!(image::write(&programs, &at("c.tar")).expect("c"), digests[0]);
    assert!(image::Program::new("riscv", &at("program")).is_err());

    // What other programs read: each part has the digest and the size that it is referred to by.
    run(Command::new("tar").arg("-xf").arg(at("a.tar")).arg("-C").arg(directory.path()), true);
    let part = |reference: &Value| {
        let digest = reference["digest"].as_str().expect("a digest");
        let path = at("blobs").join(digest.replace(':', "/"));
        let (sum, _) = run(Command::new("sha256sum").arg(&path), true);
        assert_eq!(format!("sha256:{}", &sum[..64]), digest);
        assert_eq!(reference["size"], fs::metadata(&path).expect("a part").len());
        path
    };
    let json = |path: PathBuf| -> Value {
        serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
    };
    let top = json(at("index.json"));
    assert_eq!(top["manifests"][0]["digest"], digests[0]);
    let index = json(part(&top["manifests"][0]));
    for (manifest, architecture) in
        index["manifests"].as_array().expect("two").iter().zip(["amd64", "arm64"])
    {
        assert_eq!(manifest["platform"]["architecture"], architecture);
        let manifest = json(part(manifest));
        let config = json(part(&manifest["config"]));
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["config"]["Cmd"], serde_json::json!(["serve"]));
        let label = &config["config"]["Labels"]["org.opencontainers.image.source"];
        assert_eq!(label, env!("CARGO_PKG_REPOSITORY"));
        let layer = part(&manifest["layers"][0]);
        let (members, _) = run(Command::new("tar").arg("-tzf").arg(layer), true);
        assert!(members.lines().any(|it| it == "usr/bin/inotify-trace"), "{members}");
    }
}
