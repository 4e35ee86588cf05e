//! The servers under comparison, and what their answers must be.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;

use crate::args::Args;
use crate::process::{Server, StartError};

/// One flower, a setosa.
pub(crate) const IRIS_BODY: &str = "[[5.1,3.5,1.4,0.2]]";

/// The iris runner and nothing else. One core, as one batch of such a model has nothing to share out.
const RUNNERS: &str = "[[runners]]\nname = \"iris_clf\"\ncpu = 1\n";

/// Starts `ekiden serve`.
pub(crate) fn spawn_ekiden(args: &Args) -> Result<Server, Box<dyn Error>> {
    let written = match &args.config {
        Some(_) => None,
        None => Some(ConfigFile::write()?),
    };
    let config = args.config.as_ref().or(written.as_ref().map(|file| &file.0));
    let mut command = Command::new(&args.ekiden);
    command.args(["serve", "--bind", "127.0.0.1:0"]).arg("--config").args(config);
    // By the time it listens it has read the file, which goes when `written` does.
    Ok(Server::spawn("ekiden", &mut command)?)
}

/// Starts this program again as the bare server that answers with `answer`.
pub(crate) fn spawn_bare(answer: &str) -> Result<Server, StartError> {
    let spawn_error = |error| StartError::Spawn { name: "bare actix-web", error };
    let this_program = std::env::current_exe().map_err(spawn_error)?;
    Server::spawn("bare actix-web", Command::new(this_program).arg("--serve-bare").arg(answer))
}

/// Serves until the process is killed: parse the body, answer with a constant, whatever the path.
pub(crate) fn serve_bare(answer: String) -> Result<(), Box<dyn Error>> {
    let answer = web::Bytes::from(answer);
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(move || {
            let answer = answer.clone();
            App::new().default_service(web::post().to(move |rows: web::Json<Vec<Vec<f32>>>| {
                // Parsing must not be optimised away for want of a reader.
                std::hint::black_box(&rows);
                let answer = answer.clone();
                async move { HttpResponse::Ok().content_type("application/json").body(answer) }
            }))
        })
        .bind(("127.0.0.1", 0))?;
        for address in server.addrs() {
            println!("listening on http://{address}");
        }
        Ok(server.run().await?)
    })
}

/// Whether `answer` gives three classes and the most to the first, setosa.
pub(crate) fn check_iris(answer: &str) -> Result<(), Box<dyn Error>> {
    let json: Value = serde_json::from_str(answer).map_err(|error| format!("the answer is no JSON: {error}"))?;
    match first_numbers(&json).as_deref() {
        Some(&[setosa, versicolor, virginica]) if setosa > versicolor && setosa > virginica => Ok(()),
        _ => Err(format!("the answer is not the classes of a setosa: {answer}").into()),
    }
}

/// The first list of numbers in `json`, however deep: the check does not care how the answer names its outputs.
fn first_numbers(json: &Value) -> Option<Vec<f64>> {
    match json {
        Value::Array(items) => {
            let numbers: Option<Vec<f64>> = items.iter().map(Value::as_f64).collect();
            numbers.filter(|numbers| !numbers.is_empty()).or_else(|| items.iter().find_map(first_numbers))
        }
        Value::Object(fields) => fields.values().find_map(first_numbers),
        _ => None,
    }
}

/// A `runners.toml` for as long as it is needed.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn write() -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("ekiden-bench-{}.toml", std::process::id()));
        std::fs::write(&path, RUNNERS).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
