//! Long recordings take no more memory to export than short ones.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use inotify_trace_model::event::CgroupId;
use inotify_trace_tests::{agent::binary, peak::peak_kib};

use crate::made::{Machine, task};

/// The peak resident memory of an export, in KiB.
fn peak(directory: &Path, file: &Path, format: &str) -> u64 {
    let out = directory.join(format!("out.{format}"));
    let mut command = Command::new(binary());
    command.arg("export").arg(file).args(["--format", format, "-o"]).arg(&out);
    let (peak, ended) = peak_kib(command.stdin(Stdio::null()));
    assert!(ended.success(), "{format}: {ended}");
    std::fs::remove_file(out).expect("the export");
    peak
}

#[test]
fn long_recordings_take_no_more_memory() {
    let directory = tempfile::tempdir().unwrap();
    // Parquet collects 262,144 rows before it writes; both recordings have more.
    let [short, long] = [80_000, 240_000].map(|instances| {
        let made = directory.path().join(instances.to_string());
        let mut machine = Machine::start("node-a", &made, 100, false);
        machine.storm(task(70, "tail", CgroupId(1)), instances);
        machine.finish().remove(0)
    });
    for format in ["jsonl", "csv", "parquet", "perfetto"] {
        let [short, long] = [&short, &long].map(|it| peak(directory.path(), it, format));
        println!("{format}: {short} KiB for 320,000 events, {long} KiB for 960,000");
        // Parquet gathers a quarter of a million rows, which the shorter one hardly has. If events were
        // kept, the 640,000 between the two would take 60 MiB and more.
        let more = if format == "parquet" { 24 << 10 } else { short / 4 + 4096 };
        assert!(long < short + more, "{format}: {short} KiB, {long} KiB");
        assert!(long < 128 << 10, "{format}: {long} KiB");
    }
}
