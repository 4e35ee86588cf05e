//! Models that lie where a path leads: a runner serves what it was prepared for, until it is reloaded.

use std::fs;
use std::path::{Path, PathBuf};

use ekiden::App;
use ekiden::app::AppBuilder;
use ekiden::runner::Onnx;
use ekiden::serving::Reloaded;

use crate::admin::Admin;
use crate::graphs::{FLOAT, Folder, info, model, node};
use crate::support::{Server, block_on, eventually};

/// What the children of these tests run. Anywhere else, it is nothing.
#[test]
fn child() {
    App::run_child(app);
}

fn app() -> AppBuilder {
    App::builder().runnable::<Onnx>("onnx").child_args(["loose_files::child", "--exact", "--nocapture"])
}

/// Writes a graph of one operator, from rows of three numbers to rows of three.
fn write(folder: &Folder, operator: &str) -> PathBuf {
    let nodes = vec![node(operator, &["x"], &["y"])];
    folder.write("some.onnx", &model(nodes, info("x", FLOAT, &[-1, 3]), info("y", FLOAT, &[-1, 3]), Vec::new()))
}

fn start(path: &Path, isolation: &str) -> App {
    let config = format!(
        "[[runners]]\nname = \"some\"\nmodel = {path:?}\nisolation = \"{isolation}\"\ncpu = 1\nmax_restarts = 1\n\
         restart_backoff_ms = 1\n"
    );
    block_on(app().config_text(config).start()).expect("it starts")
}

fn ask(server: &Server) -> String {
    server.post("/v1/runners/some/predict", "[[1, -2, 3]]").text().trim().to_owned()
}

#[test]
fn a_reload_takes_over_a_file_that_has_changed() {
    let folder = Folder::new("changed-file");
    let app = start(&write(&folder, "Neg"), "thread");
    let server = Server::start(&app);
    assert_eq!(ask(&server), "[[-1.0,2.0,-3.0]]");
    let reload = || -> Reloaded { block_on(app.reload()).expect("is reloaded") };
    assert_eq!(reload().unchanged, ["some"]);
    write(&folder, "Abs");
    assert_eq!(ask(&server), "[[-1.0,2.0,-3.0]]", "nobody has said so");
    assert_eq!(reload().replaced, ["some"]);
    assert_eq!(ask(&server), "[[1.0,2.0,3.0]]");
    // The same again, written anew.
    write(&folder, "Abs");
    assert_eq!(reload().unchanged, ["some"]);
}

#[cfg(unix)]
#[test]
fn a_new_child_refuses_a_file_that_has_changed() {
    let folder = Folder::new("changed-under-child");
    let path = write(&folder, "Neg");
    let app = start(&path, "process");
    let server = Server::start(&app);
    assert_eq!(ask(&server), "[[-1.0,2.0,-3.0]]");
    write(&folder, "Abs");
    let admin = Admin::start(&app);
    admin.post("/v1/runners/some/drain");
    let state = || app.entry("some").expect("the runner").status().state;
    eventually("it is drained", || state() == ekiden_actors::RunnerState::Stopped);
    let refused = admin.post("/v1/runners/some/restart");
    assert!(
        refused.text().contains("has changed since its runner was prepared; `ekiden reload`"),
        "{}",
        refused.text()
    );
    assert_eq!(block_on(app.reload()).expect("is reloaded").replaced, ["some"]);
    assert_eq!(ask(&server), "[[1.0,2.0,3.0]]");
    fs::remove_file(path).expect("removed");
    let error = block_on(app.reload()).expect_err("it is gone").to_string();
    assert!(error.contains("some.onnx"), "{error}");
}

#[test]
fn a_relative_path_starts_at_the_file_that_has_it() {
    let folder = Folder::new("relative");
    write(&folder, "Neg");
    let file = folder.0.join("runners.toml");
    let check = |text: &str, set: Option<&str>| {
        fs::write(&file, text).expect("is written");
        let app = App::builder().runnable::<Onnx>("onnx").config_file(&file);
        let checked = set.into_iter().fold(app, AppBuilder::set).check();
        checked.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(check("[[runners]]\nname = \"some\"\nmodel = \"some.onnx\"\n", None), Ok(()));
    assert_eq!(check("[[runners]]\nname = \"some\"\nrunnable = \"onnx\"\nmodels = [\"./some.onnx\"]\n", None), Ok(()));
    // Nothing of that name lies where the test runs.
    let set = Some("runners.some.model=some.onnx");
    let error = check("[[runners]]\nname = \"some\"\nrunnable = \"onnx\"\n", set).expect_err("it is not there");
    let expected = std::env::current_dir().expect("a folder").join("some.onnx");
    assert!(
        error
            .contains(&format!("--set runners.some.model: runner \"some\": model: cannot read {}", expected.display())),
        "{error}"
    );
}
