//! How a running agent fares, by what it says: for `check --agent`.

use std::{path::Path, time::SystemTime};

use anyhow::Context as _;

use crate::{
    kernel::probe::{Finding, State},
    output::Bytes,
    recording::Header,
    serve::{
        metrics::registry::{self as of, Metric},
        protocol::{self, Wish, ask_metrics},
    },
};

/// A sync that is older than this is late: the agent syncs each second.
const LATE: f64 = 60.0;

/// What an agent says of itself.
#[derive(Default)]
pub(super) struct AgentState {
    pub(super) backend: String,
    pub(super) findings: Vec<Finding>,
}

/// Asks the agent at a path.
///
/// # Errors
/// If it does not answer.
pub(super) fn ask(path: &Path) -> anyhow::Result<AgentState> {
    let place = || path.display().to_string();
    let header = protocol::ask(path, Wish::State).with_context(place)?.header().clone();
    let page = ask_metrics(path).with_context(place)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(AgentState::of(&header, &page, now.as_secs_f64()))
}

/// How many calls the agent at a path has seen refused at users' limits.
///
/// # Errors
/// If it does not answer.
pub(super) fn refused(path: &Path) -> anyhow::Result<u64> {
    let page = ask_metrics(path).with_context(|| path.display().to_string())?;
    let of_users = |(labels, _): &(&str, f64)| {
        ["instance_limit", "watch_limit"].contains(&label(labels, "cause"))
    };
    let page = Page(&page);
    let failures = page.series(&of::FAILURES);
    Ok(failures.into_iter().filter(of_users).map(|(_, count)| count as u64).sum())
}

/// The series of a page of metrics.
struct Page<'a>(&'a str);

impl Page<'_> {
    /// The labels, as they are written, and the values of a metric.
    fn series(&self, metric: &Metric) -> Vec<(&str, f64)> {
        let name = metric.series();
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(&name));
        let lines = lines.filter(|rest| rest.starts_with([' ', '{']));
        lines
            .filter_map(|rest| {
                let (labels, value) = rest.rsplit_once(' ')?;
                Some((labels, value.parse().ok()?))
            })
            .collect()
    }

    fn value(&self, metric: &Metric) -> Option<f64> {
        self.series(metric).first().map(|(_, value)| *value)
    }
}

/// The value of a label that has no quotes inside.
fn label<'a>(labels: &'a str, name: &str) -> &'a str {
    let rest = labels.split_once(&format!("{name}=\"")).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

impl AgentState {
    fn of(header: &Header, page: &str, now: f64) -> Self {
        let page = Page(page);
        let mut it = Self { backend: header.backend.clone(), ..Self::default() };
        let count = |metric| page.value(metric).unwrap_or_default();

        let builds = page.series(&of::BUILD);
        let version = builds.first().map(|(labels, _)| label(labels, "version"));
        let memory = Bytes(count(&of::RESIDENT) as u64);
        let running = (now - count(&of::BEGAN)).max(0.0) as u64 / 60;
        let version = version.unwrap_or("of an unknown version");
        it.add("agent", true, format!("inotify-trace {version}, for {running} min, {memory}"));

        let backends = page.series(&of::BACKEND);
        let kernel = backends.first().map_or("", |(labels, _)| label(labels, "kernel"));
        let mut detail = format!("{} on Linux {kernel}", header.backend);
        if !header.unseen.is_empty() {
            detail.push_str("; not seen here: ");
            detail.push_str(&header.unseen.join(", "));
        }
        it.add("backend", header.unseen.is_empty(), detail);

        let lost = page.series(&of::LOST).into_iter().filter(|(_, count)| *count > 0.0);
        let lost: Vec<_> =
            lost.map(|(labels, count)| format!("{count} {}", label(labels, "what"))).collect();
        let detail = if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") };
        it.add("lost", lost.is_empty(), detail);

        match page.value(&of::RECORDING_SYNCED) {
            None => it.add("recording", true, "not asked for: serve --record".to_owned()),
            Some(synced) => {
                let missed = count(&of::RECORDING_MISSED);
                let age = (now - synced).max(0.0);
                let bytes = Bytes(count(&of::RECORDING_BYTES) as u64);
                let errors = count(&of::RECORDING_ERRORS);
                let detail = format!(
                    "{bytes} written; all is on disk that is older than {age:.0} s; {errors} errors, \
                     {missed} events missing"
                );
                it.add("recording", age < LATE && errors + missed == 0.0, detail);
            }
        }
        match page.value(&of::EXPORT_FILES) {
            None => it.add("export", true, "not asked for: serve --export".to_owned()),
            Some(files) => {
                let (errors, missed) = (count(&of::EXPORT_ERRORS), count(&of::EXPORT_MISSED));
                let detail = format!(
                    "{files} files completed; {errors} given up, {missed} events in no file"
                );
                it.add("export", errors + missed == 0.0, detail);
            }
        }
        let (requests, errors) = (count(&of::CRI_REQUESTS), count(&of::CRI_ERRORS));
        let detail = format!("{requests} questions to runtimes, {errors} of them failed");
        it.add("names by CRI", errors == 0.0, detail);
        it
    }

    fn add(&mut self, subject: &'static str, is_good: bool, detail: String) {
        let state = if is_good { State::Good } else { State::Limited };
        self.findings.push(Finding { subject, state, detail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_lacks_is_limited() {
        let header = Header {
            backend: "kprobe".to_owned(),
            unseen: vec!["overflows".to_owned()],
            ..Header::default()
        };
        let page = "\
inotify_trace_build_info{version=\"0.1.0\"} 1
inotify_trace_backend_info{backend=\"kprobe\",kernel=\"6.1.0\"} 1
inotify_trace_lost_total{what=\"events\"} 7.0
inotify_trace_lost_total{what=\"runs\"} 0.0
inotify_trace_recording_last_sync_timestamp_seconds 995.0
inotify_trace_recording_errors_total 0.0
inotify_trace_export_files_total 2.0
inotify_trace_export_errors_total 1.0
# EOF
";
        let state = AgentState::of(&header, page, 1000.0);
        let found = |subject: &str| {
            let it = state.findings.iter().find(|it| it.subject == subject).unwrap();
            (it.state.name(), it.detail.clone())
        };
        assert_eq!(found("agent").0, "ok");
        let backend = "kprobe on Linux 6.1.0; not seen here: overflows".to_owned();
        assert_eq!(found("backend"), ("limited", backend));
        assert_eq!(found("lost"), ("limited", "7 events".to_owned()));
        assert_eq!(found("recording").0, "ok");
        assert_eq!(found("export").0, "limited");
        assert_eq!(found("names by CRI").0, "ok");
    }
}
