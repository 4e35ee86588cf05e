//! A service of endpoints that prepare input, call runners, in parallel too, and shape the answer.
//!
//! ```text
//! cargo run --example service
//! ```

#[path = "../iris/runnable.rs"]
mod iris;
mod novelty;
mod pictures;

use std::net::TcpListener;
use std::process::ExitCode;

use actix_web::rt::System;
use actix_web::web;
use clap::Parser;
use ekiden::dataframe::{DataFrame, numbers, texts};
use ekiden::http::ServeOptions;
use ekiden::prelude::*;
use ekiden::service::{
    ApiError, Cast, ChunkedText, Columns, File, Image, NdArray, Pixels, Service, Sse, Text, form, method,
};
use iris::IrisClf;
use novelty::Novelty;
use pictures::Pictures;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// The columns of a table of flowers.
const FEATURES: [&str; 4] = ["sepal_length", "sepal_width", "petal_length", "petal_width"];

method! {
    /// Three probabilities for each flower.
    Predict = "iris_clf"."predict": NdArray<f32, Columns<4>> => NdArray<f32, Columns<3>>;
    /// How far each flower is from all that are known, in centimetres.
    Distance = "novelty"."distance": NdArray<f32, Columns<4>> => NdArray<f32, Columns<1>>;
    /// The mean colour of each picture.
    Colors = "pictures"."colors": NdArray<f32> => NdArray<f32, Columns<3>>;
    /// Where a picture changes.
    Edges = "pictures"."edges": NdArray<f32, Pixels> => NdArray<f32, Pixels>;
}

/// Classify flowers and look at pictures over HTTP.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3004")]
    bind: String,
}

