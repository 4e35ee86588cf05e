//! Loads anything as an ONNX model and finds out what it would be served as: `cargo fuzz run onnx`.
//!
//! An input's first byte says whether the rest is the file itself, or says how to build one: a few nodes of operators that
//! are supported, with the attributes that they have, on small or absurd constants and inputs. No fuzzer that changes bytes
//! would find its way so far into the interpreter.
//!
//! Whatever it is, it is refused with a message or loaded, soon, and in bounded memory. A panic that is contained on the
//! way is no failure, as it is told as an error, but each place of one is printed once: its error should have been clearer.

#![no_main]

mod graphs;

use std::fs;
use std::panic;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use ekiden::runner::{Onnx, Runner};
use libfuzzer_sys::fuzz_target;
use onnx_ir::Message;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("ekiden-fuzz-onnx-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder.join("model.onnx")
});

fuzz_target!(
    init: {
        // A panic that leaves the target still ends the process.
        panic::set_hook(Box::new(|info| {
            static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
            if !seen.contains(&place) {
                eprintln!("PANIC {info}");
                seen.push(place);
            }
        }));
    },
    |input: &[u8]| {
        let Some((first, rest)) = input.split_first() else { return };
        let bytes = match first % 2 {
            0 => rest.to_vec(),
            _ => graphs::model(rest).write_to_bytes().expect("a message"),
        };
        fs::write(&*FILE, bytes).expect("is written");
        let runner = Runner::<Onnx>::new(Default::default()).model(FILE.display().to_string());
        if let Err(error) = runner.init_local() {
            assert!(error.to_string().contains("model.onnx: "), "{error}");
        }
    }
);
