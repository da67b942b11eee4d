//! How close everyone is to the limits, and what to set, as text or as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{Cell, Table, UserNames, listing::percent};
use crate::{
    limits::{
        Assignment, INSTANCE_BYTES, QUEUED_EVENT_BYTES, Rate, Recommendation, Setting, Sizing,
        State, Sysctl, WATCH_BYTES,
        apply::{Done, Plan},
        is_over,
    },
    tracker::User,
    usage::{Level, Standing},
};

/// All that `inotify-trace limits` tells.
#[derive(Debug)]
pub struct LimitsReport {
    /// What users are called.
    pub names: UserNames,
    /// How they stand; None if the kernel was not asked.
    pub standings: Option<BTreeMap<User, Standing>>,
    /// How fast they use up instances; None if that was not looked at.
    pub rates: Option<BTreeMap<User, Rate>>,
    /// The sysctls.
    pub settings: Vec<Setting>,
    /// What to set.
    pub recommendation: Recommendation,
    /// The file to write; None if something else is in its place.
    pub plan: Option<Plan>,
    /// The share of a limit, in percent, from which on a user is too close to it.
    pub warn: u32,
    /// The user namespace of this process, by inode number, if it is not the initial one.
    pub own_namespace: Option<u64>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// What was written.
    pub done: Option<Done>,
}

impl LimitsReport {
    /// Those who are too close to a limit, by name.
    #[must_use]
    pub fn over(&self) -> Vec<String> {
        let all = self.standings.iter().flatten();
        let over = all.filter(|(_, standing)| is_over(standing, self.warn));
        over.map(|(user, _)| self.names.payer(*user)).collect()
    }

