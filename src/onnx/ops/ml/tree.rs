//! Trees and forests, whether boosted or not.

use std::collections::{BTreeSet, HashMap};

use super::super::Family;
use super::ensemble::{Aggregate, Branch, Described, Ensemble, Mode, Precision, Vote};
use super::scores::{Labels, Post, classified, largest};
use super::{Rows, index, integers, numbers};
use crate::onnx::error::OpError;
use crate::onnx::node::{Call, Node, Outputs, one};
use crate::onnx::tensor::{Kind, Result, Tensor, count};
use crate::onnx::value::Value;
use crate::value::DType;

pub(super) const OPS: Family = &[
    ("TreeEnsembleClassifier", classifier),
    ("TreeEnsembleRegressor", regressor),
    ("TreeEnsemble", |call| {
        // What comes out is of the dtype that went in.
        let dtype = match call.inputs.first() {
            Some(Some(Value::Tensor(x))) if x.kind() == Kind::Float => x.dtype(),
            _ => DType::F32,
        };
        regression(call, newer, dtype)
    }),
];

/// Trees, and what becomes of their scores.
struct Regression {
    ensemble: Ensemble,
    base: Vec<f64>,
    post: Post,
}

fn regressor(call: &mut Call<'_>) -> Result<Outputs> {
    let make = |node: &Node| {
        let aggregate = match node.text("aggregate_function", "SUM") {
            "SUM" => Aggregate::Sum,
            "AVERAGE" => Aggregate::Average,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            other => return Err(OpError::new(format!("aggregate_function \"{other}\" is not supported"))),
        };
        let targets = index(node.int("n_targets", 1), "number of targets")?;
        let ensemble = older(node, "target", aggregate, targets)?;
        Ok(Regression { ensemble, base: base(node, targets)?, post: Post::of(node)? })
    };
    regression(call, make, DType::F32)
}

fn regression(call: &mut Call<'_>, make: fn(&Node) -> Result<Regression>, dtype: DType) -> Result<Outputs> {
    let rows = Rows::of(call)?;
    let Regression { ensemble, base, post } = call.node.compiled(make)?;
    let mut scores = ensemble.scores(&rows)?;
    let targets = ensemble.targets();
    if !base.is_empty() || *post != Post::Nothing {
        for row in scores.chunks_exact_mut(targets) {
            row.iter_mut().zip(base).for_each(|(score, base)| *score = rows.precision.sum(*score, *base));
            post.apply(row);
        }
    }
    one(Tensor::from_f64s(&scores, &[rows.count, targets], dtype, call.device)?)
}

/// Trees, and how their scores become labels.
struct Classification {
    ensemble: Ensemble,
    base: Vec<f64>,
    post: Post,
    labels: Labels,
    /// Of two classes the one that votes are for, where they are for one only.
    single: Option<usize>,
    /// Whether no vote is negative: then the votes for a single class are shares.
    shares: bool,
}

impl Classification {
    fn of(node: &Node) -> Result<Self> {
        let labels = Labels::of(node, "classlabels_int64s")?;
        let voted: BTreeSet<i64> = integers(node, "class_ids").iter().copied().collect();
        let single = voted.first().filter(|_| labels.len() == 2 && voted.len() == 1);
        Ok(Self {
            ensemble: older(node, "class", Aggregate::Sum, labels.len())?,
            base: base(node, labels.len())?,
            post: Post::of(node)?,
            single: single.map(|&class| index(class, "class")).transpose()?,
            shares: numbers(node, "class_weights")?.iter().all(|&weight| weight >= 0.0),
            labels: if labels.len() == 1 { labels.pair() } else { labels },
        })
    }

