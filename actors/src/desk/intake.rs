//! How calls come to a desk, and go on to another where it takes them no more.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Desk;
use crate::board::Effects;
use crate::call::Call;
use crate::{CallError, CallOptions, Reply, Worker};

/// The desk of the runner that has replaced a runner.
pub(super) struct Successor<W: Worker> {
    desk: Arc<Desk<W>>,
    /// Which of its methods each of the replaced runner's is, where it has one like it.
    methods: Box<[Option<usize>]>,
}

impl<W: Worker> Desk<W> {
    /// Takes a call: it will be answered exactly once, whatever happens.
    pub(crate) fn push(
        &self,
        method: usize,
        input: W::Input,
        rows: NonZeroUsize,
        options: CallOptions,
    ) -> Result<Reply<W>, CallError> {
        let call = self.make(method, input, rows, options);
        let mut now = call.arrived;
        let (mut desk, mut method) = (self, method);
        loop {
            let mut effects = Effects::default();
            let pushed = desk.board().push(method, &call, now, &mut effects);
            desk.carry_out(effects);
            let error = match pushed {
                Ok(()) => return Ok(Reply::new(call)),
                Err(error) => error,
            };
            match desk.after(method, error) {
                Ok(next) => (desk, method) = next,
                Err(error) => {
                    desk.observer.call_ended(method, Some(&error), Duration::ZERO);
                    return Err(error);
                }
            }
            now = Instant::now();
        }
    }

    /// Makes a call, to be pushed: whoever has made it must push it, or nobody answers.
    pub(crate) fn make(
        &self,
        method: usize,
        input: W::Input,
        rows: NonZeroUsize,
        options: CallOptions,
    ) -> Arc<Call<W>> {
        let options = CallOptions { timeout: options.timeout.or(self.timeouts[method]), ..options };
        Arc::new(Call::new(input, rows, Instant::now(), options))
    }

    /// Takes calls that were made together, each for the method before it. Those that are refused are told so.
    pub(crate) fn push_all<'a>(&self, calls: impl Iterator<Item = (usize, &'a Arc<Call<W>>)>) {
        let now = Instant::now();
        let mut effects = Effects::default();
        {
            let mut board = self.board();
            for (method, call) in calls {
                if let Err(error) = board.push(method, call, now, &mut effects) {
                    effects.ended.push((method, Arc::clone(call), error));
                }
            }
        }
        if self.successor.get().is_some() {
            self.pass_on(&mut effects);
        }
        self.carry_out(effects);
    }

    /// Has calls that this desk does not take any more taken by the next.
    fn pass_on(&self, effects: &mut Effects<W>) {
        for (method, call, error) in std::mem::take(&mut effects.ended) {
            match self.after(method, error) {
                Ok((desk, method)) => desk.push_all([(method, &call)].into_iter()),
                Err(error) => effects.ended.push((method, call, error)),
            }
        }
    }

    /// Has the calls that come from now on, and that this desk takes no more, go to `desk`: to the method named there for
    /// each of this one's. Only the first successor counts.
    pub(crate) fn succeed(&self, desk: Arc<Self>, methods: Box<[Option<usize>]>) {
        // A desk that has one is not asked to take another.
        let _ = self.successor.set(Successor { desk, methods });
    }

    /// Where a call to `method` goes that was refused with `error`.
    fn after(&self, method: usize, error: CallError) -> Result<(&Self, usize), CallError> {
        match self.successor.get() {
            Some(successor) if matches!(error, CallError::Unavailable { .. }) => match successor.methods[method] {
                Some(method) => Ok((&successor.desk, method)),
                None => Err(CallError::unavailable("the runner has been replaced by one that has no such method")),
            },
            _ => Err(error),
        }
    }

    /// Takes a call of no rows, which is answered by its caller: there is nothing to run.
    pub(crate) fn push_empty(&self, method: usize) -> Result<(), CallError> {
        let taken = self.board().check_phase();
        let ended = match taken {
            Err(error) => match self.after(method, error) {
                Ok((desk, method)) => return desk.push_empty(method),
                refused => refused.map(drop),
            },
            Ok(()) => Ok(()),
        };
        self.observer.call_ended(method, ended.as_ref().err(), Duration::ZERO);
        ended
    }
}
