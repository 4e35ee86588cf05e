use serde_json::json;

use super::*;
use crate::value::{Batching, DType, Signature, TensorSpec, TextsSpec, ValueKind, ValueSpec};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The least that a manifest says.
fn least() -> String {
    format!(
        "schema = 1\nname = \"iris\"\nversion = \"1\"\ncreated = \"2026-11-26T14:30:15Z\"\nformat = \"onnx\"\n\n\
         [[files]]\npath = \"model.onnx\"\nsize = 0\nsha256 = \"{DIGEST}\"\n"
    )
}

fn full() -> Manifest {
    let spec = |name: &str, size| TensorSpec::f32(name, [None, Some(size)]).into();
    let signature =
        |batching| Signature { inputs: vec![spec("x", 4)], outputs: vec![spec("y", 3)], batching, streams: false };
    let others = Signature {
        inputs: vec![
            TensorSpec::any_rank("any", DType::BF16).into(),
            ValueSpec::of_kind(ValueKind::List, "words"),
            TextsSpec::new("colours", [None, Some(2)]).into(),
            TensorSpec::i64("scalar", []).into(),
        ],
        outputs: vec![ValueSpec::of_kind(ValueKind::Bytes, "image")],
        batching: Some(Batching { input_dim: 1, output_dim: 0 }),
        streams: false,
    };
    let tokens = Signature {
        inputs: vec![ValueSpec::of_kind(ValueKind::Text, "prompt")],
        outputs: vec![ValueSpec::of_kind(ValueKind::Text, "token")],
        batching: None,
        streams: true,
    };
    let method = |method: &str, signature| MethodSignature { method: method.to_owned(), signature };
    let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let mut manifest = Manifest::parse(&least()).unwrap();
    manifest.source = Some("Iris \"net\".onnx".to_owned());
    manifest.labels = pair("team", "flowers = all");
    manifest.frameworks = pair("torch", "2.9.0");
    let metadata = json!({"nested": {"deep": [1, 2.5, "x"]}, "after": true});
    manifest.metadata = metadata.as_object().unwrap().clone();
    manifest.signatures = vec![
        method("predict", signature(Some(Batching { input_dim: 0, output_dim: 0 }))),
        method("explain", signature(None)),
        method("others", others),
        method("tokens", tokens),
    ];
    manifest
}

#[test]
fn what_is_written_is_read_again() {
    let manifest = full();
    let text = manifest.to_toml().unwrap();
    assert_eq!(Manifest::parse(&text), Ok(manifest), "{text}");
    assert!(text.contains("shape = [\"any\", 4]"), "{text}");
}

#[test]
fn what_toml_cannot_hold_is_not_saved() {
    let mut manifest = full();
    manifest.metadata.insert("nothing".to_owned(), json!(null));
    assert!(manifest.to_toml().is_err());
    manifest.metadata.insert("nothing".to_owned(), json!("x".repeat(5 << 20)));
    assert!(manifest.to_toml().unwrap_err().contains("more than 4194304"));
}

/// Replaces `old` in the least manifest by `new`, and wants that to be refused for a reason that contains `why`.
#[track_caller]
fn refused(old: &str, new: &str, why: &str) {
    let text = least();
    assert!(text.contains(old), "{old:?} is not in\n{text}");
    let problem = Manifest::parse(&text.replacen(old, new, 1)).unwrap_err();
    assert!(problem.contains(why), "{new:?}: {problem}");
}

#[test]
fn what_is_wrong_is_named() {
    assert!(Manifest::parse(&least()).is_ok());
    refused("schema = 1", "schema = 2", "schema 2 is not known");
    refused("schema = 1", "", "schema");
    refused("schema = 1", "schema = 1\nnmae = 2", "nmae");
    refused("\"iris\"", "\"../iris\"", "\"../iris\" cannot be a model's name");
    refused("version = \"1\"", "version = \"latest\"", "\"latest\" cannot be a model's version");
    refused("2026-11-26T14:30:15Z", "yesterday", "created");
    refused("\"onnx\"", "\"ON NX\"", "format");
    refused("model.onnx", "../model.onnx", "\"../model.onnx\" cannot be a file");
    refused("size = 0", "size = -1", "size");
    refused("size = 0", "size = 99999999999999999999", "");
    refused(DIGEST, "e3b0", "sha256");
    refused(DIGEST, &DIGEST.replace('e', "g"), "sha256");
    refused(
        "[[files]]",
        "[[signatures]]\nmethod = \"f\"\noutput_batch_dim = 1\n[[files]]",
        "output_batch_dim needs batch_dim",
    );
    let method = "[[signatures]]\nmethod = \"f\"\n";
    refused("[[files]]", &format!("{method}{method}[[files]]"), "\"f\" has two signatures");
    let spec = |spec: &str| format!("{method}inputs = [{{name = \"x\", {spec}}}]\n[[files]]");
    refused("[[files]]", &spec("kind = 'tensr'"), "kind \"tensr\"");
    refused("[[files]]", &spec("kind = 'tensor'"), "needs a dtype");
    refused("[[files]]", &spec("kind = 'tensor', dtype = 'f32'"), "no dtype \"f32\"");
    refused("[[files]]", &spec("kind = 'tensor', dtype = 'float32', shape = [-1]"), "a size in a shape");
    refused("[[files]]", &spec("kind = 'text', shape = [1]"), "neither dtype nor shape");
}

#[test]
fn files_that_no_folder_can_hold_are_refused() {
    let with = |path: &str, size: u64| {
        Manifest::parse(&format!("{}[[files]]\npath = \"{path}\"\nsize = {size}\nsha256 = \"{DIGEST}\"\n", least()))
    };
    assert!(with("other", 1).is_ok());
    assert!(with("model.onnx", 1).unwrap_err().contains("is there twice"));
    assert!(with("model.onnx/data", 1).unwrap_err().contains("is a file, and a folder"));
    let huge = i64::MAX as u64;
    assert!(with(&format!("a\"\nsize={huge}\nsha256=\"{DIGEST}\"\n[[files]]\npath=\"b\"\nsize={huge}\nsha256=\"{DIGEST}\"\n[[files]]\npath=\"c"), huge).unwrap_err().contains("no sizes"));
}
