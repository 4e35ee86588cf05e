//! The worker that the actors run: an opened runnable, behind one object-safe trait.

use std::sync::Arc;
use std::time::Instant;

use ekiden_actors::{
    CallError, Exit, KillSwitch, MethodError, OpenError, Outcomes, Part, RunError, WarmRun, Worker, guarded,
};

use super::CallInput;
use super::stream::{Emit, streaming};
use crate::value::{Buckets, Shape, Signature, Value, Values, gather};

/// What a run of a method came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    /// The outputs of all rows.
    pub(crate) outputs: Values,
    /// The rows that failed by themselves, in order: their outputs mean nothing.
    pub(crate) failed: Vec<(usize, MethodError)>,
}

impl From<Values> for Answer {
    fn from(outputs: Values) -> Self {
        Self { outputs, failed: Vec::new() }
    }
}

/// A run that has begun.
pub(crate) enum Pending {
    /// It is over.
    Done(Answer),
    /// The device works on it; this waits for that, and reads what it comes to.
    Waits(Box<dyn FnOnce() -> Result<Answer, RunError>>),
}

impl Pending {
    /// Waits for the answer.
    pub(crate) fn wait(self) -> Result<Answer, RunError> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::Waits(wait) => wait(),
        }
    }
}

/// A batch that a [`ModelWorker`] has begun.
pub(crate) struct Launched {
    pending: Pending,
    /// How many rows it was padded with.
    padding: usize,
}

/// A runnable that is open on its device.
pub(crate) trait Model {
    /// The signature of `method`, counted as its methods were added.
    fn signature(&self, method: usize) -> Option<&Signature>;

    /// Runs `method` once on the rows of all `parts`.
    fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError>;

    /// Runs a `method` that streams on one call, and has `emit` take each chunk as it comes, until there are no more, or
    /// it breaks.
    fn stream(&mut self, _method: usize, _call: &Part<'_, CallInput>, _emit: &mut Emit<'_>) -> Result<(), RunError> {
        Err(MethodError::failed("streams are not possible here").into())
    }

    /// Begins such a run. A device that works by itself is not waited for.
    fn launch(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Pending, RunError> {
        self.run(method, parts).map(Pending::Done)
    }

    /// How many runs may have begun and not be over.
    fn depth(&self) -> usize {
        1
    }

    /// What a panic of a run with this message was the end of.
    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        Exit::Panicked(message)
    }

    /// What ends a run from another thread, where something can.
    fn kill_switch(&self) -> Option<KillSwitch> {
        None
    }

    /// Why it is of no use any more, where that shows while it is idle.
    fn lost(&self) -> Option<Exit> {
        None
    }

    /// Has `wake` called when `lost` has something to tell.
    fn on_loss(&self, _wake: Box<dyn Fn() + Send>) {}
}

/// Runs of each size whose time counts: as many as a cost is read from.
const WARM_RUNS: usize = 3;

/// How a method of a worker is run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// What messages call it.
    pub(crate) name: String,
    /// What its batches are padded to.
    pub(crate) buckets: Buckets,
    /// The numbers of rows that it is warmed up with.
    pub(crate) warm_up: Vec<usize>,
    /// Whether a method that cannot be warmed up is of no use: it was declared so.
    pub(crate) must_warm_up: bool,
}

/// Runs batches of calls on a [`Model`].
pub(crate) struct ModelWorker {
    /// The executor's, for messages: "runner/0".
    pub(crate) name: String,
    pub(crate) model: Box<dyn Model>,
    /// Of its methods, as they are counted.
    pub(crate) setups: Arc<[Setup]>,
}

