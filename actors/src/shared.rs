//! Devices that several executors share: who has it, and how the others hear that it is theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Weight;
use crate::turns::{Ticket, Turns};

/// Tells an executor, from any thread, that it is its turn.
type Call = Arc<dyn Fn() + Send + Sync>;

/// The devices that executors of one runtime share, by what they are called.
#[derive(Default)]
pub(crate) struct SharedDevices(Mutex<BTreeMap<String, Arc<SharedDevice>>>);

impl SharedDevices {
    /// The party of a new runner for each of its executors, given the device that each shares, if it shares one.
    pub(crate) fn join(
        &self,
        devices: impl Iterator<Item = Option<String>>,
        weight: Weight,
    ) -> Box<[Option<Arc<Party>>]> {
        let mut parties = BTreeMap::new();
        let mut party = |name: String| {
            let join = |name: &String| Party::new(self.device(name), weight);
            Arc::clone(parties.entry(name).or_insert_with_key(join))
        };
        devices.map(|device| device.map(&mut party)).collect()
    }

    fn device(&self, name: &str) -> Arc<SharedDevice> {
        let mut devices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(devices.entry(name.to_owned()).or_default())
    }
}

/// One device. Its lock is held for a few comparisons; whoever has nobody to wait for takes it and goes on.
#[derive(Default)]
struct SharedDevice(Mutex<State>);

#[derive(Default)]
struct State {
    turns: Turns,
    /// Since when it is the holder's turn.
    since: Option<Instant>,
    /// How those are called that wait.
    calls: BTreeMap<Ticket, Call>,
}

impl SharedDevice {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ticket: Ticket, call: &Call) -> bool {
        let mut state = self.state();
        let is_its = state.turns.ask(ticket);
        if is_its {
            state.since.get_or_insert_with(Instant::now);
        } else {
            state.calls.insert(ticket, Arc::clone(call));
        }
        is_its
    }

    /// Without `used`, the turn has taken all the time since it began.
    fn end(&self, ticket: Ticket, used: Option<Duration>, again: Option<&Call>) {
        let mut state = self.state();
        let is_its = state.turns.holds(ticket);
        let now = Instant::now();
        let used = used.or_else(|| state.since.map(|since| now.saturating_duration_since(since))).unwrap_or_default();
        let next = state.turns.end(ticket, used.as_secs_f64(), again.is_some());
        if is_its {
            state.since = state.turns.is_taken().then_some(now);
        }
        match again {
            Some(call) if next.is_some() => drop(state.calls.insert(ticket, Arc::clone(call))),
            _ => drop(state.calls.remove(&ticket)),
        }
        let next = next.and_then(|next| state.calls.remove(&next));
        drop(state);
        if let Some(call) = next {
            call();
        }
    }
}

/// One runner's part in a device.
pub(crate) struct Party {
    device: Arc<SharedDevice>,
    id: u64,
}

impl Party {
    fn new(device: Arc<SharedDevice>, weight: Weight) -> Arc<Self> {
        let id = device.state().turns.join(weight);
        Arc::new(Self { device, id })
    }

    /// The claim of its `nth` executor, which is told by `call` when it has waited and its turn has come.
    pub(crate) fn claim(self: &Arc<Self>, nth: u64, call: impl Fn() + Send + Sync + 'static) -> Claim {
        Claim { ticket: Ticket { party: self.id, nth }, party: Arc::clone(self), call: Arc::new(call) }
    }

    /// Its `nth` executor is taken for gone: it has no turn any more.
    pub(crate) fn take_away(&self, nth: u64) {
        self.device.end(Ticket { party: self.id, nth }, None, None);
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.device.state().turns.part(self.id);
    }
}

/// An executor's claim to turns on its device. However the executor ends, its turn ends with it.
pub(crate) struct Claim {
    party: Arc<Party>,
    ticket: Ticket,
    call: Call,
}

impl Claim {
    /// Whether it is this one's turn. If not, it is told when it is, unless it gives up.
    pub(crate) fn ask(&self) -> bool {
        self.party.device.ask(self.ticket, &self.call)
    }

    /// Whether executors of other runners wait for the device.
    pub(crate) fn is_contested(&self) -> bool {
        self.party.device.state().turns.is_contested(self.ticket.party)
    }

    /// Has had its turn and used the device for so long; with `again`, it asks for another one.
    pub(crate) fn end(&self, used: Duration, again: bool) {
        self.party.device.end(self.ticket, Some(used), again.then_some(&self.call));
    }

    /// Has used the device for so long, and its turn goes on.
    pub(crate) fn use_up(&self, used: Duration) {
        let mut state = self.party.device.state();
        state.turns.use_up(self.ticket, used.as_secs_f64());
        // What is over is not counted again when the turn ends, however it does.
        if state.turns.holds(self.ticket) {
            state.since = Some(Instant::now());
        }
    }

    /// Does not need a turn, whether it is its or not.
    pub(crate) fn give_up(&self) {
        self.end(Duration::ZERO, false);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.party.device.end(self.ticket, None, None);
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_goes_on_is_charged_once() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let device = Arc::new(SharedDevice::default());
        let weight = || Weight::new(1.0).expect("a weight");
        let (one, other) = (Party::new(Arc::clone(&device), weight()), Party::new(Arc::clone(&device), weight()));
        let (claim, others) = (one.claim(0, || ()), other.claim(0, || ()));
        assert!(claim.ask() && !others.ask());
        device.state().since = Instant::now().checked_sub(HOUR);
        claim.use_up(HOUR);
        // Its executor is lost, and what is over has been counted.
        drop(claim);
        let next = one.claim(1, || ());
        assert!(!next.ask(), "the other one has waited");
        others.end(HOUR + Duration::from_secs(60), true);
        assert!(next.ask(), "it has had less than the other one");
    }
}
