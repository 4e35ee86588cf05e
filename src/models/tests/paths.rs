//! Models by their paths, which may lead to something else later.

use super::*;

/// What goes to a child process comes back as it was.
fn sent(model: &LocatedModel) -> LocatedModel {
    serde_json::from_str(&serde_json::to_string(model).unwrap()).unwrap()
}

fn find(path: &Path) -> LocatedModel {
    LocatedModel::find(path.to_str().unwrap().to_owned(), Path::new("")).unwrap()
}

#[test]
fn a_file_that_has_changed_is_not_opened() {
    let scratch = Scratch::new("changed");
    let path = scratch.file("weights.pt", "PK\x03\x04 some");
    let located = sent(&find(&path));
    assert!(located.open().is_ok());
    // Written anew, and the same.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert!(located.open().is_ok());
    for other in ["PK\x03\x04 more", "PK\x03\x04 and more"] {
        scratch.file("weights.pt", other);
        let error = located.open().unwrap_err().to_string();
        assert!(error.ends_with("takes over what it is now") && error.contains("weights.pt"), "{error}");
        assert_ne!(find(&path).found, located.found);
    }
    scratch.file("weights.pt", "PK\x03\x04 some");
    assert!(located.open().is_ok());
    assert_eq!(find(&path).found, located.found);
}

#[test]
fn a_folder_that_has_changed_is_not_opened() {
    let scratch = Scratch::new("changed-folder");
    let model = save(&scratch.store(), "iris", "1");
    let located = sent(&find(model.path()));
    assert!(located.open().is_ok());
    let manifest = model.path().join(MANIFEST);
    let text = fs::read_to_string(&manifest).unwrap().replace("flowers", "leaves!");
    fs::write(&manifest, text).unwrap();
    assert!(matches!(located.open().unwrap_err(), ModelError::Changed { .. }));
    assert_ne!(find(model.path()).found, located.found);
}

#[test]
fn tensors_beside_a_file_belong_to_it() {
    use onnx_ir::{Message, ModelProto, TensorProto};

    let scratch = Scratch::new("beside");
    // Field 14, of which 1 says that the data lies elsewhere: its type has no public name.
    let mut tensor = TensorProto::parse_from_bytes(&[14 << 3, 1]).unwrap();
    tensor.name = "w".into();
    tensor.external_data.push(Default::default());
    (tensor.external_data[0].key, tensor.external_data[0].value) = ("location".into(), "w.bin".into());
    let mut proto = ModelProto::default();
    let graph = proto.graph.mut_or_insert_default();
    graph.initializer = vec![tensor];
    graph.output.push(Default::default());
    let path = scratch.file("some.onnx", proto.write_to_bytes().unwrap());
    scratch.file("w.bin", "one");
    let located = sent(&find(&path));
    assert!(located.open().is_ok());
    scratch.file("w.bin", "two");
    assert!(matches!(located.open().unwrap_err(), ModelError::Changed { path } if path.ends_with("w.bin")));
    assert_ne!(find(&path).found, located.found);
}
