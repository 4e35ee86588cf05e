//! The model store: from the shell, by many processes at once, through kills, and under runners.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ekiden::models::{Model, Store};
use ekiden::prelude::*;
use serde_json::Value;

use crate::client::Client;
use crate::support::{Program, block_on, eventually};

const IRIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/iris/iris.safetensors");

/// An `EKIDEN_HOME` of a test's own, removed with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let unique = format!("ekiden-it-models-{}-{name}-{:08x}", std::process::id(), fastrand::u32(..));
        let home = std::env::temp_dir().join(unique);
        fs::create_dir_all(&home).expect("a folder");
        Self(home)
    }

    fn ekiden(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ekiden"));
        command.args(args).env("EKIDEN_HOME", &self.0).current_dir(&self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `ekiden models ARGS`, and returns what it printed.
    #[track_caller]
    fn models(&self, args: &str) -> String {
        let output = self.try_models(args);
        assert!(output.status.success() && output.stderr.is_empty(), "{args}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("is text")
    }

    /// Runs `ekiden models ARGS`, which fails with this exit code, and returns why.
    #[track_caller]
    fn fails(&self, args: &str, code: i32) -> String {
        let output = self.try_models(args);
        assert_eq!(output.status.code(), Some(code), "{args}: {}", stderr(&output));
        stderr(&output)
    }

    fn try_models(&self, args: &str) -> Output {
        let args: Vec<&str> = ["models"].into_iter().chain(args.split_whitespace()).collect();
        self.ekiden(&args).output().expect("the program runs")
    }

    fn store(&self) -> Store {
        Store::at(self.0.join("models"))
    }

    /// Everything in the store, which is whole.
    fn whole(&self) -> Vec<Model> {
        let listing = self.store().list().expect("the store is there");
        assert!(listing.broken.is_empty(), "{:?}", listing.broken);
        listing.models.iter().for_each(|model| model.verify().expect("it is whole"));
        listing.models
    }

    /// What is in the making, or was.
    fn staged(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("models/.tmp")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| !path.ends_with("gate")).collect()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("is written");
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_models_life_in_the_shell() {
    let home = Home::new("life");
    assert!(home.models("list").starts_with("there are no models in "));
    let imported = home.models(&format!("import {IRIS} --name iris_clf --label team=flowers --label stage=test"));
    let tag = imported.strip_prefix("imported ").expect("its tag").trim();
    let version = tag.strip_prefix("iris_clf:").expect("its name");

    let table = home.models("list");
    let row: Vec<&str> = table.lines().nth(1).expect("a row").split_whitespace().collect();
    assert!(table.starts_with("NAME") && table.lines().count() == 2, "{table}");
    assert_eq!(row[..5], ["iris_clf", version, "safetensors", "868", "B"]);
    assert!(table.trim_end().ends_with("stage=test team=flowers"), "{table}");
    let json: Value = serde_json::from_str(&home.models("list iris_clf --json")).expect("is JSON");
    assert_eq!((&json[0]["tag"], &json[0]["labels"]["team"]), (&tag.into(), &"flowers".into()));
    assert_eq!(serde_json::from_str::<Value>(&home.models("get iris_clf --json")).expect("is JSON"), json[0]);
    let page = home.models(&format!("get iris_clf:{}", &version[..4]));
    assert!(
        page.contains(&format!("tag               {tag}\n")) && page.contains("source            iris.safetensors"),
        "{page}"
    );
    let path = home.models("path iris_clf:latest");
    assert_eq!(Path::new(path.trim()), home.store().get("iris_clf").expect("is there").path());

    home.models("export iris_clf out.ekiden");
    home.models("export iris_clf out");
    assert!(home.fails("export iris_clf out", 1).contains("out exists already"));
    assert!(home.fails("delete iris_clf", 2).contains(tag), "it does not say which");
    assert!(home.fails(&format!("delete {tag}"), 2).contains("--yes"));
    assert_eq!(home.whole().len(), 1);
    assert_eq!(home.models("delete iris_clf:latest --yes"), format!("deleted {tag}\n"));
    assert!(home.whole().is_empty());
    assert_eq!(home.models("import out.ekiden"), format!("imported {tag}\n"));
    assert_eq!(home.models("import out --name copy --version 1"), "imported copy:1\n");
    assert_eq!(home.whole().len(), 2);
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let home = Home::new("wrong");
    home.models(&format!("import {IRIS} --name iris_clf --version 1"));
    assert!(home.fails("get iris_cfl", 1).contains("did you mean \"iris_clf\"?"));
    assert!(home.fails("get iris_clf:2", 1).contains("there are: 1"));
    assert!(home.fails("get Iris", 2).contains("expected \"name\", \"name:latest\" or \"name:version\""));
    assert!(home.fails("list Iris", 2).contains("cannot be a model's name"));
    assert!(home.fails(&format!("import {IRIS} --name iris_clf --version 1"), 1).contains("exists already"));
    assert!(home.fails(&format!("import {IRIS} --version latest"), 2).contains("\"latest\""));
    assert!(home.fails(&format!("import {IRIS} --label team"), 2).contains("--label KEY=VALUE"));
    assert!(home.fails("import none.onnx", 1).contains("none.onnx"));
    home.file("cut.ekiden", b"\x1f\x8b\x08");
    assert!(home.fails("import cut.ekiden", 1).contains("cut short"));
    home.fails("lsit", 2);
    let output = home.ekiden(&["models", "list"]).env_remove("EKIDEN_HOME").env_remove("HOME").output();
    assert_eq!(output.expect("the program runs").status.code(), Some(2));
}

#[test]
fn a_broken_version_is_in_nobodys_way() {
    let home = Home::new("broken");
    home.models(&format!("import {IRIS} --name iris_clf --version 1"));
    let broken = home.0.join("models/iris_clf/2");
    fs::create_dir(&broken).expect("a folder");
    fs::write(broken.join("model.toml"), "garbage").expect("is written");
    let output = home.try_models("list");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), rows[1][1], &rows[2][..]), (3, "1", &["iris_clf", "2", "broken"][..]), "{table}");
    assert!(stderr(&output).contains("warning: iris_clf:2 is broken: "), "{}", stderr(&output));
    let output = home.try_models("list --json");
    let listed: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    assert_eq!((&listed[0]["broken"], &listed[1]["tag"]), (&Value::Null, &"iris_clf:2".into()), "{listed}");
    assert!(listed[1]["broken"].as_str().is_some_and(|error| error.contains("model.toml")), "{listed}");
    for latest in ["get iris_clf", "path iris_clf:latest", "export iris_clf out", "delete iris_clf:latest --yes"] {
        let error = home.fails(latest, 1);
        assert!(
            error.contains("might be iris_clf:2, which is broken")
                && error.contains("`ekiden models delete iris_clf:2`"),
            "{error}"
        );
    }
    home.models("get iris_clf:1");
    assert!(home.fails("delete iris_clf:2", 2).contains("say --yes"));
    assert_eq!(home.models("delete iris_clf:2 --yes"), "deleted iris_clf:2\n");
    assert!(home.models("get iris_clf").contains("iris_clf:1"));
}

