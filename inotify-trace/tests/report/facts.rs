//! The statements of a report are true.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use inotify_trace_model::event::CgroupId;
use inotify_trace_tests::peak::peak_kib;

use crate::{
    made::{self, Truth, task},
    report, written,
};

/// The statements that text and page must make about [`made::night`].
fn facts(truth: &Truth) -> Vec<String> {
    let Truth { made, released, refused, leaky_app, shim, lost } = truth;
    vec![
        "root ran out of inotify instances at 02:".to_owned(),
        "; containerd-shim and leaky-app leak instances".to_owned(),
        format!("tail in prod/shop-5d8f/logs could not get an instance, {refused} times from 02:"),
        format!("128 of 128 instances of root: leaky-app (3550) in prod/shop-5d8f/web {leaky_app}"),
        format!("containerd-shim (900) of container 0f0f0f0f0f0f {shim}"),
        format!(
            "containerd-shim (900) of container 0f0f0f0f0f0f in containerd.service holds {shim} instances"
        ),
        "(containerd#5670)".to_owned(),
        "since 02:00:00".to_owned(),
        "update containerd, then delete the pod".to_owned(),
        // One instance every 25 seconds.
        "instances that all watch /srv/app/config, and seems to keep making more, 2.4 more a minute"
            .to_owned(),
        format!("It had stopped growing by the end, and held {leaky_app} instances."),
        "root is charged 128 of 128 instances (100%)".to_owned(),
        format!("{lost} events (ring buffer full"),
        "raise fs.inotify.max_user_instances".to_owned(),
        "/etc/sysctl.d/50-inotify.conf:1".to_owned(),
        "What fs.inotify.max_user_instances was is not what is configured".to_owned(),
        "node-7".to_owned(),
        "Linux 6.12.48-test".to_owned(),
        "2026-03-14 02:00:00 +00:00".to_owned(),
        made.to_string(),
        released.to_string(),
    ]
}

#[test]
fn text_says_what_happened_in_lines_that_fit() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("night.itrec");
    let truth = made::night(&file);
    let output = report(&[&file], &["-f", "text"]);
    let text = written(&output);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    // Line breaks do not matter here.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in facts(truth) {
        assert!(flat.contains(&fact), "no {fact:?} in:\n{text}");
    }
    assert!(flat.contains(&format!("Created: {}", truth.made)), "{text}");
    assert!(flat.contains(&format!("Released: {}", truth.released)), "{text}");
}

#[test]
fn the_page_says_the_same_and_nothing_in_it_is_alive() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("night.itrec");
    let truth = made::night(&file);
    let output = report(&[&file], &["-o", "-"]);
    let page = written(&output);
    for fact in facts(truth) {
        let fact = fact.replace('&', "&amp;");
        // Sentences have markup around commands.
        assert!(page.contains(&fact), "no {fact:?}");
    }
    for alive in ["<b>x", "<img", "src=\"", "url(", "@import", "onclick=", "@HASH"] {
        assert!(!page.contains(alive), "{alive}");
    }
    assert_eq!(page.matches("<script").count(), 1);
    assert!(page.contains("&lt;b&gt;x&lt;/b&gt;&amp;"), "the name itself is told");
}

