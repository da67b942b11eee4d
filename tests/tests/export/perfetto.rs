//! Perfetto traces, read with the schema that Perfetto publishes.

use std::{ffi::OsStr, path::Path};

use inotify_trace_model::event::CgroupId;
use serde_json::{Value, json};

use crate::{
    answer, export,
    made::{BOOTED, Machine, Pod, SECOND, app, task},
    python, run,
};

/// Reads a trace as Perfetto's trace processor does: packets in order of time, each end for the
/// slice that began last on its track. A field that is not in the schema is an error.
const READ: &str = r#"
import json, sys
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

def check(message, where):
    assert message.IsInitialized(), where
    assert len(UnknownFieldSet(message)) == 0, f"unknown field in {where}"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                check(one, f"{where}.{field.name}")

trace = Trace()
trace.ParseFromString(open(json.load(sys.stdin), "rb").read())
check(trace, "trace")
tracks, clocks = {}, []
for packet in trace.packet:
    assert packet.trusted_packet_sequence_id, "a sequence"
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        assert track.uuid and track.uuid not in tracks, "each track is described once"
        assert not track.HasField("parent_uuid") or track.parent_uuid in tracks, "parents first"
        tracks[track.uuid] = track
    if packet.HasField("clock_snapshot"):
        clocks.append({clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks})

def path(uuid):
    track = tracks[uuid]
    return (path(track.parent_uuid) if track.HasField("parent_uuid") else []) + [track.name]

def notes(event):
    return {it.name: it.string_value or it.uint_value for it in event.debug_annotations}

events = [packet for packet in trace.packet if packet.HasField("track_event")]
open_slices, slices, counts, instants = {}, [], {}, []
for packet in sorted(events, key=lambda packet: packet.timestamp):
    event, time = packet.track_event, packet.timestamp
    assert event.track_uuid in tracks, "a track that was described"
    is_counter = tracks[event.track_uuid].HasField("counter")
    assert is_counter == (event.type == TrackEvent.TYPE_COUNTER), "counts on tracks of counts"
    where = path(event.track_uuid)
    if event.type == TrackEvent.TYPE_SLICE_BEGIN:
        assert event.track_uuid not in open_slices, "slices of a track do not overlap"
        open_slices[event.track_uuid] = (event.name, time)
    elif event.type == TrackEvent.TYPE_SLICE_END:
        name, begun = open_slices.pop(event.track_uuid)
        slices.append([where, name, begun, time, notes(event)])
    elif event.type == TrackEvent.TYPE_INSTANT:
        instants.append([where, event.name, time, list(event.categories), notes(event)])
    elif event.type == TrackEvent.TYPE_COUNTER:
        counts.setdefault("/".join(where), []).append([time, event.counter_value])
assert not open_slices, "every slice ends"
json.dump({"clocks": clocks, "slices": slices, "counts": counts, "instants": instants,
           "tracks": len(tracks)}, sys.stdout)
"#;

const POD: Pod = Pod {
    namespace: "shop",
    name: "web-0",
    uid: "11111111-1111-4111-8111-111111111111",
    image: "docker.io/library/nginx:1.27",
};

fn read(python: &Path, files: &[std::path::PathBuf], directory: &Path) -> Value {
    let out = directory.join("all.pftrace");
    export(files, &["--format", "perfetto", "-o", &out.to_string_lossy()]);
    answer(python, READ, directory, &json!(out))
}

