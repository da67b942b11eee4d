//! What the kernel has charged to whom.

use std::collections::BTreeSet;

use inotify_trace_common::{ABSENT, Kind};
use inotify_trace_model::event::{Charge, Event, EventKind, Quota};

use super::{live::Live, now};
use crate::kernel::KernelError;

/// User namespaces nest no deeper (`create_user_ns` in `kernel/user_namespace.c`).
const DEEPEST: u32 = 32;

/// Answers to one question: what was counted, and how much, if it could be read.
pub(super) type Answers = Vec<(Kind, Option<Quota>)>;

impl Live {
    /// Asks what is charged to every user who pays for a known instance.
    pub(super) fn ask_charges(&mut self, events: &mut Vec<Event>) -> Result<(), KernelError> {
        let addresses = self.known.addresses.values();
        let payers: BTreeSet<_> = addresses.map(|address| (address.payer, address.uid)).collect();
        for (payer, uid) in payers {
            if payer == 0 || uid == ABSENT {
                continue;
            }
            let mut charges = Vec::new();
            for level in 0..DEEPEST {
                self.programs.ask().charged(payer, uid, level)?;
                self.drain_all(events);
                let Some(charge) = charge(&std::mem::take(&mut self.answers)) else { break };
                charges.push(charge);
            }
            if !charges.is_empty() {
                events.push(now(EventKind::Charged { charges: charges.into() }));
            }
        }
        Ok(())
    }
}

/// One level's answers together; None if there was none, or the counters have gone.
fn charge(answers: &Answers) -> Option<Charge> {
    let of = |kind| answers.iter().find(|answer| answer.0 == kind).and_then(|answer| answer.1);
    let (instances, watches) = (of(Kind::InstancesCharged), of(Kind::WatchesCharged));
    let Quota { uid, userns, .. } = instances.or(watches)?;
    Some(Charge { uid, userns, instances, watches })
}