    /// Makes a row of scores what is answered; returns the class that is chosen.
    fn finish(&self, row: &mut [f64], precision: Precision) -> usize {
        if let (Some(class), [first, second]) = (self.single, &mut *row) {
            let score = if class == 0 { *first } else { *second };
            let score = precision.sum(score, self.base.last().copied().unwrap_or(0.0));
            [*first, *second] = self.post.pair(score, self.shares);
            return usize::from(score > self.post.threshold(self.shares));
        }
        row.iter_mut().zip(&self.base).for_each(|(score, base)| *score = precision.sum(*score, *base));
        let chosen = if let [score] = row { usize::from(*score > 0.0) } else { largest(row) };
        self.post.apply(row);
        chosen
    }
}

fn classifier(call: &mut Call<'_>) -> Result<Outputs> {
    let rows = Rows::of(call)?;
    let trees = call.node.compiled(Classification::of)?;
    let mut scores = trees.ensemble.scores(&rows)?;
    let chosen: Vec<usize> =
        scores.chunks_exact_mut(trees.ensemble.targets()).map(|row| trees.finish(row, rows.precision)).collect();
    classified(&trees.labels, &chosen, &scores, call.device)
}

/// What is added to each target: one value for all, or one for each.
fn base(node: &Node, targets: usize) -> Result<Vec<f64>> {
    let values = numbers(node, "base_values")?;
    count(&[targets])?;
    match values.len() {
        1 => Ok(vec![values[0]; targets]),
        0 => Ok(values),
        found if found == targets => Ok(values),
        found => Err(OpError::new(format!("{targets} base values were expected, found {found}"))),
    }
}

fn same_length(what: &str, lengths: &[usize]) -> Result<()> {
    match lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        true => Ok(()),
        false => Err(OpError::new(format!("the attributes {what}_* are of different lengths: {lengths:?}"))),
    }
}

fn mode(name: &str) -> Result<Mode> {
    let names = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"];
    let at = names.iter().position(|known| *known == name).or((name == "LEAF").then_some(Mode::Leaf as usize));
    let mode = at.and_then(|at| Mode::ALL.get(at).copied());
    mode.ok_or_else(|| OpError::new(format!("the node mode \"{name}\" is not supported")))
}

/// Trees whose nodes are named by tree and number. What leaves vote is in the attributes that start with `votes`.
fn older(node: &Node, votes: &str, aggregate: Aggregate, targets: usize) -> Result<Ensemble> {
    let of = |name: &str| integers(node, &format!("nodes_{name}"));
    let (trees, ids, features) = (of("treeids"), of("nodeids"), of("featureids"));
    let (yes, no, missing) = (of("truenodeids"), of("falsenodeids"), of("missing_value_tracks_true"));
    let (modes, splits) = (node.texts("nodes_modes").unwrap_or(&[]), numbers(node, "nodes_values")?);
    let lengths = [trees.len(), ids.len(), features.len(), yes.len(), no.len(), modes.len(), splits.len()];
    same_length("nodes", &lengths)?;
    let mut places: HashMap<(i64, i64), usize> = HashMap::with_capacity(trees.len());
    let mut roots = Vec::new();
    let mut known = BTreeSet::new();
    for (at, (&tree, &id)) in trees.iter().zip(ids).enumerate() {
        if places.insert((tree, id), at).is_some() {
            return Err(OpError::new(format!("tree {tree} has two nodes {id}")));
        }
        if known.insert(tree) {
            roots.push(at);
        }
    }
    let place = |tree: i64, id: i64| {
        let place = places.get(&(tree, id)).copied();
        place.ok_or_else(|| OpError::new(format!("tree {tree} has no node {id}")))
    };
    let mut cast = voted(node, votes, trees.len(), place)?;
    let mut described = Vec::with_capacity(trees.len());
    for at in 0..trees.len() {
        let mode = mode(&modes[at])?;
        described.push(if mode == Mode::Leaf {
            Described::Leaf(std::mem::take(&mut cast[at]))
        } else {
            Described::Branch(Branch {
                mode,
                feature: index(features[at], "feature")?,
                split: splits[at],
                members: Vec::new(),
                missing: missing.get(at).is_some_and(|&tracks| tracks != 0),
                next: [place(trees[at], yes[at])?, place(trees[at], no[at])?],
            })
        });
    }
    Ensemble::new(&described, &roots, aggregate, targets)
}