impl ModelWorker {
    /// Warms one method up, the smallest batch first.
    fn warm_up_method(&mut self, method: usize, ran: &mut dyn FnMut(WarmRun)) -> Result<(), OpenError> {
        let setups = Arc::clone(&self.setups);
        let Some(setup) = setups.get(method) else { return Ok(()) };
        let steps = setup.warm_up.len();
        for (step, &rows) in setup.warm_up.iter().enumerate() {
            tracing::info!("{}: warming {} at {rows} rows ({} of {steps})", self.name, setup.name, step + 1);
            let warmed = guarded(|| self.warm(method, rows, ran)).map_err(|panic| {
                // Whoever did not ask to be warmed up is told how to do without.
                let cure = if setup.must_warm_up { "" } else { "; have it return an error, or set batch_buckets = []" };
                OpenError::new(format!(
                    "{} panics on a warm-up batch of zeros ({rows} rows): {panic}{cure}",
                    setup.name
                ))
            })?;
            match warmed {
                Ok(()) => {}
                // Larger batches are cut when they come, and what fits is learned.
                Err(RunError::OutOfMemory(message)) if rows > 1 => {
                    tracing::warn!("{}: {} at {rows} rows does not fit into memory: {message}", self.name, setup.name);
                    return Ok(());
                }
                Err(RunError::Lost(Exit::ProcessDied(how))) => {
                    let problem = format!("while it was being warmed up with {rows} rows, {how}");
                    return Err(OpenError::process_died(problem));
                }
                Err(RunError::Method(error)) if !setup.must_warm_up => {
                    let name = &setup.name;
                    tracing::warn!(
                        "{}: {name} cannot be warmed up, its first batches will be slow: {error}",
                        self.name
                    );
                    return Ok(());
                }
                Err(error) => {
                    let error = CallError::from(error);
                    return Err(OpenError::new(format!("a warm-up batch of zeros ({rows} rows) failed: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Runs batches of zeros: once for what happens the first time only, then as often as it takes for a cost.
    fn warm(&mut self, method: usize, rows: usize, ran: &mut dyn FnMut(WarmRun)) -> Result<(), RunError> {
        let signature = self.model.signature(method).ok_or_else(no_method)?;
        let input = CallInput::new(signature.zeros(rows).map_err(MethodError::failed)?, signature.batching);
        let parts = [Part { input: &input, rows: 0..rows }];
        self.run(method, &parts)?;
        for _ in 0..WARM_RUNS {
            let started = Instant::now();
            self.run(method, &parts)?;
            ran(WarmRun { method, shape: Self::shape(&input), rows, execution: started.elapsed() });
        }
        Ok(())
    }
}

impl ModelWorker {
    /// Runs one batch from its beginning to its end.
    pub(crate) fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Outcomes<Values>, RunError> {
        let launched = self.launch(method, parts)?;
        self.finish(method, parts, launched)
    }

    /// What became of each of these parts.
    fn outcomes(
        &self,
        method: usize,
        parts: &[Part<'_, CallInput>],
        answer: Answer,
    ) -> Result<Outcomes<Values>, RunError> {
        let Answer { outputs, failed } = answer;
        let signature = self.model.signature(method).ok_or_else(no_method)?;
        let rows = parts.iter().map(|part| part.rows.len()).sum();
        signature
            .check_outputs(&outputs, rows)
            .map_err(|problem| MethodError::failed(format!("the runnable returned a wrong {problem}")))?;
        let mut outcomes: Outcomes<Values> = match signature.batching {
            Some(batching) if parts.len() > 1 => {
                split(outputs, parts, batching.output_dim)?.into_iter().map(Ok).collect()
            }
            _ => vec![Ok(outputs)],
        };
        for (row, error) in failed {
            fail_row(&mut outcomes, parts, row, error)?;
        }
        Ok(outcomes)
    }
}

/// These parts, and then the last row of them as often as it takes.
fn pad<'a>(parts: &[Part<'a, CallInput>], missing: usize) -> Vec<Part<'a, CallInput>> {
    let copy = |part: &Part<'a, CallInput>| Part { input: part.input, rows: part.rows.clone() };
    let mut padded: Vec<Part<'a, CallInput>> = parts.iter().map(copy).collect();
    if let Some(part) = parts.iter().rfind(|part| !part.rows.is_empty()) {
        let last = || Part { input: part.input, rows: part.rows.end - 1..part.rows.end };
        padded.extend(std::iter::repeat_with(last).take(missing));
    }
    padded
}

impl Worker for ModelWorker {
    type Input = CallInput;
    type Output = Values;
    type Launched = Launched;

    fn can_share_batch(one: &CallInput, other: &CallInput) -> bool {
        let Some(batching) = one.batching else { return false };
        one.values.iter().zip(&other.values).all(|pair| match pair {
            (Value::Tensor(one), Value::Tensor(other)) => one.shape().same_but(other.shape(), batching.input_dim),
            (one, other) => one.kind() == other.kind(),
        })
    }

    fn shape(input: &CallInput) -> u64 {
        // Not for telling shapes apart where it matters, so that a plain mix of their sizes will do.
        let mix = |hash: u64, size: usize| (hash.rotate_left(5) ^ size as u64).wrapping_mul(0x517c_c1b7_2722_0a95);
        let mut hash = 0;
        for value in &input.values {
            let Value::Tensor(array) = value else { continue };
            hash = mix(hash, array.shape().rank());
            for (dim, &size) in array.shape().dims().iter().enumerate() {
                let is_rows = input.batching.is_some_and(|batching| batching.input_dim == dim);
                hash = if is_rows { hash } else { mix(hash, size) };
            }
        }
        hash
    }

    fn warm_up(&mut self, ran: &mut dyn FnMut(WarmRun)) -> Result<(), OpenError> {
        (0..self.setups.len()).try_for_each(|method| self.warm_up_method(method, ran))
    }

    fn depth(&self) -> usize {
        self.model.depth()
    }

    fn launch(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Launched, RunError> {
        if streaming(parts).is_some() {
            // All of it happens as it is finished.
            return Ok(Launched { pending: Pending::Done(Values::new().into()), padding: 0 });
        }
        let rows = parts.iter().map(|part| part.rows.len()).sum();
        let padding = self.setups.get(method).map_or(0, |setup| setup.buckets.padded(rows) - rows);
        if padding > 0 {
            match self.model.launch(method, &pad(parts, padding)) {
                // What does not fit into memory may be the padding.
                Err(RunError::OutOfMemory(_)) => {}
                launched => return Ok(Launched { pending: launched?, padding }),
            }
        }
        Ok(Launched { pending: self.model.launch(method, parts)?, padding: 0 })
    }

    fn finish(
        &mut self,
        method: usize,
        parts: &[Part<'_, CallInput>],
        Launched { pending, padding }: Launched,
    ) -> Result<Outcomes<Values>, RunError> {
        if let Some((call, chunks)) = streaming(parts) {
            return self.run_stream(method, call, chunks);
        }
        if padding == 0 {
            return self.outcomes(method, parts, pending.wait()?);
        }
        match pending.wait() {
            Ok(answer) => {
                let mut outcomes = self.outcomes(method, &pad(parts, padding), answer)?;
                outcomes.truncate(parts.len());
                Ok(outcomes)
            }
            // As above.
            Err(RunError::OutOfMemory(_)) => {
                let answer = self.model.run(method, parts)?;
                self.outcomes(method, parts, answer)
            }
            Err(error) => Err(error),
        }
    }

    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        self.model.exit_of_panic(message)
    }

    fn kill_switch(&self) -> Option<KillSwitch> {
        self.model.kill_switch()
    }

    fn lost(&self) -> Option<Exit> {
        self.model.lost()
    }

    fn on_loss(&self, wake: Box<dyn Fn() + Send>) {
        self.model.on_loss(wake);
    }

    fn join(input: &CallInput, pieces: Vec<Values>) -> Result<Values, MethodError> {
        let dim = input.batching.map_or(0, |batching| batching.output_dim);
        let outputs = pieces.first().map_or(0, |piece| piece.len());
        let mut columns: Vec<Vec<Value>> = (0..outputs).map(|_| Vec::with_capacity(pieces.len())).collect();
        for piece in pieces {
            for (column, value) in columns.iter_mut().zip(piece) {
                column.push(value);
            }
        }
        columns.into_iter().map(|column| gather::join(column, dim).map_err(MethodError::failed)).collect()
    }
}

fn no_method() -> MethodError {
    MethodError::failed("there is no such method")
}

/// Fails the part that row `row` of the batch belongs to; the first of its rows to fail is the one that is named.
fn fail_row(
    outcomes: &mut Outcomes<Values>,
    parts: &[Part<'_, CallInput>],
    row: usize,
    error: MethodError,
) -> Result<(), MethodError> {
    let mut start = 0;
    for (part, outcome) in parts.iter().zip(outcomes) {
        let own = row - start;
        if own < part.rows.len() {
            let row = part.rows.start + own;
            let is_sole = part.rows == (0..1) && part.input.rows() == 1;
            if outcome.is_ok() {
                *outcome = Err(if is_sole { error } else { error.of_row(row) });
            }
            return Ok(());
        }
        start += part.rows.len();
    }
    Err(MethodError::failed(format!("the runnable failed row {row} of a batch of {start}: {error}")))
}

/// Gives each part its rows of each output: shared with the batch's along dimension 0, copied otherwise.
fn split(outputs: Values, parts: &[Part<'_, CallInput>], dim: usize) -> Result<Vec<Values>, MethodError> {
    let mut split: Vec<Values> = parts.iter().map(|_| Values::new()).collect();
    for output in outputs {
        match output {
            Value::Tensor(array) => {
                let mut start = 0;
                for (part, values) in parts.iter().zip(&mut split) {
                    let end = start + part.rows.len();
                    let rows = array.slice(dim, start..end).ok_or_else(|| cannot_split(array.shape()))?;
                    values.push(Value::Tensor(rows));
                    start = end;
                }
            }
            Value::List(items) => {
                let mut items = items.into_iter();
                for (part, values) in parts.iter().zip(&mut split) {
                    values.push(Value::List(items.by_ref().take(part.rows.len()).collect()));
                }
            }
            Value::Json(_) | Value::Text(_) | Value::Bytes(_) => {
                return Err(MethodError::failed("an output of a batchable method must be a tensor or a list"));
            }
        }
    }
    Ok(split)
}

fn cannot_split(shape: &Shape) -> MethodError {
    MethodError::failed(format!("an output of shape {shape} has fewer rows than the batch"))
}
