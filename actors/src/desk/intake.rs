//! How calls come to a desk, or to the one that has taken its place.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Desk;
use crate::board::Effects;
use crate::call::Call;
use crate::{CallError, CallOptions, Reply, Worker};

/// Who has taken a desk's place, where somebody has.
pub(super) struct Succession<W: Worker> {
    /// Whether somebody has, read without the lock.
    is_settled: AtomicBool,
    successor: Mutex<Option<Arc<Successor<W>>>>,
}

struct Successor<W: Worker> {
    desk: Arc<Desk<W>>,
    /// Which of its methods each of the replaced runner's is, where it has one like it.
    methods: Box<[Option<usize>]>,
}

impl<W: Worker> Default for Succession<W> {
    fn default() -> Self {
        Self { is_settled: AtomicBool::new(false), successor: Mutex::new(None) }
    }
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
        if self.is_replaced() {
            let (desk, method) = self.pass_on(method, no_such_method())?;
            return desk.push(method, input, rows, options);
        }
        let call = self.make(method, input, rows, options);
        self.push_made(method, &call, call.arrived)?;
        Ok(Reply::new(call))
    }

    fn push_made(&self, method: usize, call: &Arc<Call<W>>, now: Instant) -> Result<(), CallError> {
        let mut effects = Effects::default();
        let pushed = self.board().push(method, call, now, &mut effects);
        self.carry_out(effects);
        pushed.or_else(|error| self.push_refused(method, call, error))
    }

    fn push_refused(&self, method: usize, call: &Arc<Call<W>>, error: CallError) -> Result<(), CallError> {
        let (desk, method) = self.pass_on(method, error)?;
        desk.push_made(method, call, Instant::now())
    }

    /// Where a call to `method` goes that is refused with `error` here.
    ///
    /// # Errors
    /// What to tell the call, if it goes nowhere; it has been counted.
    fn pass_on(&self, method: usize, error: CallError) -> Result<(Arc<Self>, usize), CallError> {
        let error = match error {
            CallError::Unavailable { .. } if self.is_replaced() => match self.newest(method) {
                Some(newest) => return Ok(newest),
                None => no_such_method(),
            },
            error => error,
        };
        self.observer.call_ended(method, Some(&error), Duration::ZERO);
        Err(error)
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
        let (mut effects, mut refused) = (Effects::default(), Vec::new());
        {
            let mut board = self.board();
            for (method, call) in calls {
                if let Err(error) = board.push(method, call, now, &mut effects) {
                    refused.push((method, call, error));
                }
            }
        }
        self.carry_out(effects);
        for (method, call, error) in refused {
            if let Err(error) = self.push_refused(method, call, error) {
                call.end(Err(error));
            }
        }
    }

    /// Takes a call of no rows, which is answered by its caller: there is nothing to run.
    pub(crate) fn push_empty(&self, method: usize) -> Result<(), CallError> {
        let taken = self.board().check_phase();
        if let Err(error) = taken {
            let (desk, method) = self.pass_on(method, error)?;
            return desk.push_empty(method);
        }
        self.observer.call_ended(method, None, Duration::ZERO);
        Ok(())
    }

    /// Has calls that come from now on go to `desk`: to the method named there for each of this one's. What this desk has
    /// accepted stays here.
    pub(crate) fn succeed(&self, desk: Arc<Self>, methods: Box<[Option<usize>]>) {
        let mut successor = self.succession.successor.lock().unwrap_or_else(PoisonError::into_inner);
        *successor = Some(Arc::new(Successor { desk, methods }));
        self.succession.is_settled.store(true, Ordering::Release);
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.succession.is_settled.load(Ordering::Acquire)
    }

    /// Of a desk that is replaced: who has its place now, and which method is like `method` there, if one is. Those between
    /// are forgotten, so that nobody walks past them again.
    pub(crate) fn newest(&self, method: usize) -> Option<(Arc<Self>, usize)> {
        let mut own = self.succession.successor.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(passed) = own.as_ref().filter(|own| own.desk.is_replaced()) {
            let next = passed.desk.succession.successor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *own = next.map(|next| {
                let methods = passed.methods.iter().map(|method| method.and_then(|method| next.methods[method]));
                Arc::new(Successor { desk: Arc::clone(&next.desk), methods: methods.collect() })
            });
        }
        let newest = own.as_ref()?;
        Some((Arc::clone(&newest.desk), newest.methods[method]?))
    }
}

fn no_such_method() -> CallError {
    CallError::unavailable("the runner has been replaced by one that has no such method")
}
