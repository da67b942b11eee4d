//! The series of a run that charts show.

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

/// Charts of the users closest to their limits at most, and as many of users whose instances leak.
const USERS: usize = 4;

/// Levels over time.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// The container or cgroup, or the sum of others.
    pub name: String,
    /// The peak at each point.
    pub points: Vec<u32>,
}

/// A user's charge over time.
#[derive(Clone, Debug)]
pub struct Charged {
    /// The user.
    pub user: User,
    /// The user's name.
    pub name: String,
    /// The resource that is charged.
    pub resource: Resource,
    /// The peak at each point.
    pub used: Vec<u32>,
    /// The limit at each point.
    pub limit: Vec<u32>,
}

impl Charged {
    /// The highest charge, and the highest limit.
    #[must_use]
    pub fn most(&self) -> (u32, u32) {
        let most = |points: &[u32]| points.iter().max().copied().unwrap_or_default();
        (most(&self.used), most(&self.limit))
    }
}

/// The charts. All series have the same points.
#[derive(Clone, Debug, Default)]
pub struct Charts {
    /// The times of the points.
    pub grid: Grid,
    /// The number of points.
    pub points: usize,
    /// The charges of the users closest to their limits.
    pub users: Vec<Charged>,
    /// The number of charts left out, for lack of room or because their counts are low.
    pub users_left: usize,
    /// The instances of each container, those with the highest peak first.
    pub places: Vec<Levels>,
    /// The instances of all other containers together.
    pub others: Option<Levels>,
    /// The number of instances made.
    pub created: Vec<u32>,
    /// The number of instances released.
    pub released: Vec<u32>,
    /// The number of calls that failed at a limit.
    pub failed: Vec<u32>,
    /// The points of which something is not known.
    pub unknown: Vec<bool>,
}

impl Builder {
    /// The counts closest to their limits first; of equal ones, instances, which are fewer.
    pub(super) fn closest_lines(&self) -> Vec<(&(User, Resource), &UserLine)> {
        let mut lines: Vec<_> = self.users.iter().collect();
        lines.sort_by_key(|((_, resource), line)| (Reverse(line.share()), *resource));
        lines
    }

    /// All charts, with a last point for the end of the run.
    pub(super) fn charts(&self) -> Charts {
        let last = self.grid.point(self.end).unwrap_or(POINTS - 1);
        let names = UserNames::from_map(self.header.users.clone());
        let users = self.closest_lines();
        // A chart of very low counts shows nothing, unless it is the only one.
        let first = users.iter().position(|((_, resource), _)| *resource == Resource::Instances);
        let is_drawn = |(at, (_, line)): &(usize, &(&(User, Resource), &UserLine))| {
            let (used, limit, _) = line.closest;
            Some(*at) == first || reaches(Level { used, limit }, DRAWN)
        };
        let mut drawn: Vec<_> =
            users.iter().enumerate().filter(is_drawn).map(|it| it.1).take(USERS).collect();
        let leaking = self.leaks.charged();
        let is_left = |it: &&(&(User, Resource), &UserLine)| {
            leaking.contains(it.0) && !drawn.iter().any(|drawn| drawn.0 == it.0)
        };
        let leaking: Vec<_> = users.iter().filter(is_left).take(USERS).collect();
        drawn.extend(leaking);
        let line = |((user, resource), line): &&(&(User, Resource), &UserLine)| Charged {
            user: *user,
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
            unknown: self.unknown.points(last).into_iter().map(|times| times > 0).collect(),
        }
    }
}