/// What `serve` serves and `check` checks, without a configuration.
#[test]
fn one_model_is_served_by_its_path_or_its_tag() {
    let home = Home::new("one-model");
    let mlp = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/models/torch_mlp_fixed/model.onnx");
    home.models(&format!("import {mlp} --name churn --version 1"));
    home.models("export churn exported");
    fs::copy(mlp, home.0.join("My Model.onnx")).expect("is copied");
    fs::copy(mlp, home.0.join("日本.onnx")).expect("is copied");
    fs::copy(IRIS, home.0.join("weights.safetensors")).expect("is copied");
    home.file("own.toml", "[[runners]]\nname = 'own'\nmodel = 'My Model.onnx'\n");
    let check = |args: &[&str]| {
        let output = home.ekiden(&[&["check"], args].concat()).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    for (args, runner) in [
        (&["churn"][..], "churn"),
        (&["churn:1"], "churn"),
        (&["churn:latest", "--name", "other", "--set", "runners.other.cpu=1"], "other"),
        (&["./exported"], "churn"),
        (&["exported/"], "churn"),
        (&["My Model.onnx"], "my-model"),
        (&["日本.onnx"], "model"),
        (&["日本.onnx", "--name", "nihon"], "nihon"),
        (&["own.toml"], "own"),
        (&["--config", "own.toml"], "own"),
    ] {
        let (code, report, error) = check(args);
        assert_eq!(code, Some(0), "{args:?}: {error}");
        assert!(report.contains(&format!("\nrunner {runner} (runnable onnx)\n")), "{args:?}: {report}");
    }
    let (_, report, _) = check(&["churn"]);
    let row = report.lines().find(|line| line.trim_start().starts_with("model ")).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["model", "churn", "=", "churn:1", "command", "line"]);
    for (args, expected) in [
        (&["none.onnx"][..], "error: cannot read none.onnx: "),
        (&["chrun"], "error: there is no model \"chrun:latest\" in "),
        (&["chrun"], "did you mean \"churn\"?"),
        (&["exported"], "; for the folder of that name, say ./exported"),
        (&["Iris"], "error: \"Iris\" is no model's tag"),
        (&["weights.safetensors"], "is of format safetensors, and only onnx is served without code"),
        (&["own.toml", "--name", "a"], "--name is for a model"),
        (&["churn", "--name", "A"], "choose one with --name"),
    ] {
        let (code, _, error) = check(args);
        assert!(code == Some(2) && error.contains(expected), "{args:?}: {error}");
        let mut command = home.ekiden(&[&["serve", "--bind", "127.0.0.1:0"], args].concat());
        assert_eq!(stderr(&command.output().expect("the program runs")), error, "serve says the same");
    }
    assert!(home.fails("import 日本.onnx", 1).contains("give it one (--name)"));
    let error = home.fails("export churn none/there", 1);
    assert!(error.starts_with("error: cannot write into none: ") && !error.contains(".part"), "{error}");
}

