//! Whose limit is used up, and what helps, by every road.

use super::*;
use crate::payers::{container, create, set};

/// What follows the failure of a process in the text of a trace: who uses up the limit, and the remedy.
fn after(lines: &[Value], pid: u32) -> Option<[String; 2]> {
    let is_it = |line: &&str| line.contains("-FAIL") && line.contains(&format!(" {pid} "));
    let mut lines = lines.iter().filter_map(Value::as_str).skip_while(|line| !is_it(line)).skip(1);
    let mut next = || Some(lines.next()?.trim().to_owned());
    Some([next()?, next()?])
}

/// The use of a limit by a user, by `limits` or `list --by user`.
fn used(users: &Value, uid: u32, userns: u64, fields: [&str; 2]) -> [u64; 2] {
    let users = users.as_array().unwrap();
    let is_it = |it: &&Value| {
        let user = it.get("user").unwrap_or(it);
        user["uid"] == uid && user["userns"] == userns
    };
    let user = users.iter().find(is_it).unwrap_or_else(|| panic!("{uid}, {userns}: {users:?}"));
    fields.map(|field| user[field].as_u64().unwrap())
}

/// Containers whose namespaces one user owns, and one with a limit of its own.
#[live_test]
fn every_road_says_whose_limit_is_used_up() {
    const NAME: &str = "roads::quota::every_road_says_whose_limit_is_used_up";
    let _machine = system::the_machine();
    let limit = system::number_in("/proc/sys/fs/inotify/max_user_instances");
    if limit > 900 {
        return system::skip(NAME, "the limit is too high");
    }
    let directory = system::directory();
    let recording = directory.path().join("run.itrec");
    let file = recording.to_str().unwrap();
    let (trace, text) = (Agent::with(&["-x", "--record", file]), Agent::unparsed(&["trace", "-x"]));
    let (owner, base) = (system::fresh_uid(), system::fresh_uid());
    let Some(mut first) = container(owner, base) else { return };
    create(&mut first, limit - 1);
    let mut last = container(owner, base).unwrap();
    create(&mut last, 1);
    assert_eq!(last.call("init1 0"), Err(libc::EMFILE));
    let (own_owner, own_base) = (system::fresh_uid(), system::fresh_uid());
    let mut own = container(own_owner, own_base).unwrap();
    set(&mut own, "max_inotify_watches", 1);
    let fd = instance(&mut own);
    watch(&mut own, fd, directory.path());
    let path = hex(b"/");
    assert_eq!(own.call(&format!("watch {fd} {path} {}", libc::IN_CREATE)), Err(libc::ENOSPC));
    let (initial, inside) = (system::INITIAL_USERNS, system::user_namespace(own.pid));

    let refused = [last.pid, own.pid];
    trace.wait_for("the failures", |events| events.len() >= 2);
    let is_told = |lines: &[Value]| refused.iter().all(|&pid| after(lines, pid).is_some());
    text.wait_for("who is to blame", is_told);
    let lines = text.events();
    let [shared, own_limit] = refused.map(|pid| after(&lines, pid).unwrap());
    let expected = format!(
        "{limit} of {limit} instances of {owner}: workload ({}) {}, workload ({}) 1",
        first.pid,
        limit - 1,
        last.pid
    );
    assert_eq!(shared[0], expected);
    assert!(shared[1].contains("fs.inotify.max_user_instances"), "{shared:?}");
    let expected =
        format!("1 of 1 watches of {own_base}@userns:{inside}: workload ({}) 1", own.pid);
    assert_eq!(own_limit[0], expected);
    let sysctl = format!("nsenter -t {} -U sysctl -w user.max_inotify_watches=N", own.pid);
    assert!(own_limit[1].contains(&sysctl), "{own_limit:?}");

    let looked = |options: &[&str]| {
        let limits = lines_of(&[&["limits", "-o", "json"], options].concat());
        let list = match options {
            [] => Listing::by("user", &[]),
            _ => Listing::recorded(&recording, "user", &[]),
        };
        let of = |users: &Value| {
            [
                used(users, owner, initial, ["used", "limit"]),
                used(users, own_base, inside, ["watches_used", "watch_limit"]),
            ]
        };
        [of(&limits[0]["users"]), of(&json!(list.rows()))]
    };
    let full = [[u64::from(limit); 2], [1, 1]];
    assert_eq!(looked(&[]), [full, full]);
    // By what the trace recorded, of which the test's own machinery compares the replay.
    let events = trace.stop().events;
    // Absent where it is who is charged.
    let payer = |it: &Value, field| {
        let above: &Value = &it[format!("payer_{field}")];
        if above.is_null() { it[format!("charged_{field}")].clone() } else { above.clone() }
    };
    let payers = events.iter().map(|it| (payer(it, "uid"), payer(it, "userns")));
    let expected = [(json!(owner), json!(initial)), (json!(own_base), json!(inside))];
    assert_eq!(payers.collect::<Vec<_>>(), expected);
    assert_eq!(looked(&["--recording", file]), [full, full]);
    let report = Command::new(binary()).args(["report", file, "-f", "text"]).output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in shared.iter().chain(&own_limit) {
        assert!(report.contains(line), "no {line:?} in: {report}");
    }
}
