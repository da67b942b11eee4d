use inotify_trace_model::{
    event::{CgroupId, EMFILE, Event, EventKind, Quota, Task},
    findings::{Exhausted, Finding},
    identity::Names,
    testing::{Machine, at, shim, task},
    usage::Culprits,
};
use serde_json::{Value, json};

use super::{in_lines, line, remedy_for};
use crate::{
    host,
    output::{Context, fields},
};

/// The text, the line and the JSON of the only verdict.
fn said(story: &Machine, seconds: u64) -> (String, String, Value) {
    let verdicts = story.verdicts(seconds);
    let [verdict] = &verdicts[..] else { panic!("one verdict: {verdicts:?}") };
    let (mut clock, finding) = (host::clock(), Finding::of(verdict, &story.0));
    let text = in_lines(&finding, &mut clock, at(seconds), crate::output::Screen::default());
    let context = Context::new(clock);
    let mut record = fields::finding(&context, verdict, &story.0, at(seconds));
    fields::evidence(&mut record, &context, verdict, &story.0);
    (text, line(&finding), json!(record))
}

const WHO: &str = "containerd-shim (100) of pod default/web in containerd.service";

#[test]
fn a_shim_s_verdict_names_its_pod_and_what_a_restart_costs() {
    let mut story = Machine::pod(Some("1.5.9"));
    for restart in 1..=8 {
        story.restart(10 * restart, 10 + restart);
    }
    let (text, line, json) = said(&story, 200);
    let heading =
        format!("{WHO} holds 8 instances whose containers or cgroups are gone (containerd#5670)");
    assert!(text.starts_with(&format!("LEAK  {heading}\n")), "{text}");
    let pace =
        "1 a restart, 100 restarts left until the limit of 128; 6.0 more a minute: the limit";
    assert!(text.contains(&format!("\n      pace: {pace}")), "{text}");
    assert!(line.starts_with(&format!("{heading}, {pace}")), "{line}");
    assert!(text.contains("this is version 1.5.9, which has it\n"), "{text}");
    assert_eq!((&json["boot_ns"], &json["version_has_it"]), (&json!(at(200)), &json!(true)));
    assert_eq!((&json["per_restart"], &json["restarts_left"]), (&json!(1.0), &json!(100)));
    assert_eq!((&json["limit"], &json["containers_ended"]), (&json!(128), &json!(8)));
    assert_eq!(json["shim"]["container"]["pod_name"], "web");
    assert_eq!(json["shim"]["containerd_version"], "1.5.9");
}

#[test]
fn containers_that_were_gone_before_are_counted_as_the_pod_s() {
    let mut story = Machine::pod(None);
    for instance in 20..28 {
        story.emptied(5, instance).watch(5, shim(), instance, Ok(1000 + instance));
    }
    let (text, ..) = said(&story, 100);
    let expected = "\n      for: 8 containers of default/web that were already gone\n";
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("version"), "{text}");
}

#[test]
fn so_are_those_that_do_not_say_whom_they_served() {
    let mut story = Machine::pod(Some("1.4.13"));
    story.emptied(5, 20);
    let (text, _, json) = said(&story, 100);
    assert!(text.contains("for: 1 container of default/web that was already gone\n"), "{text}");
    assert!(text.contains("119 restarts left until the limit of 128 (inferred)\n"), "{text}");
    assert!(text.contains("(containerd#5670)"), "{text}");
    assert_eq!(json["per_restart_inferred"], true);
}

#[test]
fn without_watches_and_version_two_bugs_are_named_and_no_rate() {
    let mut story = Machine::pod(None);
    story.emptied(5, 20);
    let (text, _, json) = said(&story, 100);
    assert!(text.contains("for: 1 container of default/web that was already gone\n"), "{text}");
    assert_eq!(json["pattern"], "containerd#5670 or containerd-exit-before-watch", "{text}");
    assert_eq!((json.get("per_restart"), json.get("fixed_in")), (None, None));
    assert!(text.contains("\n      do: delete the pod, which ends its shim; if"), "{text}");
}

#[test]
fn a_version_that_cannot_have_the_bug_gets_no_name_of_it() {
    let mut story = Machine::pod(Some("1.7.24"));
    story.emptied(5, 20);
    let (text, _, json) = said(&story, 100);
    assert!(!text.contains("containerd#5670") && json.get("pattern").is_none(), "{text}");
    assert!(text.contains("\n      do: delete the pod, which ends this shim"), "{text}");
    assert_eq!(json.get("per_restart"), None);
}

#[test]
fn a_container_that_ended_before_its_shim_watched_for_it_is_another_bug() {
    let mut story = Machine::pod(Some("2.1.9"));
    // Three of four restarts leave an instance that waits for both files.
    for restart in 1..=8 {
        let id = 10 + restart;
        if restart % 4 == 0 {
            story.of_pod(10 * restart, id).remove(10 * restart + 3, id);
        } else {
            let start = 10 * restart;
            story.of_pod(start, id).create(start, shim(), id).watch(start, shim(), id, Ok(id));
            story.watch_end(start, shim(), id, id).remove(start + 3, id);
        }
    }
    let (text, _, json) = said(&story, 200);
    assert_eq!(json["pattern"], "containerd-exit-before-watch", "{text}");
    assert!(text.contains("pace: 0.75 a restart, 133 restarts left"), "{text}");
    assert!(text.contains("do: delete the pod, which ends its shim: no update"), "{text}");
    assert!(!text.contains("version"), "{text}");
}

