//! Answers that mislead nobody: filters, pipes, files that exist.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic; helpers are tests too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    slice,
};

use serde_json::Value;

use crate::{
    agent,
    machine::{LONG, machine},
    refuses, run,
    terminal::RELEASED,
    text,
};

fn made() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = machine(&directory.path().join("a.itrec"));
    (directory, file)
}

fn on(file: &Path, command: &str, more: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    let first = match command {
        "replay" | "report" | "export" => vec![command, file],
        _ => vec![command, "--recording", file],
    };
    run(&[&first, more].concat())
}

#[test]
fn filters_mean_the_same_in_lists_and_replays() {
    let (_directory, file) = made();
    for (filter, processes) in [
        (&["-p", "7"][..], &[7][..]),
        (&["-u", "web"], &[7]),
        (&["-u", "1000"], &[7]),
        (&["--user", "root"], &[8]),
        (&["-c", "node"], &[7]),
        (&["--cgroup", "/system.slice"], &[8]),
        // What the shim holds for the pod belongs to the pod.
        (&["--pod", "shop-5d8f"], &[7, 8]),
        (&["--pod", "prod/shop-5d8f", "-u", "root"], &[8]),
        (&["--namespace", "prod"], &[7, 8]),
        (&["--container", "web"], &[7, 8]),
        (&["--container", "0123456789ab"], &[7, 8]),
    ] {
        let listed = on(&file, "list", &[&["-o", "json"], filter].concat());
        assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
        let listing: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let rows = listing["rows"].as_array().unwrap();
        let mut pids: Vec<_> = rows.iter().map(|row| row["pid"].as_u64().unwrap()).collect();
        pids.sort_unstable();
        assert_eq!(pids, processes, "{filter:?}");
        assert_eq!(listing["total"]["processes"], processes.len(), "{filter:?}");
        let instances = processes.iter().map(|&pid| if pid == 7 { 128 } else { 1 }).sum::<u64>();
        assert_eq!(listing["total"]["instances"], instances, "{filter:?}");

        let replayed =
            on(&file, "replay", &[&["-o", "json", "-e", "create,watch"], filter].concat());
        let events = text(&replayed.stdout).lines().map(serde_json::from_str::<Value>);
        let mut pids: Vec<_> = events.filter_map(|event| event.unwrap()["pid"].as_u64()).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids, processes, "{filter:?}");
    }
}

