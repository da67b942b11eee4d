//! Tells the machines of recordings apart: host names are not unique.

use std::collections::BTreeMap;

use inotify_trace_model::event::BootTime;
use jiff::Timestamp;

use crate::feed::Replay;

/// The machine of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) host: String,
    /// The same for all runs of it.
    pub(super) number: usize,
    /// The host name, with more if several have it.
    pub(super) name: String,
    /// Whether all runs with this number are surely of one machine.
    pub(super) is_certain: bool,
}

/// The machine of each run. These must not have been read yet.
pub(super) fn machines_of(runs: &[Replay]) -> Vec<Machine> {
    let boot = |run: &Replay| {
        let (header, clock) = (run.header().clone(), run.header().clock());
        let (from, to) = (clock.timestamp(BootTime(0)), clock.timestamp(run.end().time));
        Boot { host: header.host, machine: header.machine, id: header.boot_id, from, to }
    };
    tell_apart(&runs.iter().map(boot).collect::<Vec<_>>())
}

/// The boot of a machine that a run is of.
#[derive(Clone, Debug)]
struct Boot {
    host: String,
    /// The hash of the machine's id. Empty if unknown, as of old recordings and in some containers.
    machine: String,
    /// Empty if unknown.
    id: String,
    from: Timestamp,
    /// The end of the run.
    to: Timestamp,
}

impl Boot {
    /// Whether both are of one machine; None if that is not known.
    fn is_of_machine_of(&self, other: &Self) -> Option<bool> {
        // A machine is off before it boots again, and clones of one have the same id.
        let overlaps = self.from < other.to && other.from < self.to;
        match compare(&self.id, &other.id) {
            _ if self.host != other.host => Some(false),
            Some(true) => Some(true),
            Some(false) if overlaps => Some(false),
            _ => compare(&self.machine, &other.machine),
        }
    }
}

/// Whether two names are the same; None if one is unknown.
fn compare(one: &str, other: &str) -> Option<bool> {
    (!one.is_empty() && !other.is_empty()).then(|| one == other)
}

/// The boots of one machine.
struct Boots<'a> {
    boots: Vec<&'a Boot>,
    is_certain: bool,
}

impl Boots<'_> {
    /// Whether a boot is one of them; None if that is not known.
    fn has(&self, boot: &Boot) -> Option<bool> {
        let mut answer = None;
        for other in &self.boots {
            match boot.is_of_machine_of(other) {
                Some(true) if boot.id == other.id => return Some(true),
                Some(is_of_one) => answer = Some(is_of_one && answer != Some(false)),
                None => {}
            }
        }
        answer
    }

    /// The name of the machine that a boot is of, where several have its host name.
    fn name(&self, boot: &Boot, others: &[Self]) -> String {
        let Boot { host, machine, id, .. } = boot;
        let has_it = |it: &&Self| it.boots.iter().any(|it| it.machine == *machine);
        let is_clone = others.iter().filter(has_it).count() > 1;
        let is_known = self.is_certain && !is_clone && !machine.is_empty();
        let (what, text) = if is_known { ("machine", machine) } else { ("boot", id) };
        let start: String = text.chars().take(8).collect();
        if start.is_empty() {
            format!("{host} ({what} unknown)")
        } else {
            format!("{host} ({what} {start})")
        }
    }
}

