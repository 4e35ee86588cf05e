use std::fs;
use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::store::SafetensorsStoreError;
use burn::tensor::{Device, Tensor};

use super::*;
use crate::models::Store;

/// Three in, two out.
#[derive(Module, Debug)]
struct Net {
    layer: Linear,
}

impl Net {
    fn new() -> Self {
        Self { layer: LinearConfig::new(3, 2).init(&Device::flex()) }
    }

    /// Its weight in rows of `[in, out]`, and its bias.
    fn numbers(&self) -> (Vec<f32>, Vec<f32>) {
        let weight: Tensor<2> = self.layer.weight.val();
        let bias = self.layer.bias.as_ref().unwrap().val();
        let numbers = |data: burn::tensor::TensorData| data.as_slice::<f32>().unwrap().to_vec();
        (numbers(weight.into_data()), numbers(bias.into_data()))
    }

    /// With weights that are no others'.
    fn known() -> Self {
        let device = Device::flex();
        let mut net = Self::new();
        net.layer.weight = Param::from_tensor(Tensor::from_data([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], &device));
        net.layer.bias = Some(Param::from_tensor(Tensor::from_data([7.0, 8.0], &device)));
        net
    }
}

/// A store of a test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!(
            "ekiden-weights-{}-{name}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        )))
    }

    /// Saves a module with its keys renamed.
    fn save(&self, net: &Net, renames: &[(&str, &str)]) -> Model {
        let write = |folder: &Path| {
            let store = SafetensorsStore::from_file(folder.join("weights.safetensors"));
            let rename = |store: SafetensorsStore, (from, to): &(&str, &str)| store.with_key_remapping(from, *to);
            net.save_into(&mut renames.iter().fold(store, rename))
        };
        Store::at(&self.0).save("net").write(write).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let scratch = Scratch::new("loaded");
    let model = scratch.save(&Net::known(), &[]);
    let mut net = Net::new();
    model.weights().load_into(&mut net).unwrap();
    assert_eq!(net.numbers(), Net::known().numbers());
    // The file itself says what wrote it.
    assert_eq!(model.manifest().frameworks["burn"], "0.22.1");
}

#[test]
fn keys_are_renamed_in_order() {
    let scratch = Scratch::new("renamed");
    let model = scratch.save(&Net::known(), &[("^layer", "model.first")]);
    let mut net = Net::new();
    model.weights().rename("^model\\.(.*)$", "$1").rename("^first\\.", "layer.").load_into(&mut net).unwrap();
    assert_eq!(net.numbers(), Net::known().numbers());
}

#[test]
fn everything_that_does_not_fit_is_listed() {
    let scratch = Scratch::new("listed");
    let model = scratch.save(&Net::known(), &[("^layer", "model.layer")]);
    let Err(WeightsError::Mismatch { mismatch, .. }) = model.weights().load_into(&mut Net::new()) else {
        panic!("weights of other names were loaded");
    };
    assert_eq!(mismatch.missing, ["layer.bias", "layer.weight"]);
    assert_eq!(mismatch.unexpected, ["model.layer.bias", "model.layer.weight"]);
    assert_eq!(
        mismatch.to_string(),
        "missing layer.bias, layer.weight; unexpected model.layer.bias, model.layer.weight; without \"model.\" before \
         them, all are there: .rename(\"^model\\\\.\", \"\")"
    );

    let mut other = Net::known();
    other.layer.weight = Param::from_tensor(Tensor::zeros([3, 5], &Device::flex()));
    let model = scratch.save(&other, &[("bias", "b")]);
    let error = model.weights().load_into(&mut Net::new()).unwrap_err().to_string();
    let all = "missing layer.bias; unexpected layer.b; unfit layer.weight of shape [3, 5] in place of [3, 2]";
    assert!(error.ends_with(all), "{error}");
    let weights = model.weights().allow_missing().allow_unexpected();
    let error = weights.load_into(&mut Net::new()).unwrap_err().to_string();
    assert!(error.ends_with("do not fit: unfit layer.weight of shape [3, 5] in place of [3, 2]"), "{error}");
}

#[test]
fn keys_that_would_become_one_are_refused() {
    let scratch = Scratch::new("one");
    let model = scratch.save(&Net::known(), &[]);
    let clash = model.weights().rename("weight|bias", "w").load_into(&mut Net::new());
    assert!(matches!(clash, Err(WeightsError::Clash { lost: 1, .. })), "{clash:?}");
    let broken = model.weights().rename("(", "").load_into(&mut Net::new());
    assert!(matches!(broken, Err(WeightsError::Rename { .. })), "{broken:?}");
}

/// `linear.pt` is what `torch.save` writes of the `state_dict` of a module `net` with a `layer = nn.Linear(3, 2)`.
#[test]
fn checkpoints_of_pytorch_are_transposed() {
    let scratch = Scratch::new("pytorch");
    let file = scratch.0.join("linear.pt");
    fs::create_dir_all(&scratch.0).unwrap();
    fs::write(&file, include_bytes!("linear.pt")).unwrap();
    let model = Store::at(scratch.0.join("models")).import(&file).run().unwrap();
    let mut net = Net::new();
    let error = model.weights().load_into(&mut net).unwrap_err().to_string();
    assert!(error.contains("missing layer.bias, layer.weight; unexpected net.layer.bias, net.layer.weight"), "{error}");
    model.weights().rename("^net\\.", "").load_into(&mut net).unwrap();
    assert_eq!(net.numbers(), Net::known().numbers());
    let error = model.weights().top_level_key("model").load_into(&mut net).unwrap_err();
    assert!(matches!(error, WeightsError::Unreadable { .. }), "{error}");
}

/// A safetensors file that PyTorch has written has its weights the other way around.
#[test]
fn safetensors_of_pytorch_are_transposed() {
    let scratch = Scratch::new("from-pytorch");
    let mut transposed = Net::known();
    transposed.layer.weight = Param::from_tensor(transposed.layer.weight.val().transpose());
    let model = scratch.save(&transposed, &[]);
    let mut net = Net::new();
    model.weights().from_pytorch().load_into(&mut net).unwrap();
    assert_eq!(net.numbers(), Net::known().numbers());
    assert!(model.weights().load_into(&mut net).is_err());
}

#[test]
fn other_files_are_named() {
    let scratch = Scratch::new("files");
    let write = |folder: &Path| {
        for (file, net) in [("a.safetensors", Net::known()), ("b.safetensors", Net::new())] {
            net.save_into(&mut SafetensorsStore::from_file(folder.join(file)))?;
        }
        fs::write(folder.join("c.txt"), "words").map_err(SafetensorsStoreError::Io)
    };
    let model = Store::at(&scratch.0).save("two").write(write).unwrap();
    let mut net = Net::new();
    let error = model.weights().load_into(&mut net).unwrap_err().to_string();
    assert!(error.contains("there are: a.safetensors, b.safetensors, c.txt"), "{error}");
    model.weights().file("a.safetensors").load_into(&mut net).unwrap();
    assert_eq!(net.numbers(), Net::known().numbers());
    assert!(model.weights().file("c.txt").load_into(&mut net).is_err());
}