#[test]
fn what_was_done_is_told_to_machines() {
    let home = Home::new("json");
    let json = |args: &str| -> Value { serde_json::from_str(&home.models(args)).expect("is JSON") };
    let imported = json(&format!("import {IRIS} --name iris_clf --version 1 --json"));
    assert_eq!(imported, json("get iris_clf --json"));
    let keys: Vec<&str> = imported.as_object().expect("a model").keys().map(String::as_str).collect();
    let expected = "created files format frameworks labels metadata name path signatures size source tag version";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>(), "scripts read these");
    assert_eq!(json("export iris_clf out --json"), serde_json::json!({"tag": "iris_clf:1", "path": "out"}));
    assert_eq!(json("delete iris_clf:1 --yes --json"), serde_json::json!({"tag": "iris_clf:1", "deleted": true}));
}

/// Starts a program `count` times, and waits for all.
fn at_once(count: usize, mut command: impl FnMut() -> Command) -> Vec<Output> {
    let children: Vec<Child> = (0..count).map(|_| command().spawn().expect("the program starts")).collect();
    children.into_iter().map(|child| child.wait_with_output().expect("the program ends")).collect()
}

#[test]
fn imports_at_once_are_as_one_after_the_other() {
    let home = Home::new("at-once");
    let outputs = at_once(8, || home.ekiden(&["models", "import", IRIS, "--name", "made-up"]));
    let tags: BTreeSet<&[u8]> = outputs.iter().map(|output| output.stdout.as_slice()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    assert_eq!((tags.len(), home.whole().len()), (8, 8));

    let outputs = at_once(8, || home.ekiden(&["models", "import", IRIS, "--name", "given", "--version", "1"]));
    let (well, badly): (Vec<_>, Vec<_>) = outputs.iter().partition(|output| output.status.success());
    assert_eq!((well.len(), badly.len()), (1, 7));
    for output in badly {
        assert!(stderr(output).contains("\"given:1\" exists already"), "{}", stderr(output));
        assert_eq!(output.status.code(), Some(1));
    }
    assert_eq!(home.whole().len(), 9);
    assert!(home.staged().is_empty(), "{:?}", home.staged());

    // A version that is deleted by all is deleted once, while others come to be.
    let outputs = at_once(4, || home.ekiden(&["models", "delete", "given:1", "--yes"]));
    assert_eq!(outputs.iter().filter(|output| output.status.success()).count(), 1, "{outputs:?}");
    assert_eq!(home.whole().len(), 8);
}

/// Bytes of the file whose import is killed.
const LARGE: u64 = 32 << 20;

/// How far an import is when it is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// So many bytes of the file have been written.
    Written(u64),
    /// All of it is there, and being put on the disk.
    Described,
    /// The version's folder has appeared.
    Placed,
}

impl Point {
    /// Whether the import has come to this point; `versions` is how many there were before.
    fn is_reached(self, home: &Home, versions: usize) -> bool {
        let mut folders = home.staged().into_iter().filter(|path| path.is_dir());
        match self {
            Self::Written(bytes) => {
                folders.any(|folder| fs::metadata(folder.join("weights.pt")).is_ok_and(|file| file.len() >= bytes))
            }
            Self::Described => folders.any(|folder| folder.join("model.toml").exists()),
            Self::Placed => fs::read_dir(home.0.join("models/large")).is_ok_and(|there| there.count() > versions),
        }
    }
}