    /// For people.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self.users() {
            Some(table) if table.rows.is_empty() => writeln!(out, "Nobody has inotify instances.")?,
            Some(table) => table.write_aligned(out, true)?,
            None => writeln!(out, "Who is charged how much is not known: see above.")?,
        }
        for user in self.over() {
            writeln!(out, "{user} has used {}% or more of a limit.", self.warn)?;
        }
        writeln!(out)?;
        self.sysctls().write_aligned(out, true)?;
        for sentence in self.settings.iter().flat_map(sentences) {
            writeln!(out, "{sentence}")?;
        }
        writeln!(out, "\nRecommended, for each user:")?;
        let Recommendation { instances, watches } = &self.recommendation;
        for sizing in [instances, watches] {
            writeln!(out, "  {} = {}", sizing.sysctl.key(), sizing.value)?;
            writeln!(out, "    {}", reasoning(sizing))?;
            writeln!(out, "    {}", memory(sizing))?;
        }
        if let Some(queue) = self.queue() {
            writeln!(out, "  {queue}")?;
        }
        if let Some(plan) = &self.plan {
            let state = match &plan.before {
                Some(before) if *before == plan.text => "it is like that",
                Some(_) => "its other lines are kept",
                None => "new",
            };
            writeln!(out, "\n{} ({state}):", plan.file.display())?;
            for line in plan.text.lines() {
                writeln!(out, "  {line}")?;
            }
            if plan.before.as_deref() != Some(&plan.text) && self.done.is_none() {
                writeln!(
                    out,
                    "`inotify-trace limits --apply` writes it and sets the live values."
                )?;
            }
        }
        let mut notes = self.namespace_notes();
        notes.extend(self.notes.iter().cloned());
        if !notes.is_empty() {
            writeln!(out)?;
        }
        for note in notes {
            writeln!(out, "Note: {note}")?;
        }
        Ok(())
    }

    /// What was written, for people.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_done(&self, out: &mut impl Write) -> io::Result<()> {
        let (Some(plan), Some(done)) = (&self.plan, &self.done) else { return Ok(()) };
        writeln!(out, "\nWrote {} and read it back.", plan.file.display())?;
        for (sysctl, before, after) in &done.live {
            writeln!(out, "{} was {before}, is {after} now.", sysctl.key())?;
        }
        Ok(())
    }

    /// For programs; the fields are documented in docs/json.md.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut report = Map::new();
        if let Some(standings) = &self.standings {
            let users = self
                .everyone(standings)
                .into_iter()
                .map(|user| self.user(user, standings.get(&user).unwrap_or(&Standing::default())));
            report.insert("users".to_owned(), users.collect());
        }
        report.insert("warn_percent".to_owned(), self.warn.into());
        report.insert("over".to_owned(), self.over().into());
        report.insert("sysctls".to_owned(), self.settings.iter().map(setting).collect());
        let Recommendation { instances, watches } = &self.recommendation;
        let mut recommended = Map::new();
        recommended.insert("instances".to_owned(), sized(instances));
        recommended.insert("watches".to_owned(), sized(watches));
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
        let mut notes = self.namespace_notes();
        notes.extend(self.notes.iter().cloned());
        report.insert("notes".to_owned(), notes.into());
        report.into()
    }

    /// Users who stand anywhere, or whose instances came and went.
    fn everyone(&self, standings: &BTreeMap<User, Standing>) -> Vec<User> {
        let rates = self.rates.iter().flat_map(BTreeMap::keys);
        let all: BTreeSet<User> = standings.keys().chain(rates).copied().collect();
        let mut all: Vec<_> = all.into_iter().collect();
        let used = |user: &User| {
            let instances = standings.get(user)?.instances?;
            Some(percent(instances))
        };
        all.sort_by_key(|user| std::cmp::Reverse(used(user)));
        all
    }

    /// None if nothing is known of anyone.
    fn users(&self) -> Option<Table> {
        let standings = self.standings.as_ref()?;
        let mut columns =
            vec!["USER", "INSTANCES", "LIMIT", "USE", "WATCHES", "WATCH-LIMIT", "WATCH-USE"];
        if self.rates.is_some() {
            columns.extend(["CREATED", "RELEASED", "PER-MINUTE", "TIME-LEFT"]);
        }
        let none = Standing::default();
        let row = |user: User| {
            let standing = standings.get(&user).unwrap_or(&none);
            let mut row = vec![Cell::Text(self.names.payer(user))];
            for level in [standing.instances, standing.watches] {
                row.push(level.map(|level| level.used).into());
                row.push(level.map(|level| level.limit).into());
                row.push(level.map_or(Cell::Missing, |level| Cell::Percent(percent(level))));
            }
            if let Some(rates) = &self.rates {
                let rate = rates.get(&user);
                row.push(rate.map_or(0, |rate| rate.created).into());
                row.push(rate.map_or(0, |rate| rate.released).into());
                row.push(Cell::Text(format!("{:.1}", rate.map_or(0.0, Rate::per_minute))));
                let left = rate.zip(standing.instances).and_then(|(it, level)| it.time_left(level));
                row.push(left.map_or(Cell::Missing, |left| Cell::Text(words(left))));
            }
            row
        };
        Some(Table { columns, rows: self.everyone(standings).into_iter().map(row).collect() })
    }

    fn user(&self, user: User, standing: &Standing) -> Value {
        let level = |level: Option<Level>| {
            level.map(|it| json!({ "used": it.used, "limit": it.limit, "percent": percent(it) }))
        };
        let mut fields = Map::new();
        fields.insert("user".to_owned(), self.names.payer(user).into());
        fields.insert("uid".to_owned(), user.uid.into());
        fields.insert("userns".to_owned(), user.userns.into());
        for (name, value) in
            [("instances", level(standing.instances)), ("watches", level(standing.watches))]
        {
            fields.extend(value.map(|value| (name.to_owned(), value)));
        }
        let payers: Vec<_> = standing.payers.iter().map(|it| self.names.payer(*it)).collect();
        fields.insert("payers".to_owned(), payers.into());
        fields.insert("limit_level".to_owned(), standing.binding.into());
        if let Some(rate) = self.rates.as_ref().and_then(|rates| rates.get(&user)) {
            let left = standing.instances.and_then(|level| rate.time_left(level));
            let mut rates = Map::new();
            rates.insert("created".to_owned(), rate.created.into());
            rates.insert("released".to_owned(), rate.released.into());
            rates.insert("seconds".to_owned(), rate.during.as_secs_f64().into());
            rates.insert("per_minute".to_owned(), rate.per_minute().into());
            let left = left.map(|left| ("seconds_left".to_owned(), left.as_secs_f64().into()));
            rates.extend(left);
            fields.insert("rate".to_owned(), rates.into());
        }
        fields.into()
    }

    fn sysctls(&self) -> Table {
        let row = |setting: &Setting| {
            let winner = setting.configured.winner.as_ref();
            vec![
                setting.sysctl.key().into(),
                setting.live.into(),
                winner.map(|winner| winner.text.as_str()).into(),
                winner.map_or("no file sets it".into(), |it| Cell::Text(place(it))),
            ]
        };
        let columns = vec!["SYSCTL", "LIVE", "CONFIGURED", "WHERE"];
        Table { columns, rows: self.settings.iter().map(row).collect() }
    }

    /// What unread events can take besides.
    fn queue(&self) -> Option<String> {
        let queued = self.settings.iter().find(|it| it.sysctl == Sysctl::QueuedEvents)?.live?;
        Some(format!(
            "Besides, an instance whose owner does not read can fill up with {queued} events \
             (fs.inotify.max_queued_events), {} or more.",
            bytes(queued.saturating_mul(QUEUED_EVENT_BYTES))
        ))
    }

    /// Whose limit binds, where user namespaces make that hard to see.
    fn namespace_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(own) = self.own_namespace {
            notes.push(format!(
                "this command runs in user namespace {own}, which is not the initial one. There \
                 user.max_inotify_instances is 2147483647 unless somebody lowered it; all the \
                 same, what is charged there is charged to the namespaces above too, and the \
                 host's fs.inotify.max_user_instances binds. Raise it on the host."
            ));
        }
        for (user, standing) in self.standings.iter().flatten() {
            if standing.payers.is_empty() && standing.binding == 0 {
                continue;
            }
            let name = self.names.payer(*user);
            let above = usize::try_from(standing.binding).ok().and_then(|it| it.checked_sub(1));
            let payer = above.and_then(|at| standing.payers.get(at));
            let limit = match standing.instances {
                Some(level) => level.limit.to_string(),
                None => "not known".to_owned(),
            };
            notes.push(match (standing.binding, payer) {
                (0, _) => format!(
                    "{name} pays in a user namespace of its own, and so do the users above. Its \
                     own limit ({limit}, user.max_inotify_instances there) binds first."
                ),
                (_, Some(payer)) => format!(
                    "the limit of {name}'s user namespace is {limit}, but what is charged there \
                     is charged to {0} too, and the limit of {0} binds: raise that one.",
                    self.names.payer(*payer)
                ),
                (level, None) => format!(
                    "{name} pays in a user namespace, and the limit {level} namespaces above it \
                     binds: raise that one."
                ),
            });
        }
        notes
    }
}

