//! The report for people.

use std::io::{self, Write};

use inotify_trace_model::{
    resource::Resource,
    tracker::User,
    usage::{Level, Standing},
};

use super::{
    LimitsReport,
    words::{bytes, memory, place, reasoning, time},
};
use crate::{
    limits::{QUEUED_EVENT_BYTES, Rate, Recommendation, Setting, State, Sysctl},
    output::{Cell, Screen, Table, Tone, printable, wrapped},
};

impl LimitsReport {
    /// Writes the report for people.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write(&self, out: &mut impl Write, screen: Screen) -> io::Result<()> {
        let prose =
            |sentence: &str, indent| wrapped(sentence, indent).within(screen.width).to_string();
        self.write_users(out, screen)?;
        for user in self.over() {
            let user = self.names.payer(user);
            let sentence = format!("{user} has used {}% or more of a limit.", self.warn);
            writeln!(out, "{}", screen.colours.paint(Tone::Bad, prose(&sentence, 0)))?;
        }
        writeln!(out)?;
        self.sysctls().write_within(out, true, screen)?;
        for sentence in self.settings.iter().flat_map(sentences) {
            writeln!(out, "{}", prose(&sentence, 0))?;
        }
        writeln!(out, "\nRecommended, for each user:")?;
        let Recommendation { instances, watches } = &self.recommendation;
        for sizing in [instances, watches] {
            writeln!(out, "  {} = {}", sizing.sysctl.key(), sizing.value)?;
            writeln!(out, "{}", prose(&reasoning(sizing), 4))?;
            writeln!(out, "{}", prose(&memory(sizing), 4))?;
        }
        if let Some(queue) = self.queue() {
            writeln!(out, "{}", prose(&queue, 2))?;
        }
        if let Some(plan) = &self.plan {
            let state = match &plan.before {
                Some(before) if *before == plan.text => "it is like that",
                Some(_) => "its other lines are kept",
                None => "new",
            };
            writeln!(out, "\n{} ({state}):", plan.file.display())?;
            for line in plan.text.lines() {
                // Tabs are common there, and harmless.
                let line: Vec<_> = line.split('\t').map(printable).collect();
                writeln!(out, "  {}", line.join("\t"))?;
            }
            if plan.before.as_deref() != Some(&plan.text) && self.done.is_none() {
                writeln!(
                    out,
                    "`inotify-trace limits --apply` writes it and sets the live values."
                )?;
            }
        }
        let notes = self.all_notes();
        if !notes.is_empty() {
            writeln!(out)?;
        }
        for note in notes {
            writeln!(out, "{}", prose(&format!("Note: {note}"), 0))?;
        }
        Ok(())
    }

    /// Writes the use of the limits alone, and its pace, for people.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_users(&self, out: &mut impl Write, screen: Screen) -> io::Result<()> {
        match self.users() {
            Some(table) if table.rows.is_empty() => writeln!(out, "Nobody has inotify instances."),
            Some(table) => {
                table.write_within(out, true, screen)?;
                match self.paces() {
                    Some(paces) => {
                        writeln!(out)?;
                        paces.write_within(out, true, screen)
                    }
                    None => Ok(()),
                }
            }
            None => writeln!(out, "Who is charged how much is not known: see above."),
        }
    }

    /// Lists the changes that were written, for people.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn write_done(&self, out: &mut impl Write) -> io::Result<()> {
        let (Some(plan), Some(done)) = (&self.plan, &self.done) else { return Ok(()) };
        let file = plan.file.display();
        if done.is_file_written {
            writeln!(out, "\nWrote {file} and read it back.")?;
        } else {
            writeln!(out, "\n{file} is like that already.")?;
        }
        for (sysctl, before, after) in &done.live {
            let key = sysctl.key();
            if before == after {
                writeln!(out, "{key} is {after} already.")?;
            } else {
                writeln!(out, "{key} was {before}, is {after} now.")?;
            }
        }
        Ok(())
    }

    /// The table of users; None if the kernel was not asked.
    fn users(&self) -> Option<Table> {
        let standings = self.standings.as_ref()?;
        let columns =
            vec!["USER", "INSTANCES", "LIMIT", "USE", "WATCHES", "WATCH-LIMIT", "WATCH-USE"];
        let none = Standing::default();
        let row = |user: User| {
            let standing = standings.get(&user).unwrap_or(&none);
            let mut row = vec![Cell::Text(self.names.payer(user))];
            for level in [standing.instances, standing.watches] {
                row.push(level.map(|level| level.used).into());
                row.push(level.map(|level| level.limit).into());
                row.push(level.map_or(Cell::Missing, Cell::Percent));
            }
            row
        };
        Some(Table { columns, rows: self.everyone(standings).into_iter().map(row).collect() })
    }

    /// How fast users use up their limits; None if that was not measured, or nothing changed.
    fn paces(&self) -> Option<Table> {
        let (standings, rates) = (self.standings.as_ref()?, self.rates.as_ref()?);
        let columns = vec![
            "USER",
            "CREATED",
            "RELEASED",
            "PER-MINUTE",
            "TIME-LEFT",
            "WATCHES/MIN",
            "WATCH-TIME-LEFT",
        ];
        let mut rows = Vec::new();
        for user in self.everyone(standings) {
            let rate = |resource| rates.get(&(user, resource));
            let (instances, watches) = (rate(Resource::Instances), rate(Resource::Watches));
            if instances.is_none() && watches.is_none() {
                continue;
            }
            let standing = standings.get(&user).cloned().unwrap_or_default();
            let pace = |rate: Option<&Rate>| match rate.map(Rate::per_minute) {
                Some(Some(pace)) => Cell::Figure(format!("{pace:.1}")),
                Some(None) => Cell::Missing,
                None => Cell::Figure("0.0".to_owned()),
            };
            let left = |rate: Option<&Rate>, level: Option<Level>| {
                let left = rate.zip(level).and_then(|(it, level)| it.time_left(level));
                left.map_or(Cell::Missing, |left| Cell::Figure(time(left)))
            };
            rows.push(vec![
                Cell::Text(self.names.payer(user)),
                instances.map_or(0, |rate| rate.created).into(),
                instances.map_or(0, |rate| rate.released).into(),
                pace(instances),
                left(instances, standing.instances),
                pace(watches),
                left(watches, standing.watches),
            ]);
        }
        (!rows.is_empty()).then_some(Table { columns, rows })
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

    /// The memory that unread events can take in addition.
    fn queue(&self) -> Option<String> {
        let queued = self.settings.iter().find(|it| it.sysctl == Sysctl::QueuedEvents)?.live?;
        Some(format!(
            "Besides, an instance whose owner does not read can fill up with {queued} events \
             (fs.inotify.max_queued_events), {} or more.",
            bytes(queued.saturating_mul(QUEUED_EVENT_BYTES))
        ))
    }
}

/// The sentences on a sysctl, in addition to its row.
fn sentences(setting: &Setting) -> Vec<String> {
    let mut said = Vec::new();
    let key = setting.sysctl.key();
    let live = setting.live.map_or_else(|| "not known".to_owned(), |live| live.to_string());
    if let Some(winner) = &setting.configured.winner {
        let (place, text) = (place(winner), &winner.text);
        match setting.state() {
            State::Differs => {
                let lowers = winner.value.is_some_and(|value| Some(value) < setting.live);
                let then = if lowers { "lowers it" } else { "loads it" };
                let who = match setting.at_boot {
                    None => "the next boot, or `sysctl --system`,",
                    Some(_) => "`sysctl --system`",
                };
                said.push(format!(
                    "{key}: {place} says {text}, live is {live}: not applied, or changed since; \
                     {who} {then}."
                ));
            }
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
        let (place, text) = (place(other), &other.text);
        said.push(format!("{key}: {place} says {text}, which is overridden."));
    }
    said
}
