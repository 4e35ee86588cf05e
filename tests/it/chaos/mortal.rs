//! The runnable that everything happens to, on threads and in child processes alike.

use std::fs;
use std::path::Path;

use ekiden::prelude::*;
use ekiden::value::Array;
use serde::{Deserialize, Serialize};

use crate::isolation::obey;

/// Turns words around and numbers over; is guilty where its input is, and meets with what has been laid in its folder.
pub struct Mortal(Fate);

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Fate {
    folder: String,
}

/// What the next batch does, once, whoever is in it.
pub const STRIKE: &str = "strike";
/// The number of the process whose batch did so.
pub const STRUCK: &str = "struck";
/// What the next to be opened does, once.
pub const DOOR: &str = "door";

impl Runnable for Mortal {
    type Params = Fate;

    fn open(ctx: &OpenContext<Fate>) -> Result<Self, OpenError> {
        let fate = ctx.params().clone();
        match fate.take(DOOR) {
            Some(order) => obey(&order).map(|_| Self(fate)).map_err(OpenError::new),
            None => Ok(Self(fate)),
        }
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("reverse", Self::reverse).batchable().input("words").output("reversed");
        methods
            .add("negate", Self::negate)
            .batchable()
            .input(TensorSpec::f32("x", [None, Some(WIDTH)]))
            .output(TensorSpec::f32("y", [None, Some(WIDTH)]));
    }
}

/// Numbers in a row: too many for a message between processes, so that they pass through shared memory.
pub const WIDTH: usize = 2_500;

impl Mortal {
    fn reverse(&self, words: Vec<String>) -> Result<Rows<Vec<String>>, MethodError> {
        self.0.strike()?;
        let mut rows = Vec::with_capacity(words.len());
        for word in words {
            rows.push(match word.split_once(' ') {
                Some(("ok", _)) => Ok(reversed(&word)),
                Some(("row", _)) => Err(MethodError::invalid_input("it cannot be turned around")),
                Some((peril, _)) => Ok(obey(peril)?),
                None => Ok(obey(&word)?),
            });
        }
        Ok(rows.into_iter().collect())
    }

    fn negate(&self, x: Tensor<2>) -> Result<Tensor<2>, MethodError> {
        self.0.strike()?;
        Ok(-x)
    }
}

pub fn reversed(word: &str) -> String {
    word.chars().rev().collect()
}

/// The numbers of one call, and its answer where `sign` is -1.
pub fn numbers(first: usize, rows: usize, sign: f32) -> Array {
    let numbers: Vec<f32> = (0..rows * WIDTH).map(|at| sign * ((first + at) % 9_973) as f32).collect();
    Array::new(numbers, [rows, WIDTH]).expect("it fits")
}

impl Fate {
    /// What lies there; only one finds it.
    fn take(&self, name: &str) -> Option<String> {
        let found = Path::new(&self.folder).join(name);
        let own = found.with_extension(std::process::id().to_string());
        fs::rename(found, &own).ok()?;
        let order = fs::read_to_string(&own).ok();
        fs::remove_file(own).ok()?;
        order
    }

    fn strike(&self) -> Result<(), MethodError> {
        let Some(order) = self.take(STRIKE) else { return Ok(()) };
        put(Path::new(&self.folder), STRUCK, &std::process::id().to_string());
        obey(&order).map(drop)
    }
}

/// Whoever finds the file finds all of it.
pub fn put(folder: &Path, name: &str, text: &str) {
    let draft = folder.join(format!("{name}-draft"));
    fs::write(&draft, text).expect("a file");
    fs::rename(draft, folder.join(name)).expect("a file");
}