#[test]
fn an_import_that_is_killed_leaves_nothing_behind() {
    let home = Home::new("killed");
    let mut content = vec![7; LARGE as usize];
    content[..4].copy_from_slice(b"PK\x03\x04");
    let file = home.file("large.pt", content);
    let file = file.to_str().expect("is text");
    let mut killed = 0;
    let written = (0..=16).map(|sixteenth| Point::Written(LARGE * sixteenth / 16));
    for point in written.chain([Point::Described; 4]).chain([Point::Placed; 4]) {
        let before = home.whole().len();
        let mut child = home.ekiden(&["models", "import", file]).spawn().expect("the program starts");
        eventually("the import goes on", || {
            let ended = child.try_wait().expect("it can be asked").is_some();
            ended || point.is_reached(&home, before)
        });
        child.kill().expect("it can be killed");
        let ended = child.wait().expect("it has ended");
        let after = home.whole().len();
        // It may have been done before it was killed.
        assert!(after == before || after == before + 1, "{point:?}: {before} models became {after}");
        assert!(!ended.success() || after == before + 1, "it said that it was done");
        killed += usize::from(after == before);
    }
    assert!(killed >= 8, "only {killed} imports were killed before their end");
    let before = home.whole().len();
    home.models(&format!("import {file} --version last"));
    assert_eq!(home.whole().len(), before + 1);
    assert!(home.staged().is_empty(), "{:?}", home.staged());
}

/// Says which model it has opened.
struct Reader {
    says: String,
}

impl Runnable for Reader {
    type Params = ();

    fn open(ctx: &OpenContext<()>) -> Result<Self, OpenError> {
        let model = ctx.model("words")?;
        assert_eq!(ctx.first_model()?, model);
        let words = fs::read_to_string(model.file("words.txt")?)?;
        Ok(Self { says: format!("{}: {words}", model.tag()) })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add("says", |reader: &Self| Ok(reader.says.clone()));
    }
}

/// Saves a version of `words`.
fn words(home: &Home, version: &str) -> Model {
    let save = home.store().save("words").version(version).signatures_of::<Reader>().expect("is declared well");
    save.write(|folder| fs::write(folder.join("words.txt"), format!("the words of {version}"))).expect("is saved")
}

fn says(app: &App) -> String {
    let method = app.runner("words").expect("is served").method::<(), String>("says").expect("has it");
    block_on(method.async_run(())).expect("it answers")
}

#[test]
fn a_runner_opens_its_model() {
    let home = Home::new("runner");
    let model = words(&home, "1");
    let signature = &model.manifest().signatures[0];
    assert_eq!((signature.method.as_str(), signature.signature.outputs.len()), ("says", 1));

    let local = model.to_runner_of::<Reader>(()).init_local().expect("it opens");
    assert_eq!(
        local.method("says").expect("has it").run::<_, String>(()).expect("it answers"),
        "words:1: the words of 1"
    );
    let app = block_on(App::builder().runner(model.to_runner_of::<Reader>(()).cpu(1.0)).start()).expect("it starts");
    assert_eq!(says(&app), "words:1: the words of 1");

    let toml = format!("[[runners]]\nname = 'words'\ncpu = 1\nmodel = {:?}\n", model.path());
    let app = || App::builder().config_text(toml.clone()).runnable::<Reader>("words");
    assert_eq!(says(&block_on(app().start()).expect("it starts")), "words:1: the words of 1");

    // Changed since it was saved, and since it was last opened.
    fs::write(model.file("words.txt").expect("is there"), "other words.").expect("is written");
    let error = block_on(app().start()).expect_err("it is damaged").to_string();
    assert!(error.contains("words.txt is damaged"), "{error}");

    fs::remove_dir_all(model.path()).expect("is removed");
    let error = app().check().expect_err("it is gone").to_string();
    assert!(error.starts_with("runners.toml:4: runner \"words\": model: "), "{error}");
}

/// What children run. Anywhere else, it is nothing.
#[test]
fn child() {
    App::run_child(|| App::builder().runnable::<Reader>("words"));
}

