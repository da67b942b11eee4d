//! Targets of watches, and their paths.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use inotify_trace_tests::{
    Cgroup, Listing, Process, agent,
    listing::ROADS,
    live_test,
    process::{hex, workload},
    system,
};
use serde_json::{Value, json};

pub(super) fn hex_of(path: &Path) -> String {
    hex(path.as_os_str().as_encoded_bytes())
}

/// A process of root with one instance.
pub(super) fn watcher() -> (Process, i32) {
    let mut process = Process::start();
    let fd = process.call("init1 0").unwrap();
    (process, fd)
}

/// Adds a watch on a path, which is resolved in the process's own mount namespace.
pub(super) fn watch(process: &mut Process, fd: i32, path: &Path) {
    let command = format!("watch {fd} {} {}", hex_of(path), libc::IN_MODIFY);
    process.call(&command).unwrap();
}

/// The targets of a process's only instance, by each way to look.
pub(super) fn targets(pid: u32) -> [Vec<Value>; 2] {
    ROADS.map(|road| {
        let listing = Listing::by("process", &[road, &["--watches"]].concat());
        listing.process(pid).unwrap()["targets"].as_array().unwrap().clone()
    })
}

#[track_caller]
fn is_at(process: &Process, path: &Path) {
    for told in targets(process.pid) {
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["path"], json!(path.to_str()), "{told:?}");
        assert_eq!(told[0]["gone"], Value::Null, "{told:?}");
    }
}

/// Its target is gone, and had this path.
#[track_caller]
fn was_at(process: &Process, path: &Path) {
    for told in targets(process.pid) {
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0]["gone"], true, "{told:?}");
        assert_eq!(told[0]["path"], json!(path.to_str()), "{told:?}");
    }
    let list = Command::new(agent::binary()).args(["list", "--watches"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let pid = process.pid.to_string();
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(&pid));
    // The mask comes last.
    let line = line.unwrap().rsplit_once("  ").unwrap().0;
    assert!(line.trim_end().ends_with(" (deleted)"), "{list}");
}

/// A process in a private mount namespace that has an empty file system at `point`, and a watch on
/// a file there.
fn in_its_own_mounts(point: &Path) -> Process {
    let (mut process, fd) = watcher();
    process.call("mount_namespace").unwrap();
    process.call(&format!("mount {}", hex_of(point))).unwrap();
    let file = point.join("file");
    process.call(&format!("write {} 61", hex_of(&file))).unwrap();
    watch(&mut process, fd, &file);
    assert!(!file.exists(), "it is the process's alone");
    process
}

#[live_test]
fn a_path_that_only_its_holder_sees() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut process = in_its_own_mounts(directory.path());
    let file = directory.path().join("file");
    is_at(&process, &file);
    process.call(&format!("open {}", hex_of(&file))).unwrap();
    process.call(&format!("remove {}", hex_of(&file))).unwrap();
    was_at(&process, &file);
}

#[live_test]
fn what_is_mounted_over_is_not_taken_for_what_is_below() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut process = in_its_own_mounts(directory.path());
    process.call(&format!("mount {}", hex_of(directory.path()))).unwrap();
    // No path leads to the file, but it is not gone.
    for told in targets(process.pid) {
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!([&told[0]["path"], &told[0]["gone"]], [&Value::Null; 2], "{told:?}");
    }
}

#[live_test]
fn a_path_that_another_mount_hides_is_not_told() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let mut process = in_its_own_mounts(directory.path());
    let sub = directory.path().join("sub");
    process.call(&format!("mkdir {}", hex_of(&sub))).unwrap();
    let file = sub.join("file");
    process.call(&format!("write {} 61", hex_of(&file))).unwrap();
    watch(&mut process, 3, &file);
    process.call(&format!("mount {}", hex_of(&sub))).unwrap();
    process.call(&format!("write {} 61", hex_of(&file))).unwrap();
    for told in targets(process.pid) {
        assert_eq!(told[0]["path"], json!(directory.path().join("file").to_str()), "{told:?}");
        assert_eq!([&told[1]["path"], &told[1]["gone"]], [&Value::Null; 2], "{told:?}");
    }
}

#[live_test]
fn what_is_mounted_in_part_is_found_in_that_part() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let (whole, part) = (directory.path().join("whole"), directory.path().join("part"));
    for directory in [&whole, &part] {
        fs::create_dir(directory).unwrap();
    }
    let (mut process, fd) = watcher();
    process.call("mount_namespace").unwrap();
    process.call(&format!("mount {}", hex_of(&whole))).unwrap();
    let sub = whole.join("sub");
    process.call(&format!("mkdir {}", hex_of(&sub))).unwrap();
    for file in [sub.join("inside"), whole.join("outside")] {
        process.call(&format!("write {} 61", hex_of(&file))).unwrap();
        watch(&mut process, fd, &file);
    }
    process.call(&format!("bind {} {}", hex_of(&sub), hex_of(&part))).unwrap();
    let paths = |process: &Process| {
        targets(process.pid).map(|told| {
            assert!(told.iter().all(|target| target["gone"].is_null()), "{told:?}");
            told.iter().map(|it| it["path"].as_str().map(PathBuf::from)).collect::<Vec<_>>()
        })
    };
    let both = vec![Some(sub.join("inside")), Some(whole.join("outside"))];
    assert_eq!(paths(&process), [both.clone(), both]);
    // Only the part is reachable now.
    process.call(&format!("mount {}", hex_of(&whole))).unwrap();
    let one = vec![Some(part.join("inside")), None];
    assert_eq!(paths(&process), [one.clone(), one]);
}

