//! Whose turn it is on a device that several parties share: by the time that each has had of it, weighted.
//!
//! This is start-time fair queueing (P. Goyal, H. M. Vin and H. Cheng, 1997), with the time that a turn took measured
//! when it is over instead of known before. Each party has a clock of its own, which goes on by `time / weight` while it
//! has the device, and of those that wait the one whose clock is furthest behind goes next. A party that comes back sets
//! its clock to the device's, so that it has saved nothing up while it was away; and where nobody waits, whoever asks
//! goes at once.
//!
//! So two parties that both have work all the time differ in `time / weight` by no more than one turn of each, and one
//! that has little work waits for the turn that is being taken and for one of each other party.

use std::collections::{BTreeMap, VecDeque};

use crate::Weight;

/// One executor's claim to turns, as one of a party's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) party: u64,
    /// Which of the party's executors.
    pub(crate) nth: u64,
}

#[derive(Debug)]
struct Party {
    weight: f64,
    /// Its clock: when its next turn begins.
    clock: f64,
}

/// Who has a device, and who waits for it. Clocks count weighted seconds.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    parties: BTreeMap<u64, Party>,
    /// How many parties there have been.
    joined: u64,
    /// Whose turn it is. Nobody waits while it is nobody's.
    holder: Option<Ticket>,
    /// In the order in which they came.
    waiting: VecDeque<Ticket>,
    /// The device's clock: of the party that went last, when it went.
    clock: f64,
}

impl Turns {
    /// Another party.
    pub(crate) fn join(&mut self, weight: Weight) -> u64 {
        self.joined += 1;
        self.parties.insert(self.joined, Party { weight: weight.get(), clock: self.clock });
        self.joined
    }

    /// A party has ended, and its executors have.
    pub(crate) fn part(&mut self, party: u64) {
        self.parties.remove(&party);
    }

    /// Asks for a turn: whether it is this one's. If not, it will be.
    pub(crate) fn ask(&mut self, ticket: Ticket) -> bool {
        if self.holder.is_none() {
            self.line_up(ticket);
            self.pass_on();
        } else if !self.holds(ticket) && !self.waiting.contains(&ticket) {
            self.line_up(ticket);
        }
        self.holds(ticket)
    }

    /// A turn is over, having taken the device for `used` seconds; or whoever waited for one waits no more. With `again`,
    /// whoever had the turn asks for another one at the same time. Whose turn it is now, where that is another's.
    pub(crate) fn end(&mut self, ticket: Ticket, used: f64, again: bool) -> Option<Ticket> {
        if !self.holds(ticket) {
            self.waiting.retain(|waiting| *waiting != ticket);
            return None;
        }
        self.use_up(ticket, used);
        self.holder = None;
        if again {
            self.line_up(ticket);
        }
        self.pass_on();
        self.holder.filter(|holder| *holder != ticket)
    }

    /// A turn that goes on has taken the device for `used` seconds.
    pub(crate) fn use_up(&mut self, ticket: Ticket, used: f64) {
        if self.holds(ticket)
            && let Some(party) = self.parties.get_mut(&ticket.party)
        {
            party.clock += used / party.weight;
            if self.waiting.is_empty() {
                // Whoever has the device while nobody else wants it owes nobody anything.
                self.clock = self.clock.max(party.clock);
            }
        }
    }

    /// Whether it is this one's turn.
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        self.holder == Some(ticket)
    }

    /// Whether another party waits.
    pub(crate) fn is_contested(&self, party: u64) -> bool {
        self.waiting.iter().any(|waiting| waiting.party != party)
    }

    /// Whether it is anybody's.
    pub(crate) fn is_taken(&self) -> bool {
        self.holder.is_some()
    }

    fn line_up(&mut self, ticket: Ticket) {
        if let Some(party) = self.parties.get_mut(&ticket.party) {
            party.clock = party.clock.max(self.clock);
        }
        self.waiting.push_back(ticket);
    }

    fn pass_on(&mut self) {
        let clock = |ticket: &Ticket| self.parties.get(&ticket.party).map_or(self.clock, |party| party.clock);
        // Of several with one clock, the first.
        let next = (0..self.waiting.len())
            .min_by(|one, other| f64::total_cmp(&clock(&self.waiting[*one]), &clock(&self.waiting[*other])));
        match next {
            Some(next) => {
                self.clock = clock(&self.waiting[next]);
                self.holder = self.waiting.remove(next);
            }
            // Whoever had the device while nobody else wanted it owes nobody anything.
            None => self.clock = self.parties.values().map(|party| party.clock).fold(self.clock, f64::max),
        }
    }
}

#[cfg(test)]
mod tests;