fn main() -> ExitCode {
    match System::new().block_on(run(Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let app = App::builder()
        .runner(Runner::<IrisClf>::new(()).cpu(1.0))
        .runner(Runner::<Novelty>::new(()).cpu(1.0))
        .runner(Runner::<Pictures>::new(()).cpu(1.0))
        .environment()
        .start()
        .await?;
    let runners = app.clone();
    let service = Service::builder(&app)
        .title("Flowers and pictures")
        .post("/classify", classify)
        .about("Probabilities of the three species, for each row of four measurements.")
        .post("/flower", flower)
        .about("The species of one flower, and how unlike others it is.")
        .post("/flowers", flowers)
        .about("A table of flowers, with their species.")
        .post("/colors", colors)
        .about("The mean colour of a picture.")
        .post("/edges", edges)
        .about("A picture of a picture's edges.")
        .post("/upload", upload)
        .about("What there is to say of a picture and what comes with it.")
        .get("/count", count)
        .about("Numbers, one after the other.")
        .get("/story", story)
        .about("A text, piece by piece.")
        .get("/weights", weights)
        .about("The classifier's weights, to be downloaded.")
        .on_start("waits until the runners are ready", move || {
            let runners = runners.clone();
            async move { runners.ready().await.map_err(|(name, cause)| format!("{name}: {cause}")) }
        })
        .on_stop("says goodbye", async || {
            println!("all has been answered");
            Ok::<(), ApiError>(())
        })
        .build()?;

    let listener = TcpListener::bind(&args.bind).map_err(|error| format!("cannot listen on {}: {error}", args.bind))?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}; try");
    println!("  curl http://{address}/classify -H 'content-type: application/json' -d '[[5.1,3.5,1.4,0.2]]'");
    println!("  curl http://{address}/colors -H 'content-type: image/png' --data-binary @picture.png");
    println!("  curl -N http://{address}/count?to=3");
    service.serve(listener, ServeOptions::default(), stopped()).await?;
    Ok(())
}

/// Ctrl-C, or SIGTERM where there is such a thing.
async fn stopped() {
    #[cfg(unix)]
    if let Ok(mut terminated) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// Rows of four numbers, of whatever dtype; the answer is JSON or `.npy`, as the request was or asks for.
async fn classify(
    flowers: NdArray<f32, Columns<4>, Cast>,
    predict: Predict,
) -> Result<NdArray<f32, Columns<3>>, ApiError> {
    Ok(predict.async_run(flowers.exact()).await?)
}

/// Centimetres.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Flower {
    #[schema(minimum = 0, maximum = 100)]
    sepal_length: f32,
    #[schema(minimum = 0, maximum = 100)]
    sepal_width: f32,
    #[schema(minimum = 0, maximum = 100)]
    petal_length: f32,
    #[schema(minimum = 0, maximum = 100)]
    petal_width: f32,
}

#[derive(Serialize, ToSchema)]
struct Classified {
    species: &'static str,
    probability: f32,
    /// To the nearest flower that is known, in centimetres.
    distance: f32,
}

/// Two runners at the same time.
async fn flower(
    Json(flower): Json<Flower>,
    predict: Predict,
    distance: Distance,
) -> Result<Json<Classified>, ApiError> {
    let Flower { sepal_length, sepal_width, petal_length, petal_width } = flower;
    if let Some(wrong) =
        [sepal_length, sepal_width, petal_length, petal_width].iter().find(|cm| !(0.0..=100.0).contains(*cm))
    {
        return Err(ApiError::invalid_input(format!("a measurement is from 0 to 100 cm, found {wrong}")));
    }
    let features = NdArray::from_rows(vec![[sepal_length, sepal_width, petal_length, petal_width]])?;
    let (probabilities, distances) = tokio::join!(predict.async_run(features.clone()), distance.async_run(features));
    let (species, probability) = best(&probabilities?.elements());
    let distance =
        distances?.elements().first().copied().ok_or_else(|| MethodError::failed("a flower has a distance"))?;
    Ok(Json(Classified { species, probability, distance }))
}

/// The likeliest species.
fn best(probabilities: &[f32]) -> (&'static str, f32) {
    let ranked = SPECIES.into_iter().zip(probabilities.iter().copied());
    ranked.max_by(|(_, one), (_, other)| one.total_cmp(other)).unwrap_or(("unknown", 0.0))
}

/// CSV, JSON, Parquet or Arrow in; the same, or what `accept` says, out.
async fn flowers(table: DataFrame, predict: Predict) -> Result<DataFrame, ApiError> {
    let probabilities = predict.async_run(table.to_array(FEATURES)?).await?;
    let probabilities = probabilities.elements();
    let best: Vec<_> = probabilities.chunks(SPECIES.len()).map(best).collect();
    DataFrame::of_columns([
        ("species", texts(best.iter().map(|(species, _)| species))),
        ("probability", numbers(best.iter().map(|(_, probability)| f64::from(*probability)))),
    ])
}

/// From 0 to 1.
#[derive(Serialize, ToSchema)]
struct Color {
    red: f32,
    green: f32,
    blue: f32,
}

/// The side of the squares that pictures are made before the runner has them: so calls share batches.
const SIDE: u32 = 32;

async fn colors(picture: Image, colors: Colors) -> Result<Json<Color>, ApiError> {
    color_of(&picture, &colors).await.map(Json)
}

async fn color_of(picture: &Image, colors: &Colors) -> Result<Color, ApiError> {
    let pixels = picture.resized(SIDE, SIDE).pixels()?;
    let pixels: Vec<f32> = pixels.elements().iter().map(|&value| f32::from(value) / 255.0).collect();
    let side = SIDE as usize;
    let means = colors.async_run(NdArray::new(pixels, [1, side, side, 3])?).await?;
    match *means.elements() {
        [red, green, blue] => Ok(Color { red, green, blue }),
        _ => Err(MethodError::failed("a picture has three means").into()),
    }
}

/// A picture in and a picture out: PNG, JPEG or WebP.
async fn edges(picture: Image, edges: Edges) -> Result<Image, ApiError> {
    let pixels = picture.pixels()?;
    let values = pixels.elements().iter().map(|&value| f32::from(value)).collect();
    let found = edges.async_run(NdArray::new(values, pixels.array().shape().clone())?).await?;
    let values = found.elements().iter().map(|&value| value.clamp(0.0, 255.0) as u8).collect();
    Image::from_pixels(&NdArray::new(values, found.array().shape().clone())?)
}

form! {
    /// A picture, and what comes with it.
    struct Upload {
        photo: Image,
        caption: Option<Text>,
        files: Vec<File>,
    }
}

#[derive(Serialize, ToSchema)]
struct Received {
    color: Color,
    caption: Option<String>,
    /// The names of the files, with what each has, in bytes.
    files: Vec<(String, usize)>,
}

async fn upload(
    ekiden::service::Multipart(Upload { photo, caption, files }): ekiden::service::Multipart<Upload>,
    colors: Colors,
) -> Result<Json<Received>, ApiError> {
    let color = color_of(&photo, &colors).await?;
    let named = |file: File| (file.name.unwrap_or_default(), file.bytes.len());
    let files = files.into_iter().map(named).collect();
    Ok(Json(Received { color, caption: caption.map(|Text(caption)| caption), files }))
}

#[derive(Deserialize, IntoParams)]
struct Count {
    /// The last number.
    to: u32,
}

async fn count(count: web::Query<Count>) -> Sse<u32> {
    Sse::new(tokio_stream::iter((1..=count.to).map(Ok::<_, CallError>)))
}

async fn story() -> ChunkedText<&'static str> {
    let words = ["Once ", "upon ", "a ", "time ", "there ", "was ", "a ", "flower.\n"];
    ChunkedText::new(tokio_stream::iter(words.map(Ok::<_, CallError>)))
}

async fn weights() -> File {
    let bytes: &[u8] = include_bytes!("../iris/iris.safetensors");
    File::new("application/octet-stream", bytes).named("iris.safetensors")
}
