//! The servers under comparison: this program again, or `ekiden serve`, each in a process of its own.

use std::error::Error;
use std::fs::File;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};
use burn::tensor::{Device, Tensor, TensorData};
use clap::ValueEnum;
use ekiden::http::ServeOptions;
use ekiden::runner::Runner;

use crate::models::{self, Dense, Mlp};
use crate::process::{Server, StartError};

/// Rows in a batch of the MLP, at most.
const MLP_BATCH: usize = 64;
/// Rows in a batch of the deep MLP, at most.
const DEEP_BATCH: usize = 16;

/// A free port.
const LOOPBACK: (&str, u16) = ("127.0.0.1", 0);

/// What this program can be started again as.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Parses rows of numbers, and answers with a constant.
    Bare,
    /// Parses rows of numbers, runs the MLP in the handler, and prints the answer.
    BareMlp,
    /// Ekiden, with the MLP.
    EkidenMlp,
    /// Ekiden, with one layer.
    EkidenLayer,
    /// Ekiden, with the deep MLP.
    EkidenDeep,
}

/// The path of the method on Ekiden.
pub(crate) const PREDICT: &str = "/v1/runners/dense/predict";

/// The same by the Open Inference Protocol.
pub(crate) const INFER: &str = "/v2/models/dense/infer";

/// Starts this program again.
pub(crate) fn spawn(name: &'static str, role: Role, answer: Option<&str>) -> Result<Server, StartError> {
    let program = std::env::current_exe().map_err(|error| StartError::Spawn { name, error })?;
    let mut command = Command::new(program);
    command.arg("--serve").args(role.to_possible_value().map(|role| role.get_name().to_owned()));
    command.args(answer.map(|answer| format!("--answer={answer}")));
    Server::spawn(name, &mut command, Stdio::piped(), None)
}

/// Starts `ekiden serve` with the iris runner and nothing else; `more` arguments set what is to be different. One core,
/// as one batch of such a model has nothing to share out. Its log goes into a file, which is gone with it.
pub(crate) fn spawn_iris(name: &'static str, program: &Path, more: &[&str]) -> Result<Server, Box<dyn Error>> {
    let mut command = Command::new(program);
    command.args(["serve", "--bind", "127.0.0.1:0", "--set", "runners.iris_clf.cpu=1"]).args(more);
    // Where there is no runners.toml, the built-in one is served, which lists iris.
    command.current_dir(std::env::temp_dir());
    let path = std::env::temp_dir().join(format!("ekiden-bench-{}.log", std::process::id()));
    let log = File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    // The server has it open, so only its name goes. Where open files cannot be removed, it stays.
    let _ = std::fs::remove_file(&path);
    Ok(Server::spawn(name, &mut command, log.into(), Some("ready in "))?)
}

/// Serves until the process is killed.
pub(crate) fn serve(role: Role, answer: String) -> Result<(), Box<dyn Error>> {
    match role {
        Role::Bare => serve_bare(answer),
        Role::BareMlp => serve_bare_mlp(),
        Role::EkidenMlp => serve_ekiden(models::MLP, MLP_BATCH),
        Role::EkidenLayer => serve_ekiden(models::LAYER, MLP_BATCH),
        Role::EkidenDeep => serve_ekiden(models::DEEP, DEEP_BATCH),
    }
}

/// Parse the body, answer with a constant, whatever the path.
fn serve_bare(answer: String) -> Result<(), Box<dyn Error>> {
    let answer = web::Bytes::from(answer);
    System::new().block_on(async {
        let server = HttpServer::new(move || {
            let answer = answer.clone();
            App::new().default_service(web::post().to(move |rows: web::Json<Vec<Vec<f32>>>| {
                // Parsing must not be optimised away for want of a reader.
                std::hint::black_box(&rows);
                let answer = answer.clone();
                async move { HttpResponse::Ok().content_type("application/json").body(answer) }
            }))
        })
        .bind(LOOPBACK)?;
        announce(server.addrs().first());
        Ok(server.run().await?)
    })
}

/// Compute at once, on the thread that has read the request: its two threads are never idle while there is work, and
/// there is no hop. A single row is too small for Burn to share out between threads.
fn serve_bare_mlp() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    let mlp = Mlp::new(models::MLP, &device);
    System::new().block_on(async {
        let server = HttpServer::new(move || {
            let (mlp, device) = (mlp.clone(), device.clone());
            App::new().default_service(web::post().to(move |rows: web::Json<Vec<Vec<f32>>>| {
                let answer = compute(&mlp, rows.into_inner(), &device);
                async move { answer.map(web::Json) }
            }))
        })
        .bind(LOOPBACK)?;
        announce(server.addrs().first());
        Ok(server.run().await?)
    })
}

fn compute(mlp: &Mlp, rows: Vec<Vec<f32>>, device: &Device) -> actix_web::Result<Vec<Vec<f32>>> {
    let (count, features) = (rows.len(), models::MLP[0]);
    if rows.iter().any(|row| row.len() != features) {
        return Err(actix_web::error::ErrorBadRequest("not 784 numbers in each row"));
    }
    let rows = TensorData::new(rows.concat(), [count, features]);
    let probabilities = mlp.forward(Tensor::from_data(rows, device)).into_data();
    let probabilities = probabilities.as_slice::<f32>().map_err(actix_web::error::ErrorInternalServerError)?;
    Ok(probabilities.chunks(probabilities.len() / count).map(<[f32]>::to_vec).collect())
}

fn serve_ekiden(sizes: &[usize], batch: usize) -> Result<(), Box<dyn Error>> {
    System::new().block_on(async {
        let runner = Runner::<Dense>::new(sizes.to_vec()).cpu(1.0).max_batch_size(batch);
        let app = ekiden::App::builder().runner(runner).start().await?;
        let listener = TcpListener::bind(LOOPBACK)?;
        announce(listener.local_addr().as_ref().ok());
        Ok(ekiden::http::serve(&app, listener, ServeOptions::default(), pending()).await?)
    })
}

/// Tells whoever has started this where to find it.
fn announce(address: Option<&SocketAddr>) {
    if let Some(address) = address {
        println!("listening on http://{address}");
    }
}