#[test]
fn what_cannot_match_is_said() {
    let (_directory, file) = made();
    for command in ["list", "replay"] {
        refuses(&on(&file, command, &["-c", "containerd-shim-runc-v2"]), &["`containerd-shim`"]);
        refuses(&on(&file, command, &["-p", "99999999"]), &["99999999", "4194304"]);
        refuses(&on(&file, command, &["-u", "nobody-knows"]), &["nobody-knows", "-u 1000"]);
    }
    let output = on(&file, "list", &["--pod", "shop", "--cgroup", "/nosuch", "--namespace", "dev"]);
    assert_eq!(output.status.code(), Some(0));
    for words in ["no pod shop ", "no cgroup /nosuch", "no namespace dev", "no instance matches"] {
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    let output = on(&file, "replay", &["-c", "nosuch"]);
    let summary = "no event matched the filter; 133 others did not; nothing lost";
    assert!(text(&output.stderr).contains(summary), "{}", text(&output.stderr));
    for missing in [["--host-root", "/no/such"], ["--cri-socket", "/no/such.sock"]] {
        for command in [&["list"][..], &["limits"], &["leaks"], &["-d", "1s"]] {
            refuses(&run(&[command, &missing].concat()), &missing);
        }
    }
}

#[test]
fn the_summary_counts_what_was_shown() {
    let (_directory, file) = made();
    for (filter, summary) in [
        (&[][..], "created 129, released 0, open 129; watches added 2, removed 0; failed 2;"),
        (&["-p", "8"], "created 1, released 0; watches added 1, removed 0; failed 0;"),
        (&["-x"], "\nfailed 2;"),
        (&["-e", "create,cgroup-found"], "\ncreated 129; cgroup-found 2;"),
    ] {
        let output = on(&file, "replay", filter);
        assert!(text(&output.stderr).contains(summary), "{filter:?}: {}", text(&output.stderr));
    }
    let output = on(&file, "list", &["-p", "8"]);
    let listed = text(&output.stdout);
    assert!(listed.contains("1 instance with 1 watch and 1 descriptor in 1 process"), "{listed}");
    assert!(!listed.contains("web is charged"), "{listed}");
}

#[test]
fn limits_and_check_write_csv() {
    let (directory, file) = made();
    let rows = |output: &Output| -> Vec<std::collections::HashMap<String, String>> {
        csv::Reader::from_reader(output.stdout.as_slice())
            .deserialize()
            .map(Result::unwrap)
            .collect()
    };
    let limits = on(&file, "limits", &["-o", "csv"]);
    assert_eq!(limits.status.code(), Some(1), "{}", text(&limits.stderr));
    let users = rows(&limits);
    let web = users.iter().find(|row| row["user"] == "web").expect("a row for each user");
    assert_eq!((&*web["uid"], &*web["used"], &*web["limit"]), ("1000", "128", "128"));
    assert_eq!(&web["percent"], "100");
    assert!(web.contains_key("seconds_left") && !web.contains_key("node"), "{web:?}");
    // Names of columns that both have mean the same.
    let listed = rows(&on(&file, "list", &["--by", "user", "-o", "csv"]));
    let same = listed.iter().find(|row| row["user"] == "web").unwrap();
    for (name, value) in web {
        assert!(same.get(name).is_none_or(|it| it == value), "{name}: {value}, {same:?}");
    }
    let other = machine(&directory.path().join("b.itrec"));
    let twice = on(&file, "limits", &["--recording", other.to_str().unwrap(), "-o", "csv"]);
    assert_eq!(text(&twice.stdout).matches("user,").count(), 1, "{}", text(&twice.stdout));
    for wrong in [&["--csv-safe"][..], &["-o", "csv", "--watch", "--interval", "1s"]] {
        refuses(&run(&[&["limits"], wrong].concat()), &["csv"]);
    }
    let checked = run(&["check", "-o", "csv"]);
    let csv = rows(&checked);
    let object: Value = serde_json::from_slice(&run(&["check", "-o", "json"]).stdout).unwrap();
    let all = ["findings", "backends"].map(|it| object[it].as_array().map_or(0, Vec::len));
    assert_eq!(csv.len(), all.iter().sum::<usize>());
    let used: Vec<_> = csv.iter().filter(|row| row["used"] == "yes").collect();
    let backend = object["backend"].as_str().map(|name| format!("backend {name}"));
    assert_eq!(used.first().map(|row| &row["subject"]), backend.as_ref());
}

#[test]
fn what_is_for_people_has_either_name_in_every_command() {
    let (_directory, file) = made();
    for command in ["replay", "list", "limits", "leaks", "why"] {
        let shown = ["text", "table"].map(|format| on(&file, command, &["-o", format]));
        let [text, table] = shown.map(|output| text(&output.stdout).to_owned());
        assert!(!text.is_empty(), "{command}");
        assert_eq!(text, table, "{command}");
    }
}

#[test]
fn a_name_in_json_has_one_type_wherever_it_is() {
    let (_directory, file) = made();
    let mut types: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let outputs = ["process", "instance", "container", "user"]
        .map(|by| vec!["list", "--watches", "--by", by])
        .into_iter()
        .chain(["replay", "limits", "leaks", "why"].map(|command| vec![command]))
        .flat_map(|command| {
            [file.as_path(), Path::new(RELEASED)]
                .map(|file| on(file, command[0], &[&command[1..], &["-o", "json"]].concat()))
        });
    for output in outputs {
        for line in text(&output.stdout).lines() {
            add_types(&serde_json::from_str(line).unwrap(), &mut types);
        }
    }
    assert!(types.len() > 80, "{types:?}");
    // Names of events and losses are names in objects of counts.
    types.remove("events");
    let unknown = types.iter().filter(|(_, types)| types.contains("null")).map(|(name, _)| &**name);
    let documented = ["at_boot", "fullest_limit", "healthy", "over", "users"];
    assert_eq!(unknown.filter(|name| !documented.contains(name)).collect::<Vec<_>>(), [""; 0]);
    types.values_mut().for_each(|types| types.retain(|it| *it != "null"));
    types.retain(|_, types| types.len() > 1);
    assert_eq!(types, BTreeMap::new());
}

/// Adds the type of each name; of an array that of what is in it.
fn add_types(value: &Value, types: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    match value {
        Value::Array(values) => values.iter().for_each(|it| add_types(it, types)),
        Value::Object(object) => {
            for (name, value) in object {
                let of = types.entry(name.clone()).or_default();
                let values = value.as_array().map_or(slice::from_ref(value), Vec::as_slice);
                of.extend(values.iter().filter_map(|it| match it {
                    Value::Bool(_) => Some("boolean"),
                    Value::Number(_) => Some("number"),
                    Value::String(_) => Some("string"),
                    Value::Object(_) => Some("object"),
                    Value::Null => Some("null"),
                    Value::Array(_) => None,
                }));
                add_types(value, types);
            }
        }
        _ => {}
    }
}

#[test]
fn rows_are_limited_whatever_they_are() {
    let (_directory, file) = made();
    let rows = |more: &[&str]| {
        let output = on(&file, "list", &[&["--no-headers"], more].concat());
        text(&output.stdout).lines().count()
    };
    assert_eq!(rows(&["--watches"]), 2);
    assert_eq!(rows(&["--watches", "--top", "1"]), 1);
    assert_eq!(rows(&["--watches", "--top", "1", "-o", "csv"]), 1);
    assert_eq!(rows(&["--by", "instance", "--top", "5"]), 5);
    let output = on(&file, "list", &["--watches", "--top", "1"]);
    assert!(text(&output.stdout).contains("... and 1 more"), "{}", text(&output.stdout));
    let output = on(&file, "list", &["--columns", "pid,used,target"]);
    for words in ["column used has values with --by user", "target has values with --watches"] {
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}

#[test]
fn what_goes_to_a_pipe_is_whole() {
    let (_directory, file) = made();
    let output = on(&file, "replay", &["-p", "7", "--timestamps", "iso"]);
    let lines = text(&output.stdout);
    let whole = lines.lines().filter(|line| line.ends_with(LONG)).count();
    assert_eq!(whole, 2, "{lines}");
    assert!(!lines.contains('…'), "{lines}");
    let culprits: Vec<_> = lines.lines().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(culprits.len(), 2, "one line each: {culprits:#?}");
    let output = on(&file, "list", &["--watches"]);
    assert!(text(&output.stdout).contains(LONG), "{}", text(&output.stdout));
    let head = text(&output.stdout).lines().next().unwrap();
    assert!(head.ends_with("MASK") && head.contains("TARGET"), "the path comes first: {head}");
}

/// Runs a command whose reader has left before it writes. Returns the exit code, and the messages.
fn without_reader(arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = agent(arguments).stdout(writer).stderr(Stdio::piped()).spawn();
    let output = output.unwrap().wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr).to_owned())
}

