//! The answer as JSON.

use inotify_trace_model::clock::Clock;
use serde_json::{Value, json};

use super::{Answer, Before, Problem, text::told};
use crate::output::{Refused, UserNames, fields::user as object_of};

impl Answer {
    /// One object: `healthy` is null if that can't be told.
    #[must_use]
    pub fn json(&self, names: &UserNames, clock: &mut Clock) -> Value {
        let each = |problem: &Problem, clock: &mut Clock| {
            let words = told(problem, names, clock);
            let mut object = facts(problem, names, clock);
            object["serious"] = problem.is_serious().into();
            object["says"] = words.heading.into();
            object["remedy"] = words.remedy.into();
            if let Some(command) = self.command(problem, clock) {
                object["command"] = command.into();
            }
            if let Some(fields) = object.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            object
        };
        let problems: Vec<_> = self.problems.iter().map(|it| each(it, clock)).collect();
        let tightest = self.tightest.map(|(user, resource, level)| {
            json!({
                "user": object_of(user, names),
                "resource": resource.name(),
                "used": level.used,
                "limit": level.limit,
            })
        });
        let mut answer = json!({
            "healthy": self.is_healthy(),
            "instances": self.instances,
            "fullest_limit": tightest,
            "problems": problems,
        });
        if let Before::Counted { since, refused, recording } = &self.before {
            let mut agent = json!({ "since": clock.utc(*since), "refused": refused });
            if let Some(recording) = recording {
                agent["recording"] = recording.as_str().into();
            }
            answer["agent"] = agent;
        }
        answer
    }
}

fn facts(problem: &Problem, names: &UserNames, clock: &mut Clock) -> Value {
    match problem {
        Problem::Quota(quota) => {
            let it = &quota.exhausted;
            json!({
                "problem": if quota.is_full() { "limit-used-up" } else { "limit-near" },
                "resource": it.resource.name(),
                "user": object_of(it.user, names),
                "used": it.used,
                "limit": it.limit,
                "leaked": it.leaked,
                "not_visible": it.unseen,
                "refused": quota.refused.as_ref().map(|it| times(it, clock)),
                "full_in_seconds": quota.left.map(|left| left.as_secs()),
            })
        }
        Problem::Finding(finding) => json!({
            "problem": finding.kind.name(),
            "leak": finding.kind.is_leak(),
            "pid": finding.holder.pid,
            "instances": finding.count,
            "pattern": finding.pattern.map(|it| &*it.name),
            "since": clock.utc(finding.since),
            "certain": finding.confidence == inotify_trace_model::verdict::Confidence::Certain,
        }),
        Problem::Descriptors { pid, comm, files } => json!({
            "problem": "descriptors",
            "pid": pid,
            "comm": comm.to_str(),
            "used": files.used,
            "limit": files.limit,
        }),
        Problem::Files(files) => {
            json!({ "problem": "open-files", "used": files.used, "limit": files.limit })
        }
        Problem::Refused(refused) => json!({
            "problem": "refused-earlier",
            "limit_kind": refused.limit,
            "pid": refused.task.map(|it| it.pid),
            "user": refused.quota().map(|(user, _)| object_of(user, names)),
            "resource": refused.quota().map(|(_, resource)| resource.name()),
            "refused": times(refused, clock),
        }),
        Problem::Setting(setting) => json!({
            "problem": "setting-not-live",
            "sysctl": setting.sysctl.key(),
            "live": setting.live,
            "configured": setting.configured.value(),
        }),
    }
}

fn times(refused: &Refused, clock: &Clock) -> Value {
    json!({
        "count": refused.count,
        "since": clock.utc(refused.first),
        "until": clock.utc(refused.last),
    })
}
