use std::fs::File;

use super::verify::Verified;
use super::*;

#[test]
fn a_saved_model_is_found() {
    let scratch = Scratch::new("found");
    let store = scratch.store();
    let saved = save(&store, "iris", "1");
    assert_eq!(saved.to_string(), "iris:1");
    for tag in ["iris", "iris:latest", "iris:1"] {
        assert_eq!(store.get(tag).unwrap(), saved, "{tag}");
    }
    assert_eq!(store.list().unwrap().models, std::slice::from_ref(&saved));
    let files: Vec<&str> = saved.manifest().files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["vocabulary/words.txt", "weights.bin"]);
    assert_eq!(fs::read_to_string(saved.file("vocabulary/words.txt").unwrap()).unwrap(), "one two\n");
    assert_eq!(
        (saved.manifest().labels["team"].as_str(), saved.manifest().metadata["accuracy"].as_f64()),
        ("flowers", Some(0.97))
    );
    saved.verify().unwrap();
    assert!(scratch.staged().is_empty(), "{:?}", scratch.staged());
    let error = saved.file("weight.bin").unwrap_err().to_string();
    assert!(error.contains("did you mean \"weights.bin\"?"), "{error}");
}

#[test]
fn versions_that_are_made_up_sort_by_time() {
    let scratch = Scratch::new("made-up");
    let store = scratch.store();
    let write = |folder: &Path| fs::write(folder.join("a"), "a");
    let model = store.save("iris").write(write).unwrap();
    let manifest = model.manifest();
    let prefix = manifest.created.strftime("%Y%m%d-%H%M%S-").to_string();
    assert!(
        manifest.version.as_str().starts_with(&prefix) && manifest.version.as_str().len() == prefix.len() + 6,
        "{model}"
    );
    let other = store.save("iris").write(write).unwrap();
    assert!(model.manifest().version < other.manifest().version, "{model} {other}");
    assert_eq!(store.get("iris").unwrap(), other);
    let listed = store.list().unwrap().models;
    assert_eq!(listed, [other, model]);
}

#[test]
fn the_latest_was_created_last_whatever_it_is_called() {
    let scratch = Scratch::new("latest");
    let store = scratch.store();
    save(&store, "iris", "9");
    save(&store, "iris", "10");
    assert_eq!(store.get("iris").unwrap().to_string(), "iris:10");
}

#[test]
fn a_beginning_of_a_version_will_do_where_it_is_unique() {
    let scratch = Scratch::new("prefix");
    let store = scratch.store();
    for version in ["2026.1", "2026.10", "2027"] {
        save(&store, "iris", version);
    }
    assert_eq!(store.get("iris:2027").unwrap().to_string(), "iris:2027");
    assert_eq!(
        store.get("iris:202").unwrap_err().to_string(),
        "\"iris:202\" could be any of 2026.1, 2026.10, 2027; write more of it"
    );
    // What is a version by itself is no beginning.
    assert_eq!(store.get("iris:2026.1").unwrap().to_string(), "iris:2026.1");
    assert_eq!(store.get("iris:2026.10").unwrap().to_string(), "iris:2026.10");
    assert!(store.get("iris:2026.").is_err());
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let scratch = Scratch::new("not-there");
    let store = scratch.store();
    let error = |tag: &str| store.get(tag).unwrap_err().to_string();
    assert!(error("iris").ends_with("; there are none"), "{}", error("iris"));
    save(&store, "iris", "1");
    assert!(error("irs").ends_with("; did you mean \"iris\"?; there are: iris"), "{}", error("irs"));
    assert!(error("iris:2").ends_with("; there are: 1"), "{}", error("iris:2"));
    assert!(Store::at(scratch.0.join("nowhere")).list().unwrap().models.is_empty());
}

#[test]
fn a_version_never_changes() {
    let scratch = Scratch::new("never-changes");
    let store = scratch.store();
    let saved = save(&store, "iris", "1");
    let again = store.save("iris").version("1").write(|folder| fs::write(folder.join("b"), "b"));
    assert!(matches!(again, Err(ModelError::Exists { .. })), "{again:?}");
    assert_eq!(store.get("iris").unwrap(), saved);
    // Even where it comes up while another is being written.
    let meanwhile = store.save("iris").version("2").write(|folder| {
        save(&store, "iris", "2");
        fs::write(folder.join("b"), "b")
    });
    assert!(matches!(meanwhile, Err(ModelError::Exists { .. })), "{meanwhile:?}");
    assert!(store.get("iris:2").unwrap().file("weights.bin").is_ok());
    assert!(scratch.staged().is_empty(), "{:?}", scratch.staged());
}

