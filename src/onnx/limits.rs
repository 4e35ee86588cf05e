//! How much memory and time a graph may take. While it is loaded and tried it is given little time: whatever a file asks
//! for, loading ends soon, and in bounded memory. When it serves, whatever its inputs ask for, it holds no more than so many
//! bytes at once.
//!
//! What is allowed belongs to the thread that runs the graph, for as long as [`Limits::within`] lasts.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::error::OpError;
use super::tensor::Result;

/// A fuzzer is given less of everything: it wants to see soon what nobody counts.
const FUZZED: bool = cfg!(fuzzing);

/// And a test does not want to wait.
const TESTED: bool = cfg!(any(fuzzing, test));

/// Elements of one tensor, at most: 4 GiB of singles. A graph that asks for more is refused before memory is taken.
pub(super) const MOST_ELEMENTS: usize = if FUZZED { 1 << 20 } else { 1 << 30 };

/// Bytes of the constants that are computed, whatever the file has.
pub(super) const ROOM: usize = if TESTED { 16 << 20 } else { 64 << 20 };

/// Bytes of all values of a run at one time while the graph serves, unless the operator says otherwise: 4 GiB.
pub(crate) const SERVED: usize = if FUZZED { 1 << 26 } else { 4 << 30 };

/// What an element is taken for before it is known how large it is: the widest one.
const WIDEST: usize = size_of::<f64>();

/// Elements of one tensor while a graph is tried.
const MOST_TRIED: usize = MOST_ELEMENTS >> 2;

/// Bytes of all values of a graph at one time, while it is tried.
const MOST_HELD: usize = if TESTED { 1 << 26 } else { 8 * MOST_ELEMENTS };

/// Dimensions of one tensor, at most.
pub(super) const MOST_DIMS: usize = 32;

/// Steps of one node's graphs while constants are computed, and all steps while a graph is tried: those of loops are what counts.
const STEPS_OF_CONSTANTS: usize = if TESTED { 1 << 10 } else { 1 << 16 };
const STEPS_OF_TRIALS: usize = if TESTED { 1 << 14 } else { 1 << 23 };

/// Products of two numbers that one step may sum up, likewise.
const WORK_OF_CONSTANTS: usize = if FUZZED { 1 << 26 } else { 1 << 36 };
const WORK_OF_TRIALS: usize = if FUZZED { 1 << 26 } else { 1 << 40 };

/// Elements of all inputs together that a graph is tried on.
pub(super) const MOST_GIVEN: usize = if FUZZED { 1 << 16 } else { 1 << 26 };

/// For how long constants are computed, and for how long a graph is tried; one step is always taken to its end.
const TIME_OF_CONSTANTS: Duration = Duration::from_secs(if FUZZED { 2 } else { 20 });
const TIME_OF_TRIALS: Duration = Duration::from_secs(if FUZZED { 4 } else { 60 });

/// What a graph may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    elements: usize,
    steps: usize,
    work: usize,
    bytes: usize,
    until: Option<Instant>,
    /// Bytes of the values that there are now.
    held: usize,
    /// Whether any of these was too little, where a graph that serves is given more.
    short: bool,
}

thread_local! {
    static CURRENT: Cell<Limits> = const { Cell::new(Limits::NONE) };
}

/// Puts back what was allowed before, even where what it was for panics.
struct Restore(Limits);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

impl Limits {
    /// For what is no run: one tensor is bounded, and no more.
    const NONE: Self = Self {
        elements: MOST_ELEMENTS,
        steps: usize::MAX,
        work: usize::MAX,
        bytes: usize::MAX,
        until: None,
        held: 0,
        short: false,
    };

    /// For a run that serves calls, and may hold so many bytes.
    pub(super) fn of_serving(bytes: usize) -> Self {
        Self { bytes, ..Self::NONE }
    }

    /// For the constants of a file.
    pub(super) fn of_constants() -> Self {
        let until = Instant::now().checked_add(TIME_OF_CONSTANTS);
        Self { steps: STEPS_OF_CONSTANTS, work: WORK_OF_CONSTANTS, bytes: MOST_HELD, until, ..Self::NONE }
    }

    /// For trials.
    pub(super) fn of_trials() -> Self {
        let until = Instant::now().checked_add(TIME_OF_TRIALS);
        let (elements, steps, work, bytes) = (MOST_TRIED, STEPS_OF_TRIALS, WORK_OF_TRIALS, MOST_HELD);
        Self { elements, steps, work, bytes, until, ..Self::NONE }
    }