#[live_test]
fn a_path_in_a_chroot_is_told_from_outside() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let file = directory.path().join("sub").join("file");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    let (mut process, fd) = watcher();
    process.call(&format!("chroot {}", hex_of(directory.path()))).unwrap();
    watch(&mut process, fd, Path::new("/sub/file"));
    is_at(&process, &file);
}

#[live_test]
fn a_file_that_moves_is_where_it_is() {
    let _machine = system::the_machine();
    let directory = system::directory();
    let before = directory.path().join("before");
    // The kernel appends this to the path of a deleted file; this file exists.
    let after = directory.path().join("aft er (deleted)");
    fs::write(&before, "").unwrap();
    let (mut process, fd) = watcher();
    watch(&mut process, fd, &before);
    is_at(&process, &before);
    fs::rename(&before, &after).unwrap();
    is_at(&process, &after);
    // The file is removed but open: the watch remains, and its path does not exist.
    let open = fs::File::open(&after).unwrap();
    fs::remove_file(&after).unwrap();
    was_at(&process, &after);
    drop(open);
}

#[live_test(each = kernel)]
fn a_file_of_a_cgroup_that_was_removed_is_gone() {
    let _machine = system::the_machine();
    // The process keeps only the watch, then also a descriptor, as containerd does.
    for is_open in [false, true] {
        let Some(cgroup) = Cgroup::of_containerd() else {
            return system::skip(
                "list::targets::a_file_of_a_cgroup_that_was_removed_is_gone",
                "no cgroup v2 hierarchy is mounted",
            );
        };
        let file = cgroup.directory().join("cgroup.events");
        let (mut process, fd) = watcher();
        watch(&mut process, fd, &file);
        if is_open {
            process.call(&format!("open {}", hex_of(&file))).unwrap();
        }
        let (id, path) = (cgroup.id, cgroup.path.clone());
        is_at(&process, &file);
        for told in targets(process.pid) {
            let named = [&told[0]["target_cgroup"], &told[0]["target_cgroup_id"]];
            assert_eq!(named, [&json!(path), &json!(id)], "{told:?}");
        }
        cgroup.remove();
        let info = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", process.pid)).unwrap();
        let is_kept = info.contains("inotify wd:");
        for told in targets(process.pid) {
            if !is_kept {
                // Linux 7 removes the watch, and leaves the instance empty.
                assert_eq!(told, [] as [Value; 0]);
                continue;
            }
            // The cgroup is known by its id at best, and never taken for another.
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["target_cgroup"], Value::Null, "{told:?}");
            // At best the name that it had.
            let name = &told[0]["path"];
            assert!(name.is_null() || *name == json!(file.to_str()), "{told:?}");
            let number = &told[0]["target_cgroup_id"];
            assert!(number.is_null() || number == id, "{told:?}");
            // Linux 5.10 still opens the file.
            assert_eq!(told[0]["gone"], true, "{told:?}");
        }
    }
}

#[live_test]
fn a_file_whose_name_the_kernel_has_dropped_is_found() {
    let _machine = system::the_machine();
    // Not on a tmpfs, which keeps all names.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = directory.path().join("sub").join("file");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    // What a program watches is often among its arguments; elsewhere it is found if there is time.
    let mut process = Process::start_as(&workload(), &["-F", file.to_str().unwrap()]);
    let fd = process.call("init1 0").unwrap();
    watch(&mut process, fd, &file);
    // Names and inodes of files that nobody has open; the watch keeps the inode.
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    is_at(&process, &file);
}

#[live_test]
fn what_is_on_an_overlay_has_its_path_there() {
    const NAME: &str = "list::targets::what_is_on_an_overlay_has_its_path_there";
    let _machine = system::the_machine();
    // An overlay on a tmpfs would need extended attributes there, which not each kernel has.
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["first", "second", "upper", "work", "merged", "second/etc", "first/etc"] {
        fs::create_dir(at(name)).unwrap();
    }
    for name in ["first/etc/one", "second/etc/two", "second/etc/hidden", "first/etc/hidden"] {
        fs::write(at(name), name).unwrap();
    }
    let (mut process, fd) = watcher();
    process.call("mount_namespace").unwrap();
    let layers = ["first", "second", "upper", "work"].map(at);
    let [first, second, upper, work] = layers.each_ref().map(|it| it.display());
    let options = format!("lowerdir={first}:{second},upperdir={upper},workdir={work}");
    let merged = at("merged");
    if process.call(&format!("overlay {} {}", hex_of(&merged), hex(options.as_bytes()))).is_err() {
        return system::skip(NAME, "this kernel has no overlayfs, or none there");
    }
    let names = ["etc/one", "etc/two", "etc/hidden", "etc", "etc/new"];
    process.call(&format!("write {} 61", hex_of(&merged.join("etc/new")))).unwrap();
    for name in names {
        watch(&mut process, fd, &merged.join(name));
    }
    let expected: Vec<_> = names.iter().map(|name| json!(merged.join(name).to_str())).collect();
    for drop_names in [false, true] {
        if drop_names {
            fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        }
        for told in targets(process.pid) {
            let paths: Vec<_> = told.iter().map(|target| target["path"].clone()).collect();
            assert_eq!(paths, expected, "names dropped: {drop_names}: {told:?}");
        }
    }
}
