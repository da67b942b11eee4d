//! Damaged recordings, existing output files, and interrupted exports.

use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, process::Command};

use inotify_trace_tests::agent::binary;

use crate::{
    export,
    formats::{made, rows},
    lines, run,
};

#[test]
fn what_comes_before_the_damage_is_exported() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("made"));
    let whole = lines(&export(std::slice::from_ref(&file), &["--format", "jsonl"]));
    let bytes = fs::read(&file).unwrap();
    let (mut kept, mut damaged_at) = (Vec::new(), Vec::new());
    for length in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let half = directory.path().join(format!("{length}.itrec"));
        fs::write(&half, &bytes[..length]).unwrap();
        let output = run([Path::new("export"), &half, "--format=jsonl".as_ref()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let at = said.split_once("damaged at byte ").expect(&said).1;
        let at: usize = at.split(':').next().unwrap().parse().unwrap();
        assert!(at < length, "{said}");
        let mut there = lines(&output.stdout);
        there.pop();
        let before = there.len();
        there.retain(|line| line["lost_what"] != "frames");
        assert_eq!(there.len() + 1, before, "what is missing is told");
        assert_eq!(there, whole[..there.len()], "nothing but the beginning");
        kept.push(there.len());
        damaged_at.push(at);

        let csv = directory.path().join(format!("{length}.csv"));
        let arguments = [half.as_os_str(), "--format=csv".as_ref(), "-o".as_ref(), csv.as_ref()];
        let output = run(["export".as_ref()].into_iter().chain(arguments));
        assert_eq!(output.status.code(), Some(2));
        let rows = rows(&fs::read(&csv).unwrap());
        assert_eq!(rows.iter().filter(|row| row["event"] != "leaked").count(), there.len() + 1);
    }
    assert!(kept.is_sorted() && damaged_at.is_sorted(), "{kept:?} {damaged_at:?}");
    // The last one lacks only the end mark.
    assert_eq!((kept[0] < whole.len() - 1, kept[2]), (true, whole.len() - 1));
}

#[test]
fn nothing_is_overwritten_and_mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("made"));
    let file = file.to_str().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (there, nowhere) = (path("there"), path("no/such/place"));
    fs::write(&there, "another's").unwrap();
    let refuses = |arguments: &[&str], words: &[&str]| {
        let output = run(["export"].iter().chain(arguments));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(output.stdout, b"");
        for word in words {
            assert!(said.contains(word), "no {word:?} in: {said}");
        }
        assert!(said.matches("os error").count() < 2, "said twice: {said}");
    };
    for format in ["jsonl", "csv", "parquet", "perfetto"] {
        refuses(&[file, "--format", format, "-o", &there], &[&there, "exists"]);
        refuses(&[file, "--format", format, "-o", &nowhere], &[&nowhere, "No such file"]);
    }
    assert_eq!(fs::read(&there).unwrap(), b"another's");
    refuses(&[file, "--format", "parquet", "--partition", "-o", &there], &[&there]);
    for format in ["parquet", "perfetto"] {
        refuses(&[file, "--format", format], &["-o"]);
    }
    refuses(&[file, "--format", "csv", "--partition"], &["--partition", "parquet"]);
    refuses(&[&nowhere, "--format", "csv"], &[&nowhere, "no such file: give a recording"]);
    refuses(&[&there, "--format", "csv"], &[&there, "no recording"]);
    refuses(&[file, "--format", "xml"], &["xml", "jsonl", "perfetto"]);
    refuses(&[file], &["--format"]);

    let parts = path("parts");
    let partition = [file, "--format", "parquet", "--partition", "-o", &parts];
    assert!(run(["export"].iter().chain(&partition)).status.success());
    refuses(&partition, &["exists"]);
}

#[test]
fn an_interrupted_export_leaves_nothing_that_looks_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = made(&directory.path().join("made"));
    for (format, more) in [("csv", ""), ("parquet", ""), ("parquet", "--partition")] {
        let out = directory.path().join(format!("out-{format}{more}"));
        // The kernel kills the process in the middle of a write. A block is 512 or 1024 bytes.
        let script = r#"ulimit -f 4; exec "$0" export "$1" --format "$2" -o "$3" $4"#;
        let status = Command::new("sh")
            .args(["-c", script])
            .args([&binary(), &file])
            .arg(format)
            .arg(&out)
            .arg(more)
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(25), "SIGXFSZ ends it: {status}");
        let mut left = Vec::new();
        all_below(&directory.path().join("."), &mut left);
        let looks_whole = |name: &&String| !name.ends_with(".partial") && !name.ends_with(".itrec");
        assert_eq!(left.iter().find(looks_whole), None);
        assert!(left.iter().any(|name| name.ends_with(".partial")), "it had begun");
    }
}

/// The names of all files below a directory.
fn all_below(directory: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all_below(&path, names);
        } else {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
}