/// What is to be said of a sysctl besides its row.
fn sentences(setting: &Setting) -> Vec<String> {
    let mut said = Vec::new();
    let key = setting.sysctl.key();
    let live = setting.live.map_or_else(|| "not known".to_owned(), |live| live.to_string());
    if let Some(winner) = &setting.configured.winner {
        let (place, text) = (place(winner), super::printable(&winner.text));
        match setting.state() {
            State::Differs => said.push(format!(
                "{key}: {place} says {text}, live is {live}: not applied, or changed since \
                 (`sysctl --system` applies it)."
            )),
            State::Invalid => said.push(format!(
                "{key}: {place} says {text:?}, which the kernel refuses as no number up to \
                 2147483647; live is {live}."
            )),
            State::Same | State::NotConfigured | State::Unknown => {}
        }
        if let Some(at_boot) = &setting.at_boot {
            let then = match &at_boot.winner {
                Some(other) => format!("sets it to {} ({})", other.text, self::place(other)),
                None => "leaves it alone".to_owned(),
            };
            said.push(format!(
                "{key}: {place} is read by `sysctl --system` only; systemd does not read it, and \
                 {then} at boot."
            ));
        }
    }
    for other in &setting.configured.overridden {
        let text = super::printable(&other.text);
        said.push(format!("{key}: {} says {text}, which is overridden.", place(other)));
    }
    said
}

fn place(assignment: &Assignment) -> String {
    format!("{}:{}", assignment.file.display(), assignment.line)
}

fn setting(setting: &Setting) -> Value {
    let told = |assignment: &Assignment| {
        json!({
            "file": assignment.file,
            "line": assignment.line,
            "text": assignment.text,
            "value": assignment.value,
        })
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
    json!({
        "value": sizing.value,
        "in_pods": sizing.in_pods,
        "pods_seen": sizing.pods_seen,
        "assumed": sizing.is_assumed,
        "pods": sizing.pods,
        "elsewhere": sizing.elsewhere,
        "needed": sizing.needed,
        "with_headroom": sizing.with_headroom,
        "floor": sizing.floor,
        "memory_bytes": sizing.memory,
        "reasoning": reasoning(sizing),
    })
}

/// How a value was arrived at.
fn reasoning(sizing: &Sizing) -> String {
    let Sizing { in_pods, pods_seen, pods, elsewhere, needed, with_headroom, .. } = sizing;
    let each = if sizing.is_assumed {
        format!("{in_pods} a pod (assumed: no container is seen)")
    } else {
        format!(
            "{in_pods} in {pods_seen} {} seen",
            if *pods_seen == 1 { "pod or container" } else { "pods and containers" }
        )
    };
    let per = if sizing.is_assumed || *pods_seen == 1 { "" } else { " / as many" };
    let raise = format!(
        "{each}{per} x {pods} pods + {elsewhere} others = {needed}; x 1.5 for headroom = \
         {with_headroom}"
    );
    if sizing.value == sizing.floor && sizing.value >= *with_headroom {
        format!("{raise}; {} is set, and is enough", sizing.floor)
    } else {
        format!("{raise}; the next power of two")
    }
}

/// What a value can cost.
fn memory(sizing: &Sizing) -> String {
    let (each, basis) = match sizing.sysctl {
        Sysctl::Instances => {
            (INSTANCE_BYTES, "an instance, measured as 0.9 KiB on Linux 6.18, x86-64")
        }
        _ => (
            WATCH_BYTES,
            "a watch, as the kernel itself reckons, most of it the inode that it keeps in memory",
        ),
    };
    format!(
        "can take up to {} of kernel memory, if all are in use (estimated: {each} bytes {basis})",
        bytes(sizing.memory)
    )
}

/// Bytes in a unit that leaves few digits.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..0x1_0000_0000 => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{} GiB", bytes.div_ceil(1 << 30)),
    }
}

/// A time in a unit that leaves few digits.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}