#[test]
fn a_save_that_fails_leaves_nothing() {
    let scratch = Scratch::new("fails");
    let store = scratch.store();
    let failed = store.save("iris").write(|folder| {
        fs::write(folder.join("a"), "a")?;
        Err(std::io::Error::other("no more weights"))
    });
    assert!(failed.unwrap_err().to_string().contains("no more weights"));
    let nothing = store.save("iris").write(|_| std::io::Result::Ok(()));
    assert!(matches!(nothing, Err(ModelError::Empty)), "{nothing:?}");
    let own = store.save("iris").write(|folder| fs::write(folder.join("model.toml"), ""));
    assert!(matches!(own, Err(ModelError::FilePath { .. })), "{own:?}");
    assert!(store.list().unwrap().models.is_empty() && scratch.staged().is_empty());
    assert!(!store.path().join("iris").exists());
}

#[cfg(unix)]
#[test]
fn a_link_is_not_saved() {
    let scratch = Scratch::new("link");
    let link = scratch.store().save("iris").write(|folder| std::os::unix::fs::symlink("/etc/passwd", folder.join("a")));
    assert!(link.unwrap_err().to_string().contains("a link"));
}

#[test]
fn deleting_is_at_once_and_for_one_version() {
    let scratch = Scratch::new("delete");
    let store = scratch.store();
    save(&store, "iris", "1");
    save(&store, "iris", "2");
    assert_eq!(store.delete("iris:1").unwrap().to_string(), "iris:1");
    assert_eq!(store.list().unwrap().models.len(), 1);
    store.delete("iris").unwrap();
    assert!(store.list().unwrap().models.is_empty() && !store.path().join("iris").exists());
    assert!(store.delete("iris").is_err() && scratch.staged().is_empty());
}

#[test]
fn only_what_is_held_survives_a_sweep() {
    let scratch = Scratch::new("sweep");
    let store = scratch.store();
    // As processes leave them that are killed: a folder and its free lock, a lock alone, a folder alone.
    scratch.file("models/.tmp/1-aa/weights.bin", "half of i");
    scratch.file("models/.tmp/1-aa.lock", "");
    scratch.file("models/.tmp/2-bb.lock", "");
    scratch.file("models/.tmp/3-cc/deep/er", "");
    // As one has it that lives.
    let held = scratch.file("models/.tmp/4-dd/weights.bin", "half of i");
    let lock = File::open(scratch.file("models/.tmp/4-dd.lock", "")).unwrap();
    lock.lock().unwrap();
    assert!(store.list().unwrap().models.is_empty());
    save(&store, "iris", "1");
    let tmp = store.path().join(".tmp");
    assert_eq!(scratch.staged(), [tmp.join("4-dd"), held, tmp.join("4-dd.lock")]);
    drop(lock);
    save(&store, "iris", "2");
    assert!(scratch.staged().is_empty(), "{:?}", scratch.staged());
}

#[test]
fn what_is_broken_is_told_and_not_taken_for_another() {
    let scratch = Scratch::new("broken");
    let store = scratch.store();
    save(&store, "iris", "1");
    scratch.file("models/iris/2/model.toml", "schema = 1");
    scratch.file("models/iris/3/weights.bin", "");
    // What is no model's name is nobody's business.
    scratch.file("models/iris/.DS_Store", "");
    scratch.file("models/README", "");
    let listing = store.list().unwrap();
    assert_eq!((listing.models.len(), listing.broken.len()), (1, 2), "{listing:?}");
    assert!(store.get("iris:1").is_ok());
    assert!(matches!(store.get("iris:2"), Err(ModelError::Manifest { .. })));
    // The newest may be broken: nothing older is taken for it.
    let error = store.get("iris:latest").unwrap_err().to_string();
    assert!(error.starts_with("\"iris:latest\" might be iris:2, which is broken: "), "{error}");
    assert!(error.ends_with("or delete that one: `ekiden models delete iris:2`"), "{error}");
    assert_eq!(listing.broken[0].tag.to_string(), "iris:2");
    save(&store, "iris", "21");
    assert!(matches!(store.get("iris:2"), Err(ModelError::Manifest { .. })));
    save(&store, "iris", "31a");
    scratch.file("models/iris/31b/model.toml", "");
    assert!(matches!(store.get("iris:31"), Err(ModelError::Broken { .. })));
    assert!(store.get("iris:31a").is_ok());
    // Named in full, each can be deleted.
    for tag in ["iris:2", "iris:3", "iris:31b"] {
        assert!(store.get(tag).is_err());
        assert_eq!(store.delete(tag).unwrap().to_string(), tag);
    }
    assert_eq!(store.get("iris:latest").unwrap().to_string(), "iris:31a");
    assert!(store.list().unwrap().broken.is_empty() && scratch.staged().is_empty());
    // A model that was moved is not the one that its place says.
    let moved = store.path().join("moved/1");
    fs::create_dir_all(&moved).unwrap();
    fs::copy(store.path().join("iris/1/model.toml"), moved.join("model.toml")).unwrap();
    let error = store.get("moved:1").unwrap_err().to_string();
    assert!(error.contains("it says that it is iris:1"), "{error}");
}

