//! The code that is made of `src/grpc/inference.proto` is committed, so that a build needs no compiler for it.

use std::fs;
use std::path::{Path, PathBuf};

/// Set, it has the committed code replaced.
const UPDATE: &str = "EKIDEN_UPDATE";

#[test]
fn the_generated_code_is_that_of_the_messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/grpc");
    let out = Scratch(std::env::temp_dir().join(format!("ekiden-generated-{}", std::process::id())));
    fs::create_dir_all(&out.0).expect("a folder");
    let messages = protox::compile([folder.join("inference.proto")], [&folder]).expect("the messages make sense");
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .codec_path("crate::grpc::codec::Bounded")
        .out_dir(&out.0)
        .compile_fds(messages)
        .expect("code is made of them");
    let read = |path: &Path| fs::read_to_string(path).expect("a file");
    let (made, committed) = (read(&out.0.join("inference.rs")), folder.join("generated.rs"));
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&committed, &made).expect("is written");
    }
    assert!(
        made == read(&committed),
        "{} is old: {UPDATE}=1 cargo test --test it -- grpc_generated",
        committed.display()
    );
}

/// A folder for as long as the test takes.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
