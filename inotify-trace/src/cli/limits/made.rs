//! The report on the limits, of now or of a moment of a recording.

use std::time::Duration;

use inotify_trace_model::{
    tracker::{Tracker, User},
    usage,
};

use super::{Args, WARN, apply::overruled};
use crate::{
    cli::{format::TextJsonOrCsv, past::Past},
    host::{self, procfs},
    limits::{self, Changes, Pods, PodsFrom, Recommendation, Seen, apply::Plan, files::Root},
    output::{LimitsReport, UserNames},
};

/// The whole report; `is_known` is whether the kernel's charges are known.
pub(super) fn report(
    args: &Args,
    tracker: &Tracker,
    is_known: bool,
    changes: Option<(&Changes, Duration)>,
) -> LimitsReport {
    let root = Root::new(&args.host.root());
    let (sysctls, errors) = root.sysctls();
    let settings = sysctls.settings();
    let mut notes: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let most = changes.map(|(changes, _)| changes.most()).unwrap_or_default();
    let pods = limits::kubelet::pods(&root);
    let recommendation = recommend(args, pods, &Seen::by(tracker).at_most(most), &settings);
    notes.extend(futile(&root));
    let plan = Plan::new(&root, &recommendation).map_err(|error| notes.push(error.to_string()));
    // With --apply, these go to standard error before anything is written.
    if let Ok(plan) = &plan
        && !(args.apply && args.output == TextJsonOrCsv::Text)
    {
        notes.extend(overruled(plan, &plan.foreseen(&root)));
    }
    if !is_known {
        notes.push(
            "the kernel was not asked, so that only what can be seen without it went into the \
             recommendation, which may therefore be too low."
                .to_owned(),
        );
    }
    let rates = changes.map(|(changes, during)| changes.rates(tracker, during));
    notes.extend(changes.and_then(|(changes, _)| lost(changes)));
    LimitsReport {
        names: UserNames::from_map(host::users()),
        standings: is_known.then(|| usage::standings(tracker)),
        rates,
        settings,
        recommendation,
        plan: plan.ok(),
        warn: args.warn.unwrap_or(WARN),
        own_namespace: procfs::own_user_namespace().filter(|&it| it != u64::from(User::INITIAL)),
        notes,
        done: None,
    }
}

/// The report of a moment of a recording, without a plan: settings are applied on the machine
/// itself.
pub(super) fn look_back(args: &Args, past: &Past) -> LimitsReport {
    let settings = limits::as_of(&past.tracker, past.header.sysctls.settings());
    let seen = Seen::by(&past.tracker).at_most(past.changes.most());
    let recommendation = recommend(args, None, &seen, &settings);
    LimitsReport {
        names: UserNames::from_map(past.header.users.clone()),
        standings: Some(usage::standings(&past.tracker)),
        rates: Some(past.changes.rates(&past.tracker, past.during)),
        notes: lost(&past.changes).into_iter().chain(assumed_pods(&recommendation)).collect(),
        recommendation,
        settings,
        plan: None,
        warn: args.warn.unwrap_or(WARN),
        own_namespace: None,
        done: None,
    }
}

/// The note on a number of pods that the machine itself may know better than its recording.
fn assumed_pods(recommendation: &Recommendation) -> Option<String> {
    let Pods { count, from } = recommendation.instances.pods?;
    (from == PodsFrom::Default).then(|| {
        format!(
            "a recording does not have kubelet's maxPods, so {count} pods are reckoned with: if \
             that machine takes another number, give it with --pods."
        )
    })
}

/// `pods` are those of the machine, if it has a kubelet.
fn recommend(
    args: &Args,
    pods: Option<Pods>,
    seen: &Seen,
    settings: &[limits::Setting],
) -> Recommendation {
    let floor = |sysctl| {
        let setting = settings.iter().find(|setting| setting.sysctl == sysctl);
        setting.map(limits::Setting::floor).unwrap_or_default()
    };
    let floors = [limits::Sysctl::Instances, limits::Sysctl::Watches].map(floor);
    let asked = args.pods.map(|count| Pods { count, from: PodsFrom::Asked });
    limits::recommend(seen, asked.or(pods), floors)
}

/// The note on lines that are meant for inotify and have no effect.
fn futile(root: &Root) -> Option<String> {
    let lines = root.futile_lines();
    let (file, line) = lines.first()?;
    let more = match lines.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "{}:{line}{more}: no effect; limits.conf(5) has no limit of inotify's, which are sysctls.",
        file.display()
    ))
}

/// The note on rates if events were lost.
fn lost(changes: &Changes) -> Option<String> {
    let lost = changes.lost();
    (lost > 0).then(|| format!("{lost} events were lost: rates may be higher than told."))
}
