//! The report for programs; docs/json.md documents its fields.

use inotify_trace_model::{
    resource::Resource,
    tracker::User,
    usage::{Level, Standing},
};
use serde_json::{Map, Value, json};

use super::{LimitsReport, words::reasoning};
use crate::{
    limits::{Assignment, Pods, PodsFrom, Rate, Recommendation, Setting, Sizing},
    output::fields,
};

impl LimitsReport {
    /// For programs; the fields are documented in docs/json.md.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut report = Map::new();
        let users = self.standings.as_ref().map(|standings| {
            let none = Standing::default();
            let user = |user| self.user(user, standings.get(&user).unwrap_or(&none));
            self.everyone(standings).into_iter().map(user).collect::<Vec<_>>()
        });
        report.insert("users".to_owned(), users.into());
        report.insert("warn_percent".to_owned(), self.warn.into());
        // Nobody can tell who is, if the users' charges are unknown.
        let over = self
            .standings
            .as_ref()
            .map(|_| self.over().map(|user| fields::user(user, &self.names)).collect::<Vec<_>>());
        report.insert("over".to_owned(), over.into());
        report.insert("sysctls".to_owned(), self.settings.iter().map(setting).collect());
        let Recommendation { instances, watches } = &self.recommendation;
        let mut recommended = Map::new();
        recommended.insert("max_user_instances".to_owned(), sized(instances));
        recommended.insert("max_user_watches".to_owned(), sized(watches));
        if let Some(plan) = &self.plan {
            recommended.insert("file".to_owned(), json!(plan.file));
            recommended.insert("text".to_owned(), json!(plan.text));
        }
        report.insert("recommendation".to_owned(), recommended.into());
        if let Some(done) = &self.done {
            let live = done.live.iter().map(|(sysctl, before, after)| {
                json!({ "sysctl": sysctl.key(), "before": before, "after": after })
            });
            report.insert("applied".to_owned(), live.collect());
        }
        report.insert("notes".to_owned(), self.all_notes().into());
        report.into()
    }

    fn user(&self, user: User, standing: &Standing) -> Value {
        let mut fields = fields::standing(user, standing, &self.names);
        fields.insert("limit_level".to_owned(), standing.binding.into());
        let rate = |resource| self.rates.as_ref()?.get(&(user, resource));
        if let Some(rate) = rate(Resource::Instances) {
            let told = self::rate(rate, standing.instances, ["created", "released"]);
            fields.insert("rate".to_owned(), told);
        }
        if let Some(rate) = rate(Resource::Watches) {
            let told = self::rate(rate, standing.watches, ["added", "removed"]);
            fields.insert("watch_rate".to_owned(), told);
        }
        fields.into()
    }
}

fn rate(rate: &Rate, level: Option<Level>, [more, less]: [&str; 2]) -> Value {
    let mut fields = Map::new();
    fields.insert(more.to_owned(), rate.created.into());
    fields.insert(less.to_owned(), rate.released.into());
    fields.insert("seconds".to_owned(), rate.during.as_secs_f64().into());
    fields.extend(rate.per_minute().map(|it| ("per_minute".to_owned(), it.into())));
    let left = level.and_then(|level| rate.time_left(level));
    fields.extend(left.map(|left| ("seconds_left".to_owned(), left.as_secs_f64().into())));
    fields.into()
}

fn setting(setting: &Setting) -> Value {
    let told = |assignment: &Assignment| {
        let mut fields = Map::new();
        fields.insert("file".to_owned(), json!(assignment.file));
        fields.insert("line".to_owned(), json!(assignment.line));
        fields.insert("text".to_owned(), json!(assignment.text));
        fields.extend(assignment.value.map(|value| ("value".to_owned(), value.into())));
        let alias = assignment.alias.as_deref();
        fields.extend(alias.map(|alias| ("alias".to_owned(), alias.into())));
        Value::Object(fields)
    };
    let mut fields = Map::new();
    fields.insert("sysctl".to_owned(), setting.sysctl.key().into());
    fields.extend(setting.live.map(|live| ("live".to_owned(), live.into())));
    fields.insert("state".to_owned(), setting.state().name().into());
    let winner = setting.configured.winner.as_ref();
    fields.extend(winner.map(|winner| ("configured".to_owned(), told(winner))));
    let overridden: Vec<_> = setting.configured.overridden.iter().map(told).collect();
    fields.insert("overridden".to_owned(), overridden.into());
    if let Some(at_boot) = &setting.at_boot {
        fields.insert("at_boot".to_owned(), json!(at_boot.winner.as_ref().map(told)));
    }
    fields.into()
}

fn sized(sizing: &Sizing) -> Value {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    add("value", sizing.value.into());
    add("in_pods", sizing.in_pods.into());
    add("pods_seen", sizing.pods_seen.into());
    if let Some(Pods { count, from }) = sizing.pods {
        add("per_pod", sizing.per_pod.into());
        add("assumed", sizing.is_assumed.into());
        add("pods", count.into());
        let from = match from {
            PodsFrom::Asked => "asked",
            PodsFrom::Kubelet => "kubelet",
            PodsFrom::Default => "default",
        };
        add("pods_from", from.into());
    }
    add("elsewhere", sizing.elsewhere.into());
    add("others", sizing.others.into());
    add("leaked", sizing.leaked.into());
    if let Some(value) = sizing.until_released {
        add("until_released", value.into());
    }
    if sizing.most > 0 {
        add("most", sizing.most.into());
    }
    add("needed", sizing.needed.into());
    add("with_headroom", sizing.with_headroom.into());
    add("floor", sizing.floor.value().into());
    add("memory_bytes", sizing.memory.into());
    add("reasoning", reasoning(sizing).into());
    fields.into()
}