#[test]
fn a_child_process_opens_the_model_that_was_found() {
    let home = Home::new("child");
    let model = words(&home, "1");
    let toml = format!("[[runners]]\nname = 'words'\ncpu = 1\nisolation = 'process'\nmodel = {:?}\n", model.path());
    let app = App::builder().config_text(toml).runnable::<Reader>("words");
    let app = app.child_args(["models::child", "--exact", "--nocapture"]);
    assert_eq!(says(&block_on(app.start()).expect("it starts")), "words:1: the words of 1");
}

#[test]
fn a_reload_takes_over_what_has_become_the_latest() {
    let home = Home::new("latest");
    home.models(&format!("import {IRIS} --name weights --version 1"));
    home.file("runners.toml", "[[runners]]\nname = 'iris_clf'\ncpu = 1\nmodel = 'weights:latest'\n");
    let mut command = home.ekiden(&["serve", "--bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0"]);
    let mut served = Program(command.stderr(Stdio::null()).spawn().expect("the program starts"));
    let mut lines = BufReader::new(served.0.stdout.take().expect("is piped")).lines().map_while(Result::ok);
    let mut said = |what: &str| lines.find_map(|line| line.strip_prefix(what).map(str::to_owned));
    let address = said("listening on http://").expect("it says where").parse().expect("an address");
    let admin = said("taking orders on ").expect("it says where");
    said("ready in").expect("it gets ready");
    let version_is = |version: &str, other: &str| {
        let mut client = Client::connect(address);
        let served = client.get("/v2/models/iris_clf").json();
        assert_eq!(served["versions"], serde_json::json!([version]), "{served}");
        assert_eq!(client.get(&format!("/v2/models/iris_clf/versions/{version}")).json(), served);
        let gone = client.get(&format!("/v2/models/iris_clf/versions/{other}"));
        assert!(
            gone.status == 404 && gone.text().contains(&format!("in version \\\"{version}\\\"")),
            "{}",
            gone.text()
        );
        let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}"#;
        let answer = client.post(&format!("/v2/models/iris_clf/versions/{version}/infer"), body).json();
        assert_eq!(answer["model_version"], serde_json::json!(version), "{answer}");
    };
    version_is("1", "2");
    std::thread::spawn(move || lines.for_each(drop));
    let reload = || {
        let output = home.ekiden(&["reload", "--admin", &admin]).output().expect("the program runs");
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("is text")
    };
    assert_eq!(reload(), "unchanged  iris_clf\n");
    home.models(&format!("import {IRIS} --name weights --version 2"));
    assert_eq!(reload(), "replaced   iris_clf\n");
    version_is("2", "1");
    assert_eq!(reload(), "unchanged  iris_clf\n");
    home.models("delete weights:2 --yes");
    assert_eq!(reload(), "replaced   iris_clf\n");
    version_is("1", "2");
}

#[test]
fn a_check_says_which_models_a_tag_means() {
    let home = Home::new("check");
    home.models(&format!("import {IRIS} --name weights --version 2026.1"));
    let check = |text: &str, set: &[&str]| {
        home.file("runners.toml", text);
        let output = home.ekiden(&[&["check"], set].concat()).output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
    };
    let runner = "[[runners]]\nname = 'iris_clf'\ncpu = 1\n";
    let (code, report, error) = check(&format!("{runner}model = 'weights'\nmodels = ['weights:2026']\n"), &[]);
    assert_eq!(code, Some(0), "{error}");
    let rows: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["model", "weights", "=", "weights:2026.1", "runners.toml:4"]), "{report}");
    assert!(rows.contains(&vec!["models", "[weights:2026", "=", "weights:2026.1]", "runners.toml:5"]), "{report}");
    let (_, report, _) = check(runner, &["--set", "runners.iris_clf.model=weights:latest"]);
    assert!(report.contains("weights:latest = weights:2026.1  --set runners.iris_clf.model"), "{report}");

    let (code, _, error) = check(&format!("{runner}model = 'wieghts'\nmodels = ['weights:3', 'A']\n"), &[]);
    assert_eq!((code, error.lines().count()), (Some(2), 3), "{error}");
    assert!(
        error.contains("runners.toml:4: runner \"iris_clf\": model: there is no model \"wieghts:latest\""),
        "{error}"
    );
    assert!(error.contains("did you mean \"weights\"?"), "{error}");
    assert!(error.contains("runners.toml:5: runner \"iris_clf\": models: there is no model \"weights:3\""), "{error}");
    assert!(error.contains("runners.toml:5: runner \"iris_clf\": models: \"A\" is no model's tag"), "{error}");
}
