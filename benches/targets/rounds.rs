//! Contenders take turns, round by round; what each found in each round.

use std::error::Error;

use serde::Serialize;

use crate::sample::{Measured, Sample, Time};
use crate::timing::Plan;

/// Somebody to be measured.
pub(crate) struct Contender<'a> {
    name: String,
    measure: Box<dyn FnMut(Time) -> Measured + 'a>,
}

/// What one contender found; a sample for each round.
#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: impl Into<String>, measure: impl FnMut(Time) -> Measured + 'a) -> Self {
        Self { name: name.into(), measure: Box::new(measure) }
    }
}

/// Measures each contender once a round, and returns their series in the same order.
pub(crate) fn rounds(plan: &Plan, mut contenders: Vec<Contender<'_>>) -> Result<Vec<Series>, Box<dyn Error>> {
    let mut series: Vec<Series> =
        contenders.iter().map(|contender| Series { name: contender.name.clone(), samples: Vec::new() }).collect();
    for round in 0..plan.rounds {
        let warm_up = if round == 0 { plan.first_warm_up } else { plan.warm_up };
        let time = Time { warm_up, measure: plan.measure };
        // The first of a pair finds the caches cold: take turns in that as well.
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let Contender { name, measure } = &mut contenders[index];
            series[index].samples.push(measure(time).map_err(|error| format!("{name}: {error}"))?);
        }
    }
    Ok(series)
}

impl Series {
    /// A number of each round.
    pub(crate) fn each(&self, of: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(of).collect()
    }

    /// A comparison with `other` in each round.
    pub(crate) fn with(&self, other: &Self, compare: impl Fn(&Sample, &Sample) -> f64) -> Vec<f64> {
        self.samples.iter().zip(&other.samples).map(|(one, other)| compare(one, other)).collect()
    }

    /// The rate as a share of `other`'s, in each round.
    pub(crate) fn rate_by(&self, other: &Self) -> Vec<f64> {
        self.with(other, |one, other| one.per_s / other.per_s)
    }
}