#[test]
fn a_damaged_file_is_found() {
    let scratch = Scratch::new("damaged");
    let store = scratch.store();
    let problem = |model: &Model| model.verify().unwrap_err().to_string();

    let model = save(&store, "iris", "1");
    let file = model.file("weights.bin").unwrap();
    let mut content = fs::read(&file).unwrap();
    content[1500] ^= 1;
    fs::write(&file, &content).unwrap();
    assert!(problem(&model).contains("expected the SHA-256"), "{}", problem(&model));

    content.pop();
    fs::write(&file, &content).unwrap();
    assert!(problem(&model).contains("expected 3000 bytes, found 2999"), "{}", problem(&model));

    fs::remove_file(&file).unwrap();
    assert!(problem(&model).contains("it is not there"), "{}", problem(&model));

    // Having been found right does not help one that has changed since.
    let model = save(&store, "iris", "2");
    let file = model.file("weights.bin").unwrap();
    let verified = Verified::default();
    model.verify_once(&verified).unwrap();
    let mut content = fs::read(&file).unwrap();
    content[0] ^= 1;
    fs::write(&file, &content).unwrap();
    let later = File::options().write(true).open(&file).unwrap();
    later.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
    let error = model.verify_once(&verified).unwrap_err().to_string();
    assert!(error.contains("SHA-256"), "{error}");
}

#[test]
fn what_was_found_right_is_not_read_again() {
    let scratch = Scratch::new("not-again");
    let model = save(&scratch.store(), "iris", "1");
    let file = model.file("weights.bin").unwrap();
    let verified = Verified::default();
    model.verify_once(&verified).unwrap();
    // Another content of the same size and time, which only reading would tell.
    let changed = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, b"x".repeat(3000)).unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(changed).unwrap();
    model.verify_once(&verified.clone()).unwrap();
    assert!(model.verify().is_err());
}

/// A small one, exported by PyTorch.
const ONNX: &[u8] = include_bytes!("../../../tests/onnx/models/torch_linear/model.onnx");

#[test]
fn files_of_known_kinds_are_imported_under_one_name() {
    let scratch = Scratch::new("kinds");
    let store = scratch.store();
    let safetensors = include_bytes!("../../../examples/iris/iris.safetensors");
    let path = scratch.file("Iris Net.safetensors", safetensors);
    let mut told = Vec::new();
    let model = store.import(&path).label("a", "b").progress(|progress| told.push(progress)).run().unwrap();
    assert_eq!(model.name().as_str(), "iris-net");
    assert_eq!(model.manifest().format, Format::Safetensors);
    assert_eq!(model.manifest().source.as_deref(), Some("Iris Net.safetensors"));
    assert_eq!(model.main_file().unwrap(), model.file("weights.safetensors").unwrap());
    assert_eq!(fs::read(model.main_file().unwrap()).unwrap(), safetensors);
    let size = safetensors.len() as u64;
    assert_eq!(told.last(), Some(&Progress { done: size, total: size }));

    let model = store.import(scratch.file("net.PTH", b"PK\x03\x04 and so on")).name("net").version("7").run().unwrap();
    assert_eq!((model.to_string().as_str(), model.manifest().format.as_str()), ("net:7", "pytorch"));
    assert!(model.file("weights.pt").is_ok());
    let model = store.import(scratch.file("net.onnx", ONNX)).run().unwrap();
    assert!(model.to_string().starts_with("net:20") && model.file("model.onnx").is_ok(), "{model}");
    let [predict] = model.manifest().signatures.as_slice() else { panic!("{:?}", model.manifest()) };
    assert_eq!((predict.method.as_str(), predict.signature.inputs.len()), ("predict", 1));
    assert!(predict.signature.batching.is_some(), "{predict:?}");
}

