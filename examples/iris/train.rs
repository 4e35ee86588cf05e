//! Trains the iris classifier and writes its weights as safetensors; with `--save`, into the model store.
//!
//! ```text
//! cargo run --example iris_train -- --save
//! ```
//!
//! The seeds are fixed: on one machine two runs write the same bytes. A CPU with other vector units may round
//! differently in the last bits.

mod data;
mod model;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use data::{Flower, SPECIES, Split};
use model::{FEATURES, Mlp};

const SEED: u64 = 1936;
const LEARNING_RATE: f64 = 0.02;
const HELD_OUT_PER_CLASS: usize = 10;

/// Fewer right answers than this on the held-out flowers is a broken training, not bad luck: the seed is fixed.
const LEAST_ACCURACY: f64 = 0.93;

/// Train the iris classifier and write its weights.
#[derive(Parser)]
struct Args {
    /// Where to write the weights.
    #[arg(long, value_name = "PATH", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/iris/iris.safetensors"))]
    out: PathBuf,
    /// Save it in the model store instead, for runners with `model = "iris_clf:latest"`.
    #[arg(long)]
    save: bool,
    /// How often to go through the training flowers.
    #[arg(long, value_name = "N", default_value_t = 200)]
    epochs: u64,
}

fn main() -> ExitCode {
    match train(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train(args: &Args) -> Result<(), Box<dyn Error>> {
    let Split { train, held_out } = data::split(data::parse(include_str!("iris.csv"))?, HELD_OUT_PER_CLASS, SEED);

    let device = Device::flex();
    let mlp = fit(&train, args.epochs, &device)?;
    let bytes = to_safetensors(&mlp)?;

    // Judge what will be served, which is what the file says.
    let served = Mlp::load(&bytes, &device)?;
    let accuracy = data::accuracy(&predict(&served, &held_out)?, &classes(&held_out));
    println!("accuracy on {} held-out flowers: {accuracy:.3}", held_out.len());
    if accuracy < LEAST_ACCURACY {
        return Err(format!("accuracy {accuracy:.3} is below {LEAST_ACCURACY}: nothing was written").into());
    }

    if args.save {
        let save = ekiden::models::save("iris_clf")?.metadata("accuracy", accuracy);
        let model = save.write(|folder| std::fs::write(folder.join("weights.safetensors"), bytes))?;
        println!("saved {model}");
        return Ok(());
    }
    std::fs::write(&args.out, bytes).map_err(|error| format!("cannot write {}: {error}", args.out.display()))?;
    println!("wrote {}", args.out.display());
    Ok(())
}

/// Trains on all of `flowers` at each step: so few need no batches.
fn fit(flowers: &[Flower], epochs: u64, device: &Device) -> Result<Mlp, Box<dyn Error>> {
    device.seed(SEED);
    let scale = Standardisation::of(features(flowers, device));

    // The layers inherit the device's autodiff; the scale above and the result below are plain tensors.
    let learning = device.clone().autodiff();
    let inputs = scale.apply(features(flowers, &learning));
    let targets = targets(flowers, &learning);
    let loss = CrossEntropyLossConfig::new().init(&learning);
    let mut optimizer = AdamConfig::new().init();
    let mut mlp = Mlp::new(&learning);

    let bar = ProgressBar::new(epochs)
        .with_style(ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} epochs  {msg}")?);
    for _ in 0..epochs {
        let loss = loss.forward(mlp.forward(inputs.clone()), targets.clone());
        bar.set_message(format!("loss {:.4}", loss.clone().try_into_scalar::<f32>()?));
        let gradients = GradientsParams::from_grads(loss.backward(), &mlp);
        mlp = optimizer.step(LEARNING_RATE, mlp, gradients);
        bar.inc(1);
    }
    bar.finish();
    Ok(Mlp { hidden: scale.fold_into(mlp.hidden.valid()), output: mlp.output.valid() })
}

/// What brings each feature to mean 0 and deviation 1; `[1, 4]` each.
struct Standardisation {
    mean: Tensor<2>,
    deviation: Tensor<2>,
}

impl Standardisation {
    fn of(features: Tensor<2>) -> Self {
        let (variance, mean) = features.var_mean(0);
        Self { mean, deviation: variance.sqrt() }
    }

    fn apply(&self, features: Tensor<2>) -> Tensor<2> {
        let device = features.device();
        (features - self.mean.clone().to_device(&device)) / self.deviation.clone().to_device(&device)
    }

    /// The layer that does to raw features what `layer` does to standardised ones:
    /// `(x - m) / d · W + b  =  x · (W / d) + (b - m · (W / d))`, with row i of W divided by the deviation of feature i.
    fn fold_into(&self, layer: Linear) -> Linear {
        let weight = layer.weight.val() / self.deviation.clone().reshape([FEATURES, 1]);
        let shift = self.mean.clone().matmul(weight.clone()).squeeze_dim::<1>(0);
        let bias = layer.bias.map(|bias| Param::from_tensor(bias.val() - shift));
        Linear { weight: Param::from_tensor(weight), bias }
    }
}

fn features(flowers: &[Flower], device: &Device) -> Tensor<2> {
    let numbers: Vec<f32> = flowers.iter().flat_map(|flower| flower.features).collect();
    Tensor::from_data(TensorData::new(numbers, [flowers.len(), FEATURES]), device)
}

fn targets(flowers: &[Flower], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i64> = flowers.iter().map(|flower| flower.class as i64).collect();
    Tensor::from_data(TensorData::new(numbers, [flowers.len()]), device)
}

fn classes(flowers: &[Flower]) -> Vec<usize> {
    flowers.iter().map(|flower| flower.class).collect()
}

fn predict(mlp: &Mlp, flowers: &[Flower]) -> Result<Vec<usize>, Box<dyn Error>> {
    let device = mlp.hidden.weight.device();
    let winners = mlp.forward(features(flowers, &device)).argmax(1).try_into_data_as::<i64>()?;
    Ok(winners.as_slice::<i64>()?.iter().map(|&class| class as usize).collect())
}

fn to_safetensors(mlp: &Mlp) -> Result<Vec<u8>, Box<dyn Error>> {
    // The store writes its metadata in the order of a randomly seeded map: with one entry there is one order.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().metadata("classes", SPECIES.join(","));
    mlp.save_into(&mut store)?;
    Ok(store.get_bytes()?)
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;

    use super::*;
    use crate::model::{LoadError, Mismatch};

    fn trained() -> Mlp {
        Mlp::load(include_bytes!("iris.safetensors"), &Device::flex()).expect("the weights in the repository load")
    }

    #[test]
    fn the_data_set_is_fishers() {
        let flowers = data::parse(include_str!("iris.csv")).unwrap();
        assert_eq!(flowers.len(), 150);
        assert!((0..3).all(|class| flowers.iter().filter(|flower| flower.class == class).count() == 50));
        // The two that the UCI copy has wrong.
        assert_eq!(flowers[34].features, [4.9, 3.1, 1.5, 0.2]);
        assert_eq!(flowers[37].features, [4.9, 3.6, 1.4, 0.1]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = data::parse("header\n5.1,3.5,1.4,0.2,setosa\n5.1,3.5,1.4,rosa\n").unwrap_err();
        assert!(error.to_string().starts_with("line 3: "), "{error}");
    }

    #[test]
    fn the_split_is_stratified_and_loses_nobody() {
        let Split { train, held_out } = data::split(data::parse(include_str!("iris.csv")).unwrap(), 10, SEED);
        assert_eq!((train.len(), held_out.len()), (120, 30));
        assert!((0..3).all(|class| held_out.iter().filter(|flower| flower.class == class).count() == 10));
    }

    #[test]
    fn accuracy_is_the_share_of_right_answers() {
        assert_eq!(data::accuracy(&[0, 1, 2, 2], &[0, 1, 2, 1]), 0.75);
        assert_eq!(data::accuracy(&[], &[]), 0.0);
    }

    #[test]
    fn a_textbook_setosa_is_one() {
        let logits = trained().forward(Tensor::from_data([[5.1, 3.5, 1.4, 0.2]], &Device::flex()));
        let probabilities = softmax(logits, 1).into_data_as::<f32>();
        let setosa = probabilities.view::<f32>()[&[0, 0]];
        assert!(setosa > 0.99, "{setosa}");
    }

    #[test]
    fn folding_changes_no_logit() {
        let device = Device::flex();
        let flowers = data::parse(include_str!("iris.csv")).unwrap();
        let scale = Standardisation::of(features(&flowers, &device));
        let mlp = trained();
        let folded = Mlp { hidden: scale.fold_into(mlp.hidden.clone()), output: mlp.output.clone() };

        let apart = mlp.forward(scale.apply(features(&flowers, &device)));
        let together = folded.forward(features(&flowers, &device));
        let difference = (apart - together).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-4, "{difference}");
    }

    /// The seed is the process's: that no other test draws random numbers is what makes this one certain.
    #[test]
    fn training_repeats_itself() {
        let flowers = data::parse(include_str!("iris.csv")).unwrap();
        let bytes = || to_safetensors(&fit(&flowers, 5, &Device::flex()).unwrap()).unwrap();
        assert!(bytes() == bytes(), "two trainings gave different weights");
    }

    #[test]
    fn foreign_weights_are_refused_by_name() {
        let device = Device::flex();
        let mut store = SafetensorsStore::from_bytes(None).with_key_remapping("^hidden", "first");
        trained().save_into(&mut store).unwrap();
        let Err(LoadError::Mismatch(Mismatch { missing, unexpected, unfit })) =
            Mlp::load(&store.get_bytes().unwrap(), &device)
        else {
            panic!("weights with other names were accepted");
        };
        assert_eq!(missing, ["hidden.bias", "hidden.weight"]);
        assert_eq!(unexpected, ["first.bias", "first.weight"]);
        assert!(unfit.is_empty());
    }

    #[test]
    fn weights_of_another_shape_are_refused() {
        let device = Device::flex();
        let mut other = trained();
        other.hidden.weight = Param::from_tensor(Tensor::zeros([3, 16], &device));
        let error = Mlp::load(&to_safetensors(&other).unwrap(), &device).unwrap_err().to_string();
        assert_eq!(
            error,
            "the weights are of another network: unfit hidden.weight of shape [3, 16] in place of [4, 16]"
        );
    }

    #[test]
    fn bytes_that_are_no_weights_are_refused() {
        assert!(matches!(Mlp::load(b"not safetensors", &Device::flex()), Err(LoadError::Format(_))));
    }
}
