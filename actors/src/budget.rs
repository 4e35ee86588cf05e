//! How soon a failed executor is rebuilt, and when to stop trying.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::RestartLimits;

/// What to do about an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Rebuild after this delay.
    After(Duration),
    /// The budget is spent: the runner has failed.
    Exhausted,
}

/// The restarts of one runner within its window.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: RestartLimits,
    recent: VecDeque<Instant>,
}

impl Budget {
    pub(crate) fn new(limits: RestartLimits) -> Self {
        Self { limits, recent: VecDeque::new() }
    }

    /// Forgets all restarts.
    pub(crate) fn clear(&mut self) {
        self.recent.clear();
    }

    /// When each restart was granted that counted when this was last asked for a verdict.
    pub(crate) fn recent(&self) -> impl Iterator<Item = Instant> {
        self.recent.iter().copied()
    }

    /// Restarts that still count at `now`.
    pub(crate) fn spent(&mut self, now: Instant) -> usize {
        while self.recent.front().is_some_and(|&first| now.saturating_duration_since(first) >= self.limits.window) {
            self.recent.pop_front();
        }
        self.recent.len()
    }

    /// Forgets the last `restarts` restarts: they were a call's fault.
    pub(crate) fn forgive(&mut self, restarts: usize) {
        self.recent.truncate(self.recent.len().saturating_sub(restarts));
    }

    /// Decides about an exit at `now`. The n-th restart in the window is delayed by `backoff · 2^(n-1)`, at most
    /// `max_backoff`; `jitter`, from 0 to 1, takes off up to half of that, so that runners that fell together do not
    /// rise together.
    pub(crate) fn on_exit(&mut self, now: Instant, jitter: f64) -> Restart {
        let spent = self.spent(now);
        if spent >= self.limits.max_restarts as usize {
            return Restart::Exhausted;
        }
        self.recent.push_back(now);
        let doublings = u32::try_from(spent).unwrap_or(u32::MAX).min(31);
        let delay = self.limits.backoff.saturating_mul(1 << doublings).min(self.limits.max_backoff);
        Restart::After(delay.saturating_sub(delay.mul_f64(jitter.clamp(0.0, 1.0) / 2.0)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(max_restarts: u32) -> Budget {
        Budget::new(RestartLimits {
            max_restarts,
            window: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            ..RestartLimits::default()
        })
    }

    fn after(ms: u64) -> Restart {
        Restart::After(Duration::from_millis(ms))
    }

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let mut budget = budget(10);
        let now = Instant::now();
        let delays: Vec<_> = (0..6).map(|_| budget.on_exit(now, 0.0)).collect();
        assert_eq!(delays, [after(100), after(200), after(400), after(800), after(1000), after(1000)]);
    }

    #[test]
    fn jitter_takes_off_up_to_half() {
        let now = Instant::now();
        assert_eq!(budget(1).on_exit(now, 1.0), after(50));
        assert_eq!(budget(1).on_exit(now, 0.5), after(75));
    }

    #[test]
    fn the_budget_is_spent_and_comes_back_when_the_window_has_passed() {
        let mut budget = budget(2);
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(budget.on_exit(at(0), 0.0), after(100));
        assert_eq!(budget.on_exit(at(30), 0.0), after(200));
        assert_eq!(budget.on_exit(at(59), 0.0), Restart::Exhausted);
        assert_eq!(budget.on_exit(at(60), 0.0), after(200), "the first restart no longer counts");
        assert_eq!(budget.spent(at(89)), 2);
        assert_eq!(budget.spent(at(120)), 0);
    }

    #[test]
    fn no_restarts_at_all() {
        assert_eq!(budget(0).on_exit(Instant::now(), 0.0), Restart::Exhausted);
    }

    proptest! {
        #[test]
        fn restarts_stay_within_budget_and_delays_within_bounds(
            max_restarts in 0u32..8, window in 1u64..200, backoff in 0u64..50, max_backoff in 0u64..500,
            exits in prop::collection::vec((0u64..100, 0.0..=1.0), 1..60),
        ) {
            let ms = Duration::from_millis;
            let limits = RestartLimits {
                max_restarts, window: ms(window), backoff: ms(backoff), max_backoff: ms(max_backoff),
                ..RestartLimits::default()
            };
            let mut budget = Budget::new(limits.clone());
            let mut now = Instant::now();
            let mut granted: Vec<Instant> = Vec::new();
            for (pause, jitter) in exits {
                now += ms(pause);
                granted.retain(|&at| now - at < limits.window);
                match budget.on_exit(now, jitter) {
                    Restart::Exhausted => prop_assert_eq!(granted.len(), max_restarts as usize, "too early, or too late"),
                    Restart::After(delay) => {
                        let doublings = u32::try_from(granted.len()).expect("a few");
                        let full = (limits.backoff * 2u32.pow(doublings)).min(limits.max_backoff);
                        prop_assert!(delay <= full && delay >= full / 2, "{delay:?} of {full:?}");
                        granted.push(now);
                        prop_assert!(granted.len() <= max_restarts as usize, "over budget");
                    }
                }
            }
        }
    }

    #[test]
    fn no_limits_are_too_large() {
        let (max_restarts, longest) = (40, Duration::MAX);
        let limits =
            RestartLimits { max_restarts, window: longest, backoff: longest, max_backoff: longest, max_abandoned: 0 };
        let mut budget = Budget::new(limits);
        for n in 0..max_restarts {
            let jitter = f64::from(n % 2);
            assert!(matches!(budget.on_exit(Instant::now(), jitter), Restart::After(delay) if delay >= longest / 2));
        }
    }
}