#[test]
fn a_reader_that_leaves_changes_no_exit_code() {
    let (directory, file) = made();
    let damaged = directory.path().join("damaged.itrec");
    let bytes = fs::read(&file).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() - 40]).unwrap();
    for (file, is_damaged) in [(&file, false), (&damaged, true)] {
        let file = file.to_str().unwrap();
        for arguments in [
            &["list", "--recording", file][..],
            &["list", "--recording", file, "--watches", "-o", "csv"],
            &["list", "--recording", file, "-o", "json"],
            &["list", "--recording", file, "-o", "wide"],
            &["leaks", "--recording", file],
            &["leaks", "--recording", file, "-o", "json"],
            &["limits", "--recording", file],
            &["limits", "--recording", file, "-o", "json"],
            &["report", file],
            &["report", file, "-f", "text"],
        ] {
            let whole = run(arguments).status.code();
            let (code, errors) = without_reader(arguments);
            assert_eq!(code, whole, "{arguments:?}: {errors}");
            assert_eq!(code == Some(2), is_damaged, "{arguments:?}: {errors}");
            assert!(!errors.contains("pipe") && !errors.contains("write"), "{errors}");
        }
        // These end with their reader, and need not come to the damage.
        for arguments in [
            &["replay", file][..],
            &["replay", file, "-o", "json"],
            &["export", file, "-f", "csv"],
            &["export", file, "-f", "jsonl"],
        ] {
            let (code, errors) = without_reader(arguments);
            assert!(matches!((code, is_damaged), (Some(0), _) | (Some(2), true)), "{errors}");
            assert!(!errors.contains("pipe") && !errors.contains("write"), "{errors}");
        }
    }
    assert_eq!(without_reader(&["--help"]).0, Some(0));
}