    /// The same, with tensors of no more elements than so many.
    pub(super) fn with_elements(self, elements: usize) -> Self {
        Self { elements: self.elements.min(elements), ..self }
    }

    /// Whether there is no time left.
    pub(super) fn are_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Runs something that may take no more than this. Returns what it came to, and whether it would have taken more.
    pub(super) fn within<T>(self, run: impl FnOnce() -> T) -> (T, bool) {
        let restore = Restore(CURRENT.replace(self));
        let outcome = run();
        let short = CURRENT.get().short;
        drop(restore);
        (outcome, short)
    }
}

/// Takes note that less was allowed than a graph has when it serves.
fn fall_short() {
    CURRENT.set(Limits { short: true, ..CURRENT.get() });
}

/// The number of elements, if one tensor may have so many and there is memory left for it. Asked before memory is taken.
/// Dimensions of size 0 are no reason for others to be endless.
///
/// # Errors
/// Where it would be too large: that is due to the inputs, as what depends on none was computed when the graph was loaded.
pub(super) fn count(dims: &[usize]) -> Result<usize> {
    if dims.len() > MOST_DIMS {
        return Err(OpError::new(format!("{} dimensions are not supported, only up to {MOST_DIMS}", dims.len())));
    }
    let Limits { elements: most, bytes, held, .. } = CURRENT.get();
    let room = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim.max(1)));
    let elements = match room {
        Some(room) if room <= most => room,
        Some(room) if room <= MOST_ELEMENTS => {
            fall_short();
            let problem = format!("a tensor of shape {dims:?} has more than the {most} elements there are now");
            return Err(OpError::too_large(problem));
        }
        _ => {
            let problem = format!("a tensor of shape {dims:?} has more than {MOST_ELEMENTS} elements");
            return Err(OpError::too_large(problem));
        }
    };
    let asked = elements.saturating_mul(WIDEST);
    if asked > bytes.saturating_sub(held) {
        fall_short();
        return Err(OpError::too_large(format!(
            "a tensor of shape {dims:?} may take {asked} bytes beside the {held} that there are, and the graph may hold \
             {bytes} at one time"
        )));
    }
    Ok(if dims.contains(&0) { 0 } else { elements })
}

/// Checks what a step is about to do: the product of these numbers is how many products it sums up, or the like.
pub(super) fn work(factors: &[usize]) -> Result<()> {
    let work = factors.iter().fold(1_usize, |product, &factor| product.saturating_mul(factor));
    if work <= CURRENT.get().work {
        return Ok(());
    }
    fall_short();
    Err(OpError::new(format!("{work} products are too many to be tried")))
}

/// Counts a step.
pub(super) fn step() -> Result<()> {
    let mut limits = CURRENT.get();
    let left = limits.steps.checked_sub(1).filter(|_| !limits.are_over());
    let Some(left) = left else {
        fall_short();
        return Err(OpError::new("the graph takes too long to be tried"));
    };
    limits.steps = left;
    CURRENT.set(limits);
    Ok(())
}

/// The bytes that values of one run of a graph take, by slot: what is dropped with them is free again.
#[derive(Debug, Default)]
pub(super) struct Held {
    sizes: Vec<usize>,
    sum: usize,
}

impl Held {
    pub(super) fn new(slots: usize) -> Self {
        Self { sizes: vec![0; slots], sum: 0 }
    }

    /// Takes note of a value, or where it has `0` bytes that it is gone.
    ///
    /// # Errors
    /// Where there would be more than is allowed.
    pub(super) fn set(&mut self, slot: usize, bytes: usize) -> Result<()> {
        let old = self.sizes.get_mut(slot).map_or(0, |size| std::mem::replace(size, bytes));
        self.sum = (self.sum - old).saturating_add(bytes);
        let mut limits = CURRENT.get();
        limits.held = limits.held.saturating_sub(old).saturating_add(bytes);
        CURRENT.set(limits);
        if limits.held <= limits.bytes {
            return Ok(());
        }
        fall_short();
        let Limits { held, bytes, .. } = limits;
        Err(OpError::too_large(format!("its values take {held} bytes at one time, and the graph may hold {bytes}")))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let limits = CURRENT.get();
        CURRENT.set(Limits { held: limits.held.saturating_sub(self.sum), ..limits });
    }
}
