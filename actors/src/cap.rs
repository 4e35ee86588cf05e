//! How many rows a batch may have, where its device has run out of memory: learned for each shape of input.

/// How many shapes are remembered; of more, the one that was capped first is forgotten.
const SHAPES: usize = 16;

/// So many full batches have to succeed before a cap is doubled; twice as many after each time that this failed.
const PROBE_AFTER: u32 = 16;

/// The most times that number is doubled.
const MOST_DOUBLINGS: u32 = 8;

/// A limit that a device's memory has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// The shape, as `Worker::shape` numbers it.
    pub shape: u64,
    /// The most rows in a batch of it, at least 1.
    pub rows: usize,
}

/// The caps of one method.
#[derive(Debug, Default)]
pub(crate) struct Caps(Vec<Learned>);

#[derive(Debug)]
struct Learned {
    cap: Cap,
    /// The most rows that have succeeded, and that have not failed since.
    good: usize,
    /// How many full batches have succeeded since the cap was set.
    full: u32,
    /// How often the cap was doubled, and that turned out to be too much.
    failures: u32,
    is_probe: bool,
}

impl Caps {
    /// The most rows in a batch of `shape`, where the device has set a limit.
    pub(crate) fn of(&self, shape: u64) -> Option<usize> {
        self.0.iter().find(|learned| learned.cap.shape == shape).map(|learned| learned.cap.rows)
    }

    pub(crate) fn all(&self) -> Vec<Cap> {
        self.0.iter().map(|learned| learned.cap).collect()
    }

    /// A batch of `rows` rows was too large; how many the next ones may have: half as many, or as many as are known to
    /// be good. At least 1.
    pub(crate) fn failed(&mut self, shape: u64, rows: usize) -> usize {
        let at = self.0.iter().position(|learned| learned.cap.shape == shape).unwrap_or_else(|| {
            if self.0.len() == SHAPES {
                self.0.remove(0);
            }
            let cap = Cap { shape, rows };
            self.0.push(Learned { cap, good: 0, full: 0, failures: 0, is_probe: false });
            self.0.len() - 1
        });
        let learned = &mut self.0[at];
        // One that was dispatched before the cap was set says nothing new.
        if rows <= learned.cap.rows {
            learned.failures += u32::from(learned.is_probe);
            learned.is_probe = false;
            learned.good = learned.good.min(rows - 1);
            learned.cap.rows = (rows / 2).max(learned.good).max(1);
            learned.full = 0;
        }
        learned.cap.rows
    }

    /// A batch of `rows` rows has run. After enough that were as large as the cap allows, more are tried: twice as many,
    /// up to `most`, where nothing is left of the cap.
    pub(crate) fn succeeded(&mut self, shape: u64, rows: usize, most: usize) {
        let Some(at) = self.0.iter().position(|learned| learned.cap.shape == shape) else { return };
        let learned = &mut self.0[at];
        learned.good = learned.good.max(rows);
        // Calls join a batch whole, so that a full one may have fewer rows; it is one if a second could not join it.
        if rows * 2 <= learned.cap.rows {
            return;
        }
        learned.full += 1;
        if learned.full < PROBE_AFTER << learned.failures.min(MOST_DOUBLINGS) {
            return;
        }
        learned.full = 0;
        learned.is_probe = true;
        learned.cap.rows *= 2;
        if learned.cap.rows > most && learned.good >= most {
            self.0.remove(at);
        } else {
            learned.cap.rows = learned.cap.rows.min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: u64 = 7;

    /// Runs batches of as many rows as may be on a device with room for `memory` rows; how many were too large.
    fn run(caps: &mut Caps, memory: usize, most: usize, batches: usize) -> usize {
        let mut too_large = 0;
        for _ in 0..batches {
            let rows = caps.of(SHAPE).unwrap_or(most);
            if rows > memory {
                too_large += 1;
                assert!(caps.failed(SHAPE, rows) < rows, "the next one is smaller");
            } else {
                caps.succeeded(SHAPE, rows, most);
            }
        }
        too_large
    }

    #[test]
    fn a_failure_halves_and_many_successes_double_again() {
        let mut caps = Caps::default();
        assert_eq!(caps.of(SHAPE), None);
        assert_eq!(caps.failed(SHAPE, 64), 32);
        assert_eq!(caps.failed(SHAPE, 64), 32, "from before the cap");
        assert_eq!(caps.failed(SHAPE, 32), 16);
        assert_eq!(caps.of(8), None, "another shape");
        run(&mut caps, 16, 64, PROBE_AFTER as usize);
        assert_eq!(caps.of(SHAPE), Some(32), "a probe");
        run(&mut caps, 16, 64, 1);
        assert_eq!(caps.of(SHAPE), Some(16));
        run(&mut caps, 16, 64, 2 * PROBE_AFTER as usize - 1);
        assert_eq!(caps.of(SHAPE), Some(16), "more patience");
        run(&mut caps, 64, 64, 1);
        assert_eq!(caps.of(SHAPE), Some(32));
        run(&mut caps, 64, 64, 1_000);
        assert_eq!(caps.of(SHAPE), None, "nothing is left of it");
        assert_eq!(caps.failed(SHAPE, 1), 1);
    }

    #[test]
    fn small_batches_prove_nothing() {
        let mut caps = Caps::default();
        caps.failed(SHAPE, 64);
        (0..1_000).for_each(|_| caps.succeeded(SHAPE, 16, 64));
        assert_eq!(caps.of(SHAPE), Some(32));
        (0..PROBE_AFTER).for_each(|_| caps.succeeded(SHAPE, 17, 64));
        assert_eq!(caps.of(SHAPE), Some(64));
    }

    proptest! {
        #[test]
        fn the_cap_settles_within_half_of_what_fits(memory in 1usize..500, most in 1usize..500) {
            let mut caps = Caps::default();
            // As often as it takes to halve, and then for probes, which become rare.
            let too_large = run(&mut caps, memory, most, 10_000);
            prop_assert!(too_large <= most.ilog2() as usize + 12, "{too_large} batches were too large");
            if let Some(rows) = caps.of(SHAPE) {
                prop_assert!(memory < most && rows <= 2 * memory && 2 * rows > memory.min(most), "{rows} rows");
            } else {
                prop_assert!(memory >= most);
            }
        }

        #[test]
        fn caps_are_few_and_never_zero(steps in prop::collection::vec((0u64..40, 1usize..100, any::<bool>()), 0..400)) {
            let mut caps = Caps::default();
            for (shape, rows, fits) in steps {
                if fits {
                    caps.succeeded(shape, rows, 100);
                } else {
                    prop_assert!(caps.failed(shape, rows) >= 1);
                }
                prop_assert!(caps.all().len() <= SHAPES && caps.all().iter().all(|cap| (1..=100).contains(&cap.rows)));
            }
        }
    }
}
