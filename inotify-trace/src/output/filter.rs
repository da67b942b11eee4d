//! The choice of events to show.

use inotify_trace_model::{
    event::{BootTime, Event, EventName},
    pass_on_the_rest,
    story::Audience,
    tracker::Tracker,
    verdict::Verdict,
};

use super::{Selection, is_own};

/// Picks events to show. The tracker sees all of them in any case.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only theirs.
    pub selection: Selection,
    /// Only these events; those shown by default if empty.
    pub events: Vec<EventName>,
    /// Only failures.
    pub failed: bool,
}

impl Filter {
    /// Whether to show an event that `tracker` has just taken in. Losses are always shown.
    #[must_use]
    pub fn shows(&self, event: &Event, tracker: &Tracker) -> bool {
        let name = event.kind.name();
        if name == EventName::Lost {
            return true;
        }
        // The tool's own are shown if a process is chosen; those that succeed also with the
        // bookkeeping, of which nothing is left out.
        let is_chosen = !self.selection.pids.is_empty()
            || !self.selection.comms.is_empty()
            || (!event.kind.is_failure()
                && self.events.iter().any(|name| !name.is_shown_by_default()));
        self.picks_name(name)
            && (is_chosen || !is_own(event, tracker))
            && self.selection.picks_event(event, tracker)
    }

    /// Whether to show a verdict. A filter for certain events, or for failures only, hides
    /// verdicts.
    #[must_use]
    pub fn shows_verdict(&self, verdict: &Verdict, tracker: &Tracker) -> bool {
        self.events.is_empty() && !self.failed && self.selection.picks_verdict(verdict, tracker)
    }

    /// Whether events of this name may be shown.
    pub(super) fn picks_name(&self, name: EventName) -> bool {
        let asked = if self.events.is_empty() {
            name.is_shown_by_default()
        } else {
            self.events.contains(&name)
        };
        asked && (!self.failed || name.is_failure())
    }
}

/// Passes on only the events and verdicts that a filter picks.
pub struct Filtered<A> {
    /// Picks the events.
    pub filter: Filter,
    /// Whether leaks are passed on. Verdicts that are not leaks never are.
    pub shows_leaks: bool,
    /// The audience that gets them.
    pub inner: A,
}

impl<A: Audience> Audience for Filtered<A> {
    type Error = A::Error;

    fn event(&mut self, event: &Event, tracker: &Tracker) -> Result<(), A::Error> {
        if self.filter.shows(event, tracker) { self.inner.event(event, tracker) } else { Ok(()) }
    }

    fn verdict(
        &mut self,
        verdict: &Verdict,
        tracker: &Tracker,
        now: BootTime,
    ) -> Result<(), A::Error> {
        let is_shown = self.shows_leaks && verdict.kind.is_leak();
        if is_shown && self.filter.shows_verdict(verdict, tracker) {
            self.inner.verdict(verdict, tracker, now)
        } else {
            Ok(())
        }
    }

    pass_on_the_rest!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use inotify_trace_model::event::{BootTime, CgroupId, EventKind, Loss, Task};

    fn event(kind: EventKind) -> Event {
        let task = Task {
            pid: 7,
            tid: 8,
            uid: 1000,
            comm: "tail".into(),
            cgroup: CgroupId(3),
            ..Task::default()
        };
        Event { time: BootTime(1), task: Some(task), kind }
    }

    fn failure() -> Event {
        event(EventKind::CreateFailed { flags: 0, errno: 24, quota: None, files: None })
    }

    fn shows(filter: &Filter, event: &Event) -> bool {
        let mut tracker = Tracker::new();
        let (cgroup, path) = (CgroupId(3), "/kubepods/pod1/abc".into());
        tracker.apply(&self::event(EventKind::CgroupFound { cgroup, path }));
        tracker.apply(event);
        filter.shows(event, &tracker)
    }

    #[test]
    fn each_condition_must_hold() {
        let all = Filter::default();
        let with = |change: fn(&mut Selection)| {
            let mut filter = Filter::default();
            change(&mut filter.selection);
            filter
        };
        assert!(shows(&all, &failure()));
        assert!(shows(&with(|f| f.pids = vec![1, 7]), &failure()));
        assert!(!shows(&with(|f| f.pids = vec![8]), &failure()), "a thread id is no process id");
        assert!(shows(&with(|f| f.uids = vec![1000]), &failure()));
        assert!(!shows(&with(|f| f.uids = vec![0]), &failure()));
        assert!(shows(&with(|f| f.comms = vec!["tail".into()]), &failure()));
        assert!(!shows(&with(|f| f.comms = vec!["tai".into()]), &failure()));
        assert!(!shows(&with(|f| (f.pids, f.uids) = (vec![7], vec![0])), &failure()));
    }

    #[test]
    fn the_tool_itself_is_no_victim() {
        let failed = |uid, comm: &str| {
            let task =
                Task { uid, comm: comm.into(), ..event(EventKind::ProcessExited).task.unwrap() };
            Event { task: Some(task), ..failure() }
        };
        let selection = Selection { comms: vec!["inotify-trace".into()], ..Selection::default() };
        let chosen = Filter { selection, ..Filter::default() };
        assert!(!shows(&Filter::default(), &failed(0, "inotify-trace")));
        assert!(shows(&chosen, &failed(0, "inotify-trace")));
        assert!(
            shows(&Filter::default(), &failed(1000, "inotify-trace")),
            "anyone may have the name"
        );
        assert!(shows(&Filter::default(), &failed(0, "inotify-tracer")));
    }

    #[test]
    fn a_cgroup_includes_what_is_below_it() {
        let shows_in = |cgroup: &str| {
            let selection = Selection { cgroup: Some(cgroup.to_owned()), ..Selection::default() };
            shows(&Filter { selection, ..Filter::default() }, &failure())
        };
        for ancestor in ["/", "/kubepods", "/kubepods/", "/kubepods/pod1", "/kubepods/pod1/abc"] {
            assert!(shows_in(ancestor), "{ancestor}");
        }
        for other in ["/kube", "/kubepods/pod", "/kubepods/pod1/abc/d", "/x"] {
            assert!(!shows_in(other), "{other}");
        }
    }

    #[test]
    fn bookkeeping_is_shown_only_when_asked_for_and_losses_always() {
        let exited = event(EventKind::ProcessExited);
        let lost = event(EventKind::Lost { count: 1, what: Loss::Events });
        let failures = Filter { failed: true, ..Filter::default() };
        assert!(!shows(&Filter::default(), &exited));
        assert!(shows(&Filter { events: vec![EventName::Exit], ..Filter::default() }, &exited));
        assert!(shows(&failures, &lost));
        assert!(shows(&failures, &failure()));
        assert!(!shows(&failures, &exited));
    }
}