#[test]
fn files_that_are_not_what_they_are_called_are_refused() {
    let scratch = Scratch::new("refused");
    let store = scratch.store();
    let error = |name: &str, content: &[u8]| {
        let error = store.import(scratch.file(name, content)).run().unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        error
    };
    let safetensors = include_bytes!("../../../examples/iris/iris.safetensors");
    assert!(error("a.safetensors", b"").contains("it is empty"));
    assert!(error("a.safetensors", b"1234").contains("shorter than 8 bytes"));
    assert!(error("a.safetensors", &[0xff; 64]).contains("no safetensors file"));
    assert!(error("a.safetensors", &safetensors[..safetensors.len() - 1]).contains("cut short"));
    assert!(error("a.safetensors", &[&safetensors[..], b"x"].concat()).contains("damaged"));
    assert!(error("a.pt", b"weights").contains("no checkpoint of PyTorch"));
    assert!(error("a.zip", b"PK\x03\x04").contains(".onnx, .safetensors"));
    let missing = store.import(scratch.0.join("none.onnx")).run().unwrap_err().to_string();
    assert!(missing.contains("none.onnx"), "{missing}");
    assert!(matches!(store.import(&scratch.0).run(), Err(ModelError::Format { .. })));
    let nameless = store.import(scratch.file("+.onnx", "x")).run().unwrap_err().to_string();
    assert!(nameless.contains("no name for the model can be made of the file's"), "{nameless}");
    assert!(store.list().unwrap().models.is_empty() && scratch.staged().is_empty());
}

#[test]
fn a_model_is_opened_where_it_lies() {
    let scratch = Scratch::new("open");
    let saved = save(&scratch.store(), "iris", "1");
    assert_eq!(Model::open(saved.path()).unwrap(), saved);
    let file = scratch.file("net.onnx", "x");
    let loose = Model::open(&file).unwrap();
    assert_eq!((loose.file("model.onnx").unwrap(), loose.main_file().unwrap()), (file.clone(), file.clone()));
    assert_eq!((loose.to_string(), loose.name().as_str()), (file.display().to_string(), "net"));
    loose.verify().unwrap();
    let archive = Model::open(scratch.file("net.ekiden", "x")).unwrap_err().to_string();
    assert!(archive.contains("ekiden models import"), "{archive}");
    assert!(Model::open(scratch.file("net.txt", "x")).is_err() && Model::open(scratch.0.join("none")).is_err());
}

/// A field of a protobuf message, of a number below 16 and fewer than 128 bytes.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// A graph whose one initializer, of one float, is in another file.
fn onnx_beside(location: &str) -> Vec<u8> {
    let external = [field(1, "location"), field(2, location)].concat();
    let tensor = [vec![0x08, 1, 0x10, 1], field(8, "w"), field(13, external), vec![0x70, 1]].concat();
    let graph = [field(5, tensor), field(12, field(1, "w"))].concat();
    [vec![0x08, 8], field(7, graph), field(8, [0x10, 17])].concat()
}

#[test]
fn what_an_onnx_file_keeps_beside_itself_comes_with_it() {
    let scratch = Scratch::new("beside");
    let store = scratch.store();
    let import = |location: &str| store.import(scratch.file("net.onnx", onnx_beside(location))).run();
    let missing = import("data/net.data").unwrap_err().to_string();
    assert!(missing.contains("net.data"), "{missing}");
    scratch.file("data/net.data", 1_f32.to_le_bytes());
    let model = import("data/net.data").unwrap();
    let files: Vec<&str> = model.manifest().files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["model.onnx", "data/net.data"]);
    assert_eq!(fs::read(model.file("data/net.data").unwrap()).unwrap(), 1_f32.to_le_bytes());
    // Not even where there is such a file.
    scratch.file("secret", "x");
    for outside in ["../secret", "/etc/passwd", "data/../secret"] {
        let error = import(outside).unwrap_err().to_string();
        assert!(error.contains("net.onnx") && error.contains(outside), "{error}");
    }
    assert_eq!(store.list().unwrap().models.len(), 1);
    assert!(scratch.staged().is_empty());
}
