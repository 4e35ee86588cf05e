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
            let (desk, method) = self.newest(method)?;
            return desk.push(method, input, rows, options);
        }
        let call = self.make(method, input, rows, options);
        self.push_made(method, &call)?;
        Ok(Reply::new(call))
    }

    fn push_made(&self, method: usize, call: &Arc<Call<W>>) -> Result<(), CallError> {
        let mut effects = Effects::default();
        let pushed = self.board().push(method, call, Instant::now(), &mut effects);
        self.carry_out(effects);
        match pushed {
            Err(CallError::Unavailable { .. }) if self.is_replaced() => {
                let (desk, method) = self.newest(method)?;
                desk.push_made(method, call)
            }
            Err(error) => {
                self.observer.call_ended(method, Some(&error), Duration::ZERO);
                Err(error)
            }
            Ok(()) => Ok(()),
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
            let passed_on = match error {
                CallError::Unavailable { .. } if self.is_replaced() => {
                    self.newest(method).and_then(|(desk, method)| desk.push_made(method, call))
                }
                error => {
                    self.observer.call_ended(method, Some(&error), Duration::ZERO);
                    Err(error)
                }
            };
            if let Err(error) = passed_on {
                call.end(Err(error));
            }
        }
    }

    /// Takes a call of no rows, which is answered by its caller: there is nothing to run.
    pub(crate) fn push_empty(&self, method: usize) -> Result<(), CallError> {
        let taken = self.board().check_phase();
        if taken.is_err() && self.is_replaced() {
            let (desk, method) = self.newest(method)?;
            return desk.push_empty(method);
        }
        self.observer.call_ended(method, taken.as_ref().err(), Duration::ZERO);
        taken
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

    /// Of a desk that is replaced: who has its place now, and which method is like `method` there. Those between are
    /// forgotten, so that nobody walks past them again.
    ///
    /// # Errors
    /// If none is, which is counted as this desk's.
    pub(crate) fn newest(&self, method: usize) -> Result<(Arc<Self>, usize), CallError> {
        let mut own = self.succession.successor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = own.clone();
        while let Some(passed) = last.as_ref().filter(|last| last.desk.is_replaced()) {
            let next = passed.desk.succession.successor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            last = next.map(|next| {
                let methods = passed.methods.iter().map(|method| method.and_then(|method| next.methods[method]));
                Arc::new(Successor { desk: Arc::clone(&next.desk), methods: methods.collect() })
            });
        }
        own.clone_from(&last);
        drop(own);
        let found = last.and_then(|last| Some((Arc::clone(&last.desk), last.methods[method]?)));
        found.ok_or_else(|| {
            let error = CallError::unavailable("the runner has been replaced by one that has no such method");
            self.observer.call_ended(method, Some(&error), Duration::ZERO);
            error
        })
    }
}