#[test]
fn lives_counts_and_failures_are_where_they_were() {
    let Some(python) = python("lives_counts_and_failures_are_where_they_were") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::start("node-a", &directory.path().join("made"), 100, false);
    let home = machine.container(POD);
    let (tail, shim) = (task(70, "tail", home), task(500, "containerd-shim", CgroupId(1)));
    // The first two instances overlap; the third begins after both have ended.
    let mut lives = Vec::new();
    let first = machine.create(tail);
    lives.push(machine.now());
    let second = machine.create(tail);
    lives.push(machine.now());
    machine.release(tail, first);
    lives.push(machine.now());
    machine.release(tail, second);
    lives.push(machine.now());
    machine.create(tail);
    lives.push(machine.now());
    let served = machine.container(POD);
    machine.serve(shim, served);
    machine.identify(shim, served);
    machine.remove(served);
    machine.create_failed(tail, app(64, 64));
    let failed = machine.now();
    machine.lose(9);
    machine.wait(60);
    let judged = machine.now();
    let files = machine.finish();
    let trace = read(&python, &files, directory.path());

    let boot = u64::try_from(BOOTED).unwrap() * SECOND;
    let clocks = json!([{ "1": boot + 100 * SECOND, "6": 100 * SECOND }]);
    assert_eq!(trace["clocks"], clocks);
    let node = "node-a (machine node-a-o, Linux 6.12.1)";
    let own = json!([node, "tail in shop/web-0/main", "instances"]);
    let slices = trace["slices"].as_array().unwrap();
    let life = |name: &str| {
        let found: Vec<_> = slices.iter().filter(|it| it[1] == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0][0], own, "{name}");
        (found[0][2].as_u64().unwrap(), found[0][3].as_u64().unwrap(), &found[0][4]["how"])
    };
    assert_eq!(slices.len(), 4);
    assert_eq!(life("#1 of 70"), (lives[0], lives[2], &json!("closed")));
    assert_eq!(life("#2 of 70"), (lives[1], lives[3], &json!("closed")));
    assert_eq!(life("#3 of 70"), (lives[4], judged, &json!("still open when the recording ended")));
    // The tracks: the machine, two programs, two lanes of one and one of the other, three
    // counters.
    assert_eq!(trace["tracks"], 9);

    let values = |name: &str| {
        let counts = trace["counts"][format!("{node}/{name}")].as_array().expect(name);
        counts.iter().map(|it| it[1].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(values("root: instances of 128"), [1, 2, 1, 0, 1, 2]);
    assert_eq!(values("root: watches of 8192"), [1]);
    assert_eq!(values("app: instances of 64"), [64]);

    let instants = trace["instants"].as_array().unwrap();
    assert_eq!(instants.len(), 3, "{instants:?}");
    let failure = json!([
        [node, "tail in shop/web-0/main"],
        "create failed: EMFILE",
        failed,
        ["failure"],
        { "limit": "inotify instance limit", "used": 64, "of": 64, "pid": 70 },
    ]);
    assert_eq!(instants[0], failure);
    assert_eq!((&instants[1][0], &instants[1][3]), (&json!([node]), &json!(["lost"])));
    assert!(instants[1][1].as_str().unwrap().starts_with("lost 9 events"));
    let leak = &instants[2];
    assert_eq!(leak[0], json!([node, "containerd-shim"]));
    assert_eq!((&leak[2], &leak[3]), (&json!(judged), &json!(["verdict"])));
    let notes = json!({ "kind": "target-gone", "instances": 1, "known as": "containerd#5670",
        "pid": 500 });
    assert_eq!(leak[4], notes);
}

#[test]
fn machines_share_a_clock_and_rotated_files_make_one_life() {
    let test = "machines_share_a_clock_and_rotated_files_make_one_life";
    let Some(python) = python(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let mut begun = Vec::new();
    // The second machine booted 20 seconds later.
    for (host, up, rotates, later) in [("node-a", 100, true, 0), ("node-b", 130, false, 20)] {
        let made = directory.path().join(host);
        let mut machine = Machine::start_late(host, &made, up, rotates, later);
        machine.create(task(70, "tail", CgroupId(1)));
        begun.push(machine.now() + later.cast_unsigned() * SECOND);
        for _ in 0..5 {
            machine.wait(1);
        }
        let own = machine.finish();
        assert_eq!(own.len() > 1, rotates);
        files.extend(own);
    }
    let trace = read(&python, &files, directory.path());
    let slices = trace["slices"].as_array().unwrap();
    assert_eq!(slices.len(), 2, "a life for each instance: {slices:?}");
    for (slice, (node, begun)) in slices.iter().zip(["node-a", "node-b"].into_iter().zip(begun)) {
        let machine = slice[0][0].as_str().unwrap();
        assert!(machine.starts_with(node), "{machine}");
        // Both times are by the clock of the first machine.
        assert_eq!((slice[2].as_u64(), slice[3].as_u64()), (Some(begun), Some(begun + 5 * SECOND)));
    }
    // Without the first files, the trace begins in the middle of the instance's life.
    let later: Vec<_> = files[1..].to_vec();
    let again = directory.path().join("again");
    std::fs::create_dir(&again).unwrap();
    let trace = read(&python, &later, &again);
    let of_a: Vec<_> = trace["slices"].as_array().unwrap().iter().collect();
    assert_eq!(of_a.len(), 2, "what was known when the file began is there: {of_a:?}");
}

#[test]
fn what_ended_in_a_missing_file_ends_where_the_next_begins() {
    let test = "what_ended_in_a_missing_file_ends_where_the_next_begins";
    let Some(python) = python(test) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::start("node-a", &directory.path().join("made"), 100, true);
    let tail = task(70, "tail", CgroupId(1));
    let gone = machine.create(tail);
    machine.create(tail);
    for _ in 0..3 {
        machine.wait(1);
    }
    machine.release(tail, gone);
    for _ in 0..3 {
        machine.wait(1);
    }
    let files = machine.finish();
    assert!(files.len() >= 3, "{files:?}");
    let out = directory.path().join("ends.pftrace");
    let ends = [files[0].as_os_str(), files[files.len() - 1].as_os_str()];
    let arguments = ["--format", "perfetto", "-o"].map(OsStr::new);
    let all = [OsStr::new("export")].into_iter().chain(ends).chain(arguments);
    let output = run(all.chain([out.as_os_str()]));
    assert_eq!(output.status.code(), Some(2), "files are missing");
    let trace = answer(&python, READ, directory.path(), &json!(out));
    let how = |name: &str| {
        let slices = trace["slices"].as_array().unwrap();
        let lives: Vec<_> = slices.iter().filter(|it| it[1] == name).collect();
        assert_eq!(lives.len(), 1, "{name}: {lives:?}");
        lives[0][4]["how"].clone()
    };
    assert_eq!(how("#1 of 70"), "not recorded");
    assert_eq!(how("#2 of 70"), "still open when the recording ended");
}

#[test]
fn processes_of_a_program_share_its_tracks() {
    let Some(python) = python("processes_of_a_program_share_its_tracks") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut machine = Machine::start("node-a", &directory.path().join("made"), 100, false);
    let long = task(70, "tail", CgroupId(1));
    machine.create(long);
    for pid in 1000..1300 {
        let short = task(pid, "inotifywait", CgroupId(1));
        let instance = machine.create(short);
        machine.release(short, instance);
    }
    let trace = read(&python, &machine.finish(), directory.path());
    let slices = trace["slices"].as_array().unwrap();
    assert_eq!(slices.len(), 301);
    let of = |pid: u32| {
        slices.iter().filter(|it| it[1].as_str().unwrap().ends_with(&format!(" of {pid}"))).count()
    };
    assert!([70, 1000, 1299].into_iter().all(|pid| of(pid) == 1));
    // The machine, two programs with a lane each, and two counters at most.
    let tracks = trace["tracks"].as_u64().unwrap();
    assert!(tracks <= 7, "{tracks} tracks");
}