#[test]
fn files_are_written_and_recordings_are_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quiet.itrec");
    made::quiet(&file, "node-1");
    let page = directory.path().join("page.html");
    let output = report(&[&file], &["-o", page.to_str().unwrap()]);
    assert_eq!(written(&output), "");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("No limit was reached") && message.contains("page.html"), "{message}");
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
    let text = directory.path().join("page.txt");
    written(&report(&[&file], &["-o", text.to_str().unwrap()]));
    assert!(fs::read_to_string(&text).unwrap().starts_with("OK: node-1"));

    let before = fs::read(&file).unwrap();
    for bad in [&file, &directory.path().join("new.itrec")] {
        let output = report(&[&file], &["-o", bad.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("overwritten") && message.contains("report.html"), "{message}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    let nowhere = directory.path().join("no/such/page.html");
    let output = report(&[&file], &["-o", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write"));
}

#[test]
fn what_comes_before_damage_is_told_and_so_is_the_damage() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("night.itrec");
    made::night(&file);
    let whole = fs::read(&file).unwrap();
    let cut = whole.len() * 9 / 10;
    let mut damaged = whole.clone();
    damaged[cut..cut + 64].fill(0xA5);
    fs::write(&file, &damaged).unwrap();
    for format in ["text", "html"] {
        let output = report(&[&file], &["--format", format]);
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr);
        let offset = message.split("damaged at byte ").nth(1).unwrap();
        let offset: usize = offset.split(':').next().unwrap().parse().unwrap();
        assert!(offset <= cut && offset > cut / 4, "{offset} of {cut}");
        let page = String::from_utf8(output.stdout).unwrap();
        let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&format!("damaged at byte {offset}")), "{page}");
        assert!(flat.contains("leaky-app"), "{page}");
    }
    fs::write(&file, b"no recording").unwrap();
    let output = report(&[&file], &["-f", "text"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("no recording of inotify-trace"), "{message}");
}

/// The words of a report that must say that something is missing.
fn incomplete(files: &[&Path]) -> String {
    let output = report(files, &["-f", "text"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("INCOMPLETE") && !text.contains("OK:"), "{text}");
    assert!(!text.contains("Lost: nothing") && !text.contains("No leak was found.\n"), "{text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn of_what_is_not_whole_nothing_is_well() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("quiet.itrec");
    made::quiet(&file, "node-1");
    let whole = fs::read(&file).unwrap();
    let hedged = "Parts are missing; in the rest no limit was reached, and no leak was found";
    // Damaged in the middle; and killed, with its last frame whole.
    let mut damaged = whole.clone();
    let end = whole.windows(2).rposition(|it| it == [3, 0]).unwrap();
    damaged[end - 1] ^= 1;
    for (bytes, why) in [(&damaged[..], "damaged at byte"), (&whole[..end], "the end is missing")] {
        fs::write(&file, bytes).unwrap();
        let text = incomplete(&[&file]);
        assert!(text.starts_with("INCOMPLETE: node-1") && text.contains(why), "{text}");
        assert!(text.contains(hedged), "{text}");
        let page = directory.path().join("page.html");
        let output = report(&[&file], &["--force", "-o", page.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("INCOMPLETE: {hedged}. Written")), "{said}");
        let page = fs::read_to_string(&page).unwrap();
        assert!(page.contains(&format!("<title>INCOMPLETE: {hedged}")), "{page}");
        assert!(page.contains(">INCOMPLETE</span>") && !page.contains(">OK</span>"), "{page}");
    }
    // Another file that cannot be read at all is no better.
    fs::write(&file, &whole).unwrap();
    let empty = directory.path().join("empty.itrec");
    fs::write(&empty, b"").unwrap();
    let output = report(&[&file, &empty], &["-o", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("<title>INCOMPLETE: "));
}

#[test]
fn several_files_of_a_run_are_one_and_a_missing_one_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let truth = made::rotated_night(directory.path());
    let mut files: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let words = || {
        let output = report(&[directory.path()], &["-f", "text"]);
        written(&output).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let whole = words();
    for fact in facts(&truth) {
        assert!(whole.contains(&fact), "no {fact:?} in:\n{whole}");
    }
    assert!(!whole.contains("Nothing is known"), "{whole}");

    fs::remove_file(&files[1]).unwrap();
    let rest = incomplete(&[directory.path()]);
    assert!(rest.starts_with("INCOMPLETE, PROBLEM: node-7"), "{rest}");
    assert!(
        rest.contains("the file before this one is missing")
            && rest.contains("Lost: 1 files, 5 events"),
        "{rest}"
    );
    assert!(rest.contains('?') && rest.contains("?: not everything is known"), "{rest}");
    assert!(rest.contains("Nothing is known of what happened from 02:"), "{rest}");
    assert!(!rest.contains(&format!("Created: {}", truth.made)), "not all were seen: {rest}");
    // The state at the end does not depend on the missing file.
    for fact in [
        "root is charged 128 of 128 instances (100%)".to_owned(),
        format!("3550 leaky-app root prod/shop-5d8f/web {0} {0}", truth.leaky_app),
        format!("prod/shop-5d8f/web {0} {0}", truth.leaky_app),
    ] {
        assert!(rest.contains(&fact), "no {fact:?} in:\n{rest}");
    }
}

#[test]
fn several_machines_have_a_section_each_and_the_worst_is_the_title() {
    let directory = tempfile::tempdir().unwrap();
    let files = ["one", "two", "three"].map(|it| directory.path().join(format!("{it}.itrec")));
    made::quiet(&files[0], "node-1");
    made::night(&files[1]);
    made::quiet(&files[2], "node-3");
    let broken = directory.path().join("broken.itrec");
    fs::write(&broken, b"").unwrap();
    let output = report(&[directory.path()], &["--format", "html"]);
    assert_eq!(output.status.code(), Some(2), "one of them is empty");
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(page.matches("<article").count(), 3);
    assert!(page.contains("<title>INCOMPLETE: root ran out of inotify instances"));
    assert!(page.contains("node-1") && page.contains("node-3") && page.contains("broken.itrec"));
}

#[test]
fn of_very_many_runs_the_newest_are_shown_in_full() {
    let directory = tempfile::tempdir().unwrap();
    for run in 0..23 {
        made::quiet(&directory.path().join(format!("{run}.itrec")), &format!("node-{run}"));
    }
    let output = report(&[directory.path()], &["--format", "html"]);
    let page = written(&output);
    assert_eq!(page.matches("<article").count(), 20);
    assert!((0..23).all(|run| page.contains(&format!("<td>node-{run}</td>"))), "all are listed");
    assert!(page.contains("The newest 20 are shown in full"));
}

/// Makes a page. Returns the peak memory of that, in KiB.
fn peak(recording: &Path, page: &Path) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inotify-trace"));
    command.arg("report").arg(recording).arg("-o").arg(page).stderr(Stdio::null());
    let (peak, status) = peak_kib(&mut command);
    assert!(status.success(), "{status}");
    peak
}

/// A recording of ten hours, with thousands of containers that start and stop.
#[test]
fn long_recordings_make_small_pages_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let (long, short) = (directory.path().join("l.itrec"), directory.path().join("s.itrec"));
    let make = |path: &Path, rounds: u32| {
        made::make(path, "busy", |made| {
            made.cgroup(made::ROOT, "/");
            for round in 0..rounds {
                made.at(f64::from(round) * 7.3);
                let cgroup = CgroupId(u64::from(1000 + round));
                made.cgroup(cgroup, &format!("/kubepods/{}-{round}", "long-name-".repeat(20)));
                let who = task(10_000 + round, "worker", cgroup);
                for _ in 0..40 {
                    let instance = made.create(who);
                    made.release(who, instance);
                }
                if round % 20 == 19 {
                    made.judge();
                }
            }
        });
    };
    make(&short, 200);
    make(&long, 5000);
    let measure = |path: &Path| {
        let page = path.with_extension("html");
        let kib = peak(path, &page);
        (fs::read_to_string(page).unwrap(), kib)
    };
    let (page, more) = measure(&long);
    let (_, less) = measure(&short);
    assert!(page.contains("<dd>200000</dd>"), "all of them are counted");
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    println!("{} bytes, {less} and {more} KiB", page.len());
    // The memory for removed cgroups is bounded too, but not used up here.
    assert!(less > 0 && more < less + 20_000, "{less} KiB for little, {more} KiB for much");
}

#[test]
fn each_user_is_named_and_each_leak_is_in_the_chart_of_its_own_user() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("crowd.itrec");
    made::crowd(&file, 6);
    let text = written(&report(&[&file], &["-f", "text"])).to_owned();
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let title =
        "user 1000, user 1001, user 1002 and 3 more users ran out of inotify instances from";
    assert!(flat.contains(title), "{text}");
    for user in 1000..1003 {
        let sentence = format!("app in / could not get an instance charged to user {user}, once");
        assert!(flat.contains(&sentence), "no {sentence:?} in {text}");
        let remedy = format!("instances of user {user}: ");
        assert!(flat.contains(&remedy), "no {remedy:?} in {text}");
    }
    let others =
        "Used up as well: instances of user 1003, instances of user 1004, instances of user 1005.";
    assert!(flat.contains(others), "{text}");
    assert!(flat.contains("LIMIT OF") && flat.contains("EMFILE"), "{text}");
    assert!(flat.contains("20 others that came and went 0 1 - 20 0"), "{text}");
    assert!(flat.contains("700: at most 6 of 1000 instances"), "{text}");

    let output = report(&[&file], &["-o", "-"]);
    let page = written(&output);
    let charts: Vec<_> = page.split("<figure").skip(1).collect();
    let charged = charts.iter().filter(|chart| chart.contains("Instances charged to"));
    let (of_leaker, others): (Vec<&str>, Vec<&str>) =
        charged.copied().partition(|chart| chart.contains("charged to 700,"));
    assert_eq!((of_leaker.len(), others.len()), (1, 4), "{page}");
    assert!(of_leaker[0].contains("class=\"mark\"") && of_leaker[0].contains("Dotted"), "{page}");
    assert!(others.iter().all(|chart| !chart.contains("class=\"mark\"")), "{page}");
    assert!(page.contains("hold Shift and turn the wheel"), "a wide table says how to scroll");
}