fn tell_apart(boots: &[Boot]) -> Vec<Machine> {
    let mut order: Vec<_> = boots.iter().enumerate().collect();
    // What is known first: the others may be of that.
    order.sort_by_key(|(_, boot)| boot.machine.is_empty());
    let mut machines: Vec<Boots<'_>> = Vec::new();
    let mut numbers = BTreeMap::new();
    for (place, boot) in order {
        let answers = machines.iter().map(|it| it.has(boot)).enumerate();
        let that_say =
            |wanted| answers.clone().filter(move |(_, it)| *it == wanted).map(|(at, _)| at);
        let known = that_say(Some(true)).next();
        let mut possible = that_say(None);
        let only = possible.next().filter(|_| possible.next().is_none());
        let number = known.or(only).unwrap_or(machines.len());
        numbers.insert(place, number);
        match machines.get_mut(number) {
            Some(machine) => {
                machine.boots.push(boot);
                machine.is_certain &= known.is_some();
            }
            None => machines.push(Boots { boots: vec![boot], is_certain: true }),
        }
    }
    let named = |(boot, number): (&Boot, usize)| {
        let of_host = |it: &&Boots<'_>| it.boots.iter().any(|it| it.host == boot.host);
        let is_unique = machines.iter().filter(of_host).count() == 1;
        let own = machines.get(number)?;
        Some(Machine {
            number,
            name: if is_unique { boot.host.clone() } else { own.name(boot, &machines) },
            host: boot.host.clone(),
            is_certain: own.is_certain,
        })
    };
    boots.iter().zip(numbers.into_values()).filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, machine, boot, and its beginning and end.
    type Seen<'a> = (&'a str, &'a str, &'a str, i64, i64);

    fn machines(seen: &[Seen<'_>]) -> Vec<Machine> {
        let time = |seconds| Timestamp::from_second(seconds).unwrap();
        let boot = |&(host, machine, id, from, to): &Seen<'_>| Boot {
            host: host.to_owned(),
            machine: machine.to_owned(),
            id: id.to_owned(),
            from: time(from),
            to: time(to),
        };
        tell_apart(&seen.iter().map(boot).collect::<Vec<_>>())
    }

    /// The names, with a question mark where it is not certain.
    fn names(seen: &[Seen<'_>]) -> Vec<String> {
        let name = |it: Machine| it.name + if it.is_certain { "" } else { "?" };
        machines(seen).into_iter().map(name).collect()
    }

    #[test]
    fn a_machine_is_told_by_its_id() {
        let (old, new) = (("n", "", "aaaa", 0, 50), ("n", "1111", "bbbb", 60, 90));
        let two = [("n", "11111111-", "a", 0, 50), ("n", "2", "b", 60, 90), ("m", "3", "c", 0, 9)];
        assert_eq!(names(&two), ["n (machine 11111111)", "n (machine 2)", "m"]);
        let one = [("n", "1", "a", 0, 50), ("n", "1", "b", 60, 90)];
        assert_eq!(names(&one), ["n", "n"]);
        assert_eq!(machines(&one)[0].number, machines(&one)[1].number);
        // An old recording may be of that machine, or of another one.
        assert_eq!(names(&[old, new]), ["n?", "n?"]);
        let third = ("n", "2222", "cccc", 100, 110);
        assert_eq!(
            names(&[old, new, third]),
            ["n (boot aaaa)", "n (machine 1111)", "n (machine 2222)"]
        );
        // Each container may have an id of its own, and a clone that of another machine.
        assert_eq!(names(&[("n", "1", "a", 0, 50), ("n", "2", "a", 0, 50)]), ["n", "n"]);
        let clones = [("n", "1", "a", 0, 50), ("n", "1", "b", 0, 50)];
        assert_eq!(names(&clones), ["n (boot a)", "n (boot b)"]);
    }

    #[test]
    fn without_an_id_two_boots_at_one_time_are_two_machines() {
        // It booted again, and two runs of one boot overlap.
        let one = [("n", "", "aaaa", 0, 50), ("n", "", "bbbb", 60, 90), ("n", "", "bbbb", 60, 80)];
        assert_eq!(names(&one), ["n?", "n?", "n?"]);
        assert!(machines(&one).iter().all(|it| it.number == 0));
        assert_eq!(names(&one[1..]), ["n", "n"]);
        let two = [
            ("n", "", "aaaaaaaa-1", 0, 50),
            ("m", "", "c", 0, 50),
            ("n", "", "bbbbbbbb-2", 40, 90),
        ];
        assert_eq!(names(&two), ["n (boot aaaaaaaa)", "m", "n (boot bbbbbbbb)"]);
        // Nothing is known of the boots.
        assert_eq!(names(&[("n", "", "", 0, 50), ("n", "", "", 40, 90)]), ["n?", "n?"]);
    }
}
