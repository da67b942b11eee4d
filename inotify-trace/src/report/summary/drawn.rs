//! What there is to draw of a run.

use std::cmp::Reverse;

use inotify_trace_model::{resource::Resource, tracker::User, usage::Level};

use super::{
    Builder, UserLine,
    series::{Grid, POINTS},
};
use crate::{limits::reaches, output::UserNames};

/// The share of a limit, in percent, from which on users have a chart.
const DRAWN: u32 = 10;

/// How many lines a chart has room for.
const LINES: usize = 6;

/// Charts of users at most.
const USERS: usize = 4;

/// Levels over time.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// Of what.
    pub name: String,
    /// The most at each point.
    pub points: Vec<u32>,
}

/// What a user is charged over time.
#[derive(Clone, Debug)]
pub struct Charged {
    /// The user.
    pub name: String,
    /// Of what.
    pub resource: Resource,
    /// The most at each point.
    pub used: Vec<u32>,
    /// How many may be.
    pub limit: Vec<u32>,
}

impl Charged {
    /// The most that was charged, and the most that might have been.
    #[must_use]
    pub fn most(&self) -> (u32, u32) {
        let most = |points: &[u32]| points.iter().max().copied().unwrap_or_default();
        (most(&self.used), most(&self.limit))
    }
}

/// What is drawn. All series have the same points.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    /// When they are.
    pub grid: Grid,
    /// How many there are.
    pub points: usize,
    /// What users are charged: those closest to their limits.
    pub users: Vec<Charged>,
    /// Counts there was no room for, or that are too low to be worth it.
    pub users_left: usize,
    /// What the processes of containers have, those with most at their peak first.
    pub places: Vec<Levels>,
    /// What all the others have together.
    pub others: Option<Levels>,
    /// How many instances were made.
    pub created: Vec<u32>,
    /// How many were released.
    pub released: Vec<u32>,
    /// How many calls failed at a limit.
    pub failed: Vec<u32>,
}

impl Builder {
    /// Those closest to their limits first; of equals, instances, which are fewer.
    pub(super) fn closest_lines(&self) -> Vec<(&(User, Resource), &UserLine)> {
        let mut lines: Vec<_> = self.users.iter().collect();
        lines.sort_by_key(|((_, resource), line)| (Reverse(line.share()), *resource));
        lines
    }

    /// All of it, with a last point for the end of the run.
    pub(super) fn charts(&self) -> Charts {
        let last = self.grid.point(self.end).unwrap_or(POINTS - 1);
        let names = UserNames::from_map(self.header.users.clone());
        let users = self.closest_lines();
        // A chart of next to nothing says nothing, unless it is the only one.
        let first = users.iter().position(|((_, resource), _)| *resource == Resource::Instances);
        let is_drawn = |(at, (_, line)): &(usize, &(&(User, Resource), &UserLine))| {
            let (used, limit, _) = line.closest;
            Some(*at) == first || reaches(Level { used, limit }, DRAWN)
        };
        let drawn: Vec<_> =
            users.iter().enumerate().filter(is_drawn).map(|it| it.1).take(USERS).collect();
        let line = |((user, resource), line): &&(&(User, Resource), &UserLine)| Charged {
            name: names.payer(*user),
            resource: *resource,
            used: line.used.points(last),
            limit: line.limit.points(last),
        };
        let sorted = self.places.sorted();
        let places: Vec<_> = sorted
            .iter()
            .take(LINES)
            .filter(|place| place.held.peak > 0)
            .map(|place| Levels { name: place.name.clone(), points: place.held.points(last) })
            .collect();
        let others = (sorted.len() > LINES).then(|| {
            let mut points = self.places.all.points(last);
            for (at, all) in points.iter_mut().enumerate() {
                let named = places.iter().filter_map(|it| it.points.get(at));
                *all = named.fold(*all, |rest, &it| rest.saturating_sub(it));
            }
            Levels { name: format!("{} others", sorted.len() - LINES), points }
        });
        Charts {
            grid: self.grid,
            points: last + 1,
            users: drawn.iter().map(line).collect(),
            users_left: users.len() - drawn.len(),
            places,
            others,
            created: self.created.points(last),
            released: self.released.points(last),
            failed: self.failed.points(last),
        }
    }
}
