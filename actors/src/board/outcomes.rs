//! What becomes of batches that have run, well or not, and of those that were lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Board, Effects, Phase};
use crate::Worker;
use crate::batch::{Batch, Entry};
use crate::recovery::{Failure, Recovery, Trial, cut, halve, recovery};
use crate::seat::Tenure;

impl<W: Worker> Board<W> {
    /// Has what an executor that was lost had been given run again, or answers it. Whether its end is one that a trial can
    /// afford.
    pub(crate) fn lose(&mut self, batches: &[Arc<Batch<W>>], cause: &str, effects: &mut Effects<W>) -> bool {
        if let [batch] = batches {
            return self.recover(batch, Failure::Crash(cause.into()), effects);
        }
        let mut searches: Option<Arc<Trial>> = None;
        for batch in batches {
            // It may have been an accident in the company of another: each is looked into by itself.
            let calls = batch.entries.len();
            let trial = Arc::new(searches.as_ref().map_or_else(|| Trial::new(calls), |first| first.beside(calls)));
            let entries = self.remaining(batch.method, &batch.entries, effects);
            self.give_back(batch, Some(&trial), 0, (entries, Vec::new()));
            searches.get_or_insert(trial);
        }
        self.wake_for_returned(effects);
        false
    }

    /// A batch has run and its calls are answered: what was to be guilty if it succeeded is looked into.
    pub(crate) fn ran(
        &mut self,
        tenure: Tenure,
        batch: &Batch<W>,
        execution: Duration,
        now: Instant,
        effects: &mut Effects<W>,
    ) {
        if !self.holds(tenure) {
            return;
        }
        self.put_down(tenure, batch, now, effects);
        let method = &mut self.methods[batch.method];
        method.queue.observe(batch.shape(), batch.rows(), execution, now);
        let most = method.queue.limits().max_batch_size.get();
        method.queue.caps().succeeded(batch.shape(), batch.rows(), most);
        self.forgiven += std::mem::take(&mut method.unproven);
        if let Some(trial) = &batch.trial {
            trial.acquit();
            let rest = self.remaining(batch.method, &batch.rest, effects);
            self.give_back(batch, Some(trial), 0, halve(rest));
            self.wake_for_returned(effects);
        }
    }

    /// A batch did not succeed: answers its calls, or puts it in front of everything that waits, whole or in halves.
    /// Whether the end of its executor, if that is what happened, is one that a trial can afford.
    pub(crate) fn recover(&mut self, batch: &Batch<W>, failure: Failure, effects: &mut Effects<W>) -> bool {
        let is_crash = matches!(failure, Failure::Crash(_));
        let crashes = batch.crashes + u32::from(is_crash && batch.entries.len() == 1);
        let entries = self.remaining(batch.method, &batch.entries, effects);
        let rest = self.remaining(batch.method, &batch.rest, effects);
        let retry = self.retries(batch.method);
        let recovery = match self.phase {
            Phase::Closed(_) => Recovery::Answer,
            // By all calls that ran: whose caller has gone since may be the one to blame.
            _ => recovery(&failure, batch.entries.len(), batch.rows(), crashes, batch.trial.is_some(), retry),
        };
        let trial = batch.trial.clone().unwrap_or_else(|| Arc::new(Trial::new(batch.entries.len())));
        let is_free = is_crash && batch.trial.is_some() && trial.affords_a_crash();
        // Of these nothing is known any more.
        self.give_back(batch, Some(&trial), 0, (rest, Vec::new()));
        match recovery {
            Recovery::Answer => {
                if is_crash && retry && trial.convict() {
                    let unproven = &mut self.methods[batch.method].unproven;
                    *(if trial.has_acquitted() { &mut self.forgiven } else { unproven }) += 1;
                }
                let error = failure.into_error();
                effects.ended.extend(entries.into_iter().map(|entry| (batch.method, entry.call, error.clone())));
            }
            Recovery::Shrink => {
                let cap = self.methods[batch.method].queue.caps().failed(batch.shape(), batch.rows());
                for piece in cut(entries, cap) {
                    self.give_back(batch, batch.trial.as_ref(), 0, (piece, Vec::new()));
                }
            }
            Recovery::Alone => {
                self.is_crowded = true;
                self.give_back(batch, batch.trial.as_ref(), batch.crashes, (entries, Vec::new()));
            }
            Recovery::Again => self.give_back(batch, Some(&trial), crashes, (entries, Vec::new())),
            Recovery::Halve => self.give_back(batch, Some(&trial), 0, halve(entries)),
        }
        self.wake_for_returned(effects);
        is_free
    }

    /// How many charged ends of executors have turned out to be a call's fault, since this was last asked.
    pub(crate) fn take_forgiven(&mut self) -> usize {
        std::mem::take(&mut self.forgiven)
    }

    /// Those whose calls have not ended; the others are ended, if nobody has counted that yet.
    pub(super) fn remaining(&self, method: usize, entries: &[Entry<W>], effects: &mut Effects<W>) -> Vec<Entry<W>> {
        let (gone, remaining): (Vec<_>, Vec<_>) =
            entries.iter().map(Entry::again).partition(|entry| entry.call.has_ended());
        effects.gone(method, gone.into_iter().map(|entry| (Arc::clone(&entry.call), entry.call.gone())));
        remaining
    }

    /// Puts calls of `batch` in front of everything that waits.
    pub(super) fn give_back(
        &mut self,
        batch: &Batch<W>,
        trial: Option<&Arc<Trial>>,
        crashes: u32,
        calls: (Vec<Entry<W>>, Vec<Entry<W>>),
    ) {
        let (method, trial) = (batch.method, trial.cloned());
        let (entries, rest) = calls;
        if entries.is_empty() && rest.is_empty() {
            return;
        }
        self.returned.push_back(Batch { crashes, rest, trial, ..Batch::new(method, entries) });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::MethodLimits;
    use crate::board::Next;
    use crate::call::Call;
    use crate::simulation::toy::{Input, Nature, Toy};
    use crate::{CallError, CallOptions};

    #[test]
    fn one_crash_in_company_is_forgiven_once_though_two_calls_are_guilty() {
        let now = Instant::now();
        let limits = MethodLimits { max_batch_size: NonZeroUsize::MIN, timeout: None, ..MethodLimits::default() };
        let mut board = Board::<Toy>::new([limits], 1);
        board.phase = Phase::Open;
        let mut effects = Effects::default();
        for id in 0..2 {
            let input = Input { id, shape: 0, rows: 1, nature: Nature::Deadly };
            let call = Arc::new(Call::new(input, NonZeroUsize::MIN, now, CallOptions::default()));
            assert!(board.push(0, &call, now, &mut effects).is_ok());
        }
        let mut charged = 0;
        while let Next::Run(_) = board.next(board.tenure(0), now, &mut effects) {
            let _ = board.next_ahead(board.tenure(0), now, &mut effects);
            let left = board.leave(0, &mut effects);
            assert_eq!(left.len(), if charged == 0 { 2 } else { 1 }, "only once in company");
            charged += usize::from(!board.lose(&left, "dead", &mut effects));
        }
        let crashed = |(_, _, error): &&(usize, _, CallError)| matches!(error, CallError::Crashed(_));
        assert_eq!((charged, effects.ended.iter().filter(crashed).count()), (1, 2));
        // The method shows with another call that it works.
        let other = Batch::new(0, Vec::new());
        board.ran(board.tenure(0), &other, Duration::ZERO, now, &mut effects);
        assert_eq!(board.take_forgiven(), charged);
    }
}
