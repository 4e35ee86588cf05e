//! Boxes in images.

use super::Family;
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Outputs, one};
use crate::onnx::tensor::{Result, Tensor, work};

pub(super) const OPS: Family = &[("NonMaxSuppression", non_max_suppression)];

/// Where a box begins and ends in both dimensions.
#[derive(Clone, Copy, Debug)]
struct Area {
    low: [f64; 2],
    high: [f64; 2],
}

impl Area {
    /// Two opposite corners, or with `centred` the centre and the size.
    fn of(numbers: &[f64], centred: bool) -> Self {
        let axis = |at: usize| match (numbers[at], numbers[at + 2]) {
            (centre, size) if centred => (centre - size / 2.0, centre + size / 2.0),
            (a, b) => (a.min(b), a.max(b)),
        };
        let (first, second) = (axis(0), axis(1));
        Self { low: [first.0, second.0], high: [first.1, second.1] }
    }

    fn size(&self) -> f64 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// What both share of what either covers.
    fn overlap(&self, other: &Self) -> f64 {
        let side = |at: usize| (self.high[at].min(other.high[at]) - self.low[at].max(other.low[at])).max(0.0);
        let (shared, own, others) = (side(0) * side(1), self.size(), other.size());
        let either = own + others - shared;
        if own > 0.0 && others > 0.0 && either > 0.0 { shared / either } else { 0.0 }
    }
}

/// Of boxes that overlap, those with the best scores: `[found, 3]`, each with its image, class and box.
fn non_max_suppression(call: &mut Call<'_>) -> Result<Outputs> {
    let centred = call.node.flag("center_point_box", false);
    let (boxes, scores) = (call.tensor(0)?.of_rank(3, "boxes")?, call.tensor(1)?.of_rank(3, "scores")?);
    let (dims, of) = (boxes.dims(), scores.dims());
    if dims[0] != of[0] || dims[1] != of[2] || dims[2] != 4 {
        return Err(OpError::caller(format!("boxes of shape {dims:?} do not fit scores of shape {of:?}")));
    }
    let most = call.number(2)?.map_or(0, |most| most.max(0.0) as usize);
    let (shared, least) = (call.number(3)?.unwrap_or(0.0), call.number(4)?);
    let (images, classes, count) = (of[0], of[1], of[2]);
    work(&[images, classes, count, count.min(most)])?;
    let areas: Vec<Area> = boxes.floats()?.chunks_exact(4).map(|numbers| Area::of(numbers, centred)).collect();
    let scores = scores.floats()?;
    let mut found: Vec<i64> = Vec::new();
    for line in 0..images * classes {
        let (image, class) = (line / classes, line % classes);
        let areas = &areas[image * count..][..count];
        for chosen in best(areas, &scores[line * count..][..count], most, shared, least) {
            found.extend([image, class, chosen].map(|index| index as i64));
        }
    }
    let rows = found.len() / 3;
    one(Tensor::new(found, &[rows, 3], call.device)?)
}

/// The best of boxes that share more than `shared` with each other, best first; of equal scores the first box.
fn best(areas: &[Area], scores: &[f64], most: usize, shared: f64, least: Option<f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..areas.len()).filter(|&at| least.is_none_or(|least| scores[at] > least)).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut chosen: Vec<usize> = Vec::new();
    for at in order {
        if chosen.len() >= most {
            break;
        }
        if chosen.iter().all(|&other| areas[at].overlap(&areas[other]) <= shared) {
            chosen.push(at);
        }
    }
    chosen
}