#[test]
fn how_often_it_happens_is_not_known_of_what_was_found() {
    let mut story = Machine::pod(None);
    for instance in 20..28 {
        story.emptied(5, instance).watch(5, shim(), instance, Ok(1000 + instance));
        story.watch_end(5, shim(), instance, 1000 + instance);
    }
    let (text, _, json) = said(&story, 100);
    assert_eq!(json["pattern"], "containerd-exit-before-watch", "{text}");
    assert!(json.get("per_restart").is_none() && !text.contains("pace:"), "{text}");
    // Two more restarts were seen, and one left something.
    story.of_pod(110, 31).create(110, shim(), 31).watch(110, shim(), 31, Ok(31));
    story.watch_end(110, shim(), 31, 31).remove(113, 31).of_pod(120, 32).remove(121, 32);
    let (text, ..) = said(&story, 300);
    assert!(text.contains("pace: 0.50 a restart, "), "{text}");
}

/// What it serves and its version are only that container's word.
#[test]
fn a_shim_in_a_node_of_kind_is_shown_with_the_node_and_not_to_be_restarted() {
    let mut story = Machine::new();
    let node = format!("/system.slice/docker-{}.scope", "d5".repeat(32));
    story.cgroup(0, 20, &format!("{node}/system.slice/containerd.service"));
    let pod = "kubelet-kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice";
    let id = "4f".repeat(32);
    let slice = format!("{node}/kubelet.slice/kubelet-kubepods.slice/{pod}");
    story.cgroup(0, 21, &format!("{slice}/cri-containerd-{id}.scope"));
    let names = Names { name: Some("kind-worker".to_owned()), ..Names::default() };
    let cgroup = CgroupId(20);
    let named = EventKind::ContainerNamed { cgroup, container: None, names: names.into() };
    story.tell(0, None, named);
    let shim = Task { cgroup, ..shim() };
    story.create(0, shim, 1).watch(0, shim, 1, Ok(21)).remove(3, 21);
    let (text, line, json) = said(&story, 100);
    assert!(
        line.starts_with("containerd-shim (100) in kind-worker holds 1 instance whose"),
        "{line}"
    );
    assert!(text.contains("for: kind-worker > containerd:4f4f4f4f4f4f\n"), "{text}");
    assert!(text.contains("do: delete the pod or container that this shim runs"), "{text}");
    assert_eq!((json.get("pattern"), json.get("shim")), (None, None));
}

#[test]
fn a_limit_that_equal_processes_are_about_to_reach_is_said_of_them_all() {
    let mut story = Machine::new();
    story.cgroup(0, 3, "/system.slice/logs.service");
    for pid in 1..=30 {
        let tail = Task { cgroup: CgroupId(3), ..task(pid, "tail") };
        let instance = u64::from(pid);
        story.create(instance, tail, instance).watch(instance, tail, instance, Err("/var/log/app"));
    }
    let (_, line, json) = said(&story, 31);
    let expected = "30 processes tail in logs.service hold 30 instances, and become more: 28 of 128 \
                    instances of their user are used; not decided yet if they leak, 1.0 more a \
                    second, 100 left: the limit is reached in 1m40s";
    assert_eq!(line, expected);
    assert_eq!((&json["verdict"], &json["processes"]), (&json!("limit-near"), &json!(30)));
    assert_eq!((&json["comm"], &json["leak"]), (&json!("tail"), &json!(false)));
}

/// Some shims, each with a pod of its own and two instances of which the first is of a container that
/// may have ended.
fn pods(count: u32, is_over: impl Fn(u32) -> bool) -> Machine {
    let mut story = Machine::new();
    for number in 0..count {
        let (shim, id) = (task(100 + number, "containerd-shim"), u64::from(1000 + 10 * number));
        for id in [id, id + 1] {
            story.of_pod(0, id).create(0, shim, id).watch(0, shim, id, Ok(id));
        }
        if is_over(number) {
            story.remove(1, id).remove(1, id + 1);
        }
        let (container, namespace) = (format!("{id:0>64}").into(), "k8s.io".into());
        let kind = EventKind::ShimIdentified { id: container, namespace, version: None };
        story.tell(0, Some(shim), kind);
    }
    story
}

/// The remedy for a limit that was reached.
fn advice(story: &Machine, limit: u32) -> String {
    let quota = Some(Quota::own(limit, limit, 0, 1));
    let kind = EventKind::CreateFailed { flags: 0, errno: EMFILE, quota, files: None };
    let event = Event { time: at(100), task: None, kind };
    remedy_for(&Exhausted::by(&Culprits::of(&event, &story.0).unwrap(), &story.0))
}

#[test]
fn what_is_mostly_leaked_is_to_be_released_whoever_holds_it() {
    // As many instances, of which most or few are of containers that ended.
    let of_most = advice(&pods(40, |number| number < 30), 80);
    let expected = "run `inotify-trace leaks` first, which says how to release 60 of these that look \
                    leaked; to gain time, raise ";
    assert!(of_most.starts_with(expected), "{of_most}");
    let of_few = advice(&pods(40, |number| number < 10), 80);
    assert!(of_few.starts_with("raise "), "{of_few}");
    let of_one = advice(&pods(1, |_| true), 2);
    let expected = "look at containerd-shim (100) of container 000000000000 first, with 2 of these: \
                    `inotify-trace leaks` says how to release the 2 that look leaked; to gain time, \
                    raise ";
    assert!(of_one.starts_with(expected), "{of_one}");
}
