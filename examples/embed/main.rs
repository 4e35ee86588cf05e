//! An actix-web service with a handler of its own that awaits a runner, and the Ekiden API mounted beside it, with its page.
//!
//! ```text
//! cargo run --example embed
//! EKIDEN__RUNNERS__IRIS_CLF__ISOLATION=process cargo run --example embed     # the model in a process of its own
//! ```

#[path = "../iris/runnable.rs"]
mod iris;

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::{HttpServer, web};
use clap::Parser;
use ekiden::AppBuilder;
use ekiden::http::ApiError;
use ekiden::prelude::*;
use iris::IrisClf;
use serde::{Deserialize, Serialize};

const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// How long calls may take to finish once the service stops.
const GRACE: Duration = Duration::from_secs(10);

/// Classify iris flowers over HTTP, in a service of one's own.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3002")]
    bind: String,
}

fn main() -> ExitCode {
    // So that `isolation` can be "process": an executor's child is this program too, and goes no further than this line.
    App::run_child(app);
    match System::new().block_on(run(Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn app() -> AppBuilder {
    App::builder().runner(Runner::<IrisClf>::new(()).cpu(1.0)).environment()
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let app = app().start().await?;
    let predict: Predict = app.runner("iris_clf")?.method("predict")?;

    let listener = TcpListener::bind(&args.bind).map_err(|error| format!("cannot listen on {}: {error}", args.bind))?;
    let address = listener.local_addr()?;
    let ekiden = ekiden::http::routes(&app);
    let service = move || {
        actix_web::App::new()
            .app_data(web::Data::new(predict.clone()))
            .route("/classify", web::post().to(classify))
            .configure(ekiden.clone())
            .configure(ekiden::page::routes())
    };
    println!("listening on http://{address}; try");
    println!("  curl http://{address}/classify -H 'content-type: application/json' \\");
    println!("    -d '{{\"sepal_length\":5.1,\"sepal_width\":3.5,\"petal_length\":1.4,\"petal_width\":0.2}}'");
    println!("  curl http://{address}/v1/runners");

    // Returns when a signal (Ctrl-C, SIGTERM) has stopped it; requests under way have been answered by then.
    HttpServer::new(service).listen(listener)?.run().await?;
    app.shutdown(GRACE).await;
    Ok(())
}

/// A typed handle: which method it is, and that its types are these, was checked when the service started.
type Predict = Method<Tensor<2>, Tensor<2>>;

/// Centimetres.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flower {
    sepal_length: f32,
    sepal_width: f32,
    petal_length: f32,
    petal_width: f32,
}

#[derive(Serialize)]
struct Classified {
    species: &'static str,
    probability: f32,
}

async fn classify(flower: web::Json<Flower>, predict: web::Data<Predict>) -> Result<web::Json<Classified>, ApiError> {
    let Flower { sepal_length, sepal_width, petal_length, petal_width } = *flower;
    let features = [[sepal_length, sepal_width, petal_length, petal_width]];
    // One row; it shares a batch with those of other requests.
    let probabilities = predict.async_run(Tensor::from_data(features, &Device::flex())).await?;
    let probabilities = probabilities.into_data_as::<f32>();
    let ranked = SPECIES.into_iter().zip(probabilities.iter::<f32>());
    let best = ranked.max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (species, probability) = best.ok_or_else(|| MethodError::failed("there are no probabilities"))?;
    Ok(web::Json(Classified { species, probability }))
}