#[test]
fn a_recording_comes_from_standard_input_too() {
    let (_directory, file) = made();
    let from_stdin =
        |arguments: &[&str]| agent(arguments).stdin(File::open(&file).unwrap()).output().unwrap();
    for arguments in [&["replay", "-"][..], &["list", "--recording", "-"], &["report", "-"]] {
        let output = from_stdin(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    let here = on(&file, "replay", &[]);
    assert_eq!(from_stdin(&["replay", "-"]).stdout, here.stdout);
    // No recording at all.
    refuses(&run(&["replay", "-"]), &["standard-input-", "nothing was recorded"]);
}

#[test]
fn outputs_and_formats_are_given_alike() {
    let (directory, file) = made();
    let file = file.to_str().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (command, format, name, begins) in [
        ("report", "html", "a.html", "<!DOCTYPE html>"),
        ("report", "text", "a.txt", ""),
        ("export", "jsonl", "a.jsonl", "{"),
        ("export", "csv", "a.csv", "time,"),
    ] {
        let out = path(name);
        // By the name, by the option, and to standard output.
        let output = run(&[command, file, "-o", &out]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&format!("Written: {out}")), "says what is done");
        let written = fs::read(&out).unwrap();
        assert!(text(&written).starts_with(begins), "{name}");
        let other = path("other");
        run(&[command, file, "-o", &other, "-f", format]);
        assert_eq!(fs::read(&other).unwrap().len(), written.len());
        fs::remove_file(other).unwrap();
        for stdout in [&[][..], &["-o", "-"]] {
            let output = run(&[&[command, file, "--format", format], stdout].concat());
            assert_eq!(output.stdout.len(), written.len(), "{}", text(&output.stderr));
        }
        // What exists is refused before any work, and replaced if that is asked for.
        refuses(&run(&[command, "/no/such.itrec", "-o", &out]), &[&out, "exists", "--force"]);
        fs::write(&out, "another's").unwrap();
        refuses(&run(&[command, file, "-o", &out]), &[&out, "exists", "--force"]);
        assert_eq!(fs::read_to_string(&out).unwrap(), "another's");
        assert_eq!(run(&[command, file, "-o", &out, "--force"]).status.code(), Some(0));
        assert_eq!(fs::read(&out).unwrap().len(), written.len());
        for name in ["json", "a.pdf"] {
            refuses(&run(&[command, file, "-o", &path(name)]), &[name, "--format"]);
            assert!(!directory.path().join(name).exists());
        }
    }
    // A recording is never replaced, nor is one begun in the place of another file.
    refuses(&run(&["report", file, "-o", file, "--force", "-f", "text"]), &["is a recording"]);
    for command in [&["record", "-o"][..], &["-d", "1s", "--record"]] {
        refuses(&run(&[command, &[file]].concat()), &[file, "exists"]);
    }
}