/// The votes of each of `nodes` nodes.
fn voted(node: &Node, votes: &str, nodes: usize, place: impl Fn(i64, i64) -> Result<usize>) -> Result<Vec<Vec<Vote>>> {
    let of = |name: &str| integers(node, &format!("{votes}_{name}"));
    let (trees, ids, targets) = (of("treeids"), of("nodeids"), of("ids"));
    let weights = numbers(node, &format!("{votes}_weights"))?;
    same_length(votes, &[trees.len(), ids.len(), targets.len(), weights.len()])?;
    let mut cast = vec![Vec::new(); nodes];
    for (at, weight) in weights.into_iter().enumerate() {
        cast[place(trees[at], ids[at])?].push(Vote { target: index(targets[at], "target")?, weight });
    }
    Ok(cast)
}

/// Trees whose nodes are named by their place, and leaves by theirs.
fn newer(node: &Node) -> Result<Regression> {
    let of = |name: &str| integers(node, &format!("nodes_{name}"));
    let (features, missing) = (of("featureids"), of("missing_value_tracks_true"));
    let (yes, no, yes_leaf, no_leaf) = (of("truenodeids"), of("falsenodeids"), of("trueleafs"), of("falseleafs"));
    let (modes, splits) = (numbers(node, "nodes_modes")?, numbers(node, "nodes_splits")?);
    let lengths = [features.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len(), modes.len(), splits.len()];
    same_length("nodes", &lengths)?;
    let (targets, weights) = (integers(node, "leaf_targetids"), numbers(node, "leaf_weights")?);
    same_length("leaf", &[targets.len(), weights.len()])?;
    let members = numbers(node, "membership_values")?;
    let mut members = members.split(|member| member.is_nan());
    // Leaves come after the nodes.
    let nodes = features.len();
    let child = |at: i64, leaf: i64| {
        let at = index(at, "node")?;
        match leaf != 0 {
            true => Ok(at.saturating_add(nodes)),
            false if at < nodes => Ok(at),
            false => Err(OpError::new(format!("the trees have no node {at}"))),
        }
    };
    let mut described = Vec::with_capacity(nodes + targets.len());
    for at in 0..nodes {
        let mode = Mode::ALL[..7].iter().find(|mode| f64::from(**mode as u8) == modes[at]).copied();
        let mode = mode.ok_or_else(|| OpError::new(format!("the node mode {} is not supported", modes[at])))?;
        let members = if mode == Mode::Member { members.next().unwrap_or(&[]).to_vec() } else { Vec::new() };
        described.push(Described::Branch(Branch {
            mode,
            feature: index(features[at], "feature")?,
            split: splits[at],
            members,
            missing: missing.get(at).is_some_and(|&tracks| tracks != 0),
            next: [child(yes[at], yes_leaf[at])?, child(no[at], no_leaf[at])?],
        }));
    }
    for (&target, &weight) in targets.iter().zip(&weights) {
        described.push(Described::Leaf(vec![Vote { target: index(target, "target")?, weight }]));
    }
    let roots: Result<Vec<usize>> = integers(node, "tree_roots").iter().map(|&root| index(root, "root")).collect();
    let aggregates = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    let aggregate = usize::try_from(node.int("aggregate_function", 1)).ok().and_then(|at| aggregates.get(at).copied());
    let aggregate = aggregate.ok_or_else(|| OpError::new("this aggregate_function is not supported"))?;
    let targets = index(node.int("n_targets", 1), "number of targets")?;
    let ensemble = Ensemble::new(&described, &roots?, aggregate, targets)?;
    Ok(Regression { ensemble, base: Vec::new(), post: Post::of(node)? })
}
