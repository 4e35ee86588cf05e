//! Scores texts on several executors, from the command line or over HTTP.
//!
//! ```text
//! cargo run --example sentiment -- "I love it" "Never again."
//! cargo run --example sentiment -- --serve
//! ```

mod runnable;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;

use actix_web::rt::{System, spawn};
use clap::Parser;
use ekiden::http::{self, ServeOptions};
use ekiden::prelude::*;
use runnable::{Scores, Sentiment};

/// Scored where no texts are given.
const TEXTS: [&str; 5] = [
    "The food was absolutely wonderful, and the waiter was kind.",
    "It rained all week and the tent leaked. Worst holiday EVER!!!",
    "The plot is silly, but I loved every minute of it :)",
    "The train leaves at nine.",
    "The soup was not good.",
];

/// Score texts: how negative, neutral and positive they are.
#[derive(Parser)]
struct Args {
    /// Texts to score.
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Serve HTTP instead; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:3001")]
    #[arg(conflicts_with = "texts")]
    serve: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let Args { texts, serve: address } = Args::parse();
    let done = System::new().block_on(async {
        // As many executors as there are CPUs: the runnable is not multi-threaded.
        let app = App::builder().runner(Runner::<Sentiment>::new(())).start().await?;
        match address {
            Some(address) => serve(&app, address).await,
            None if texts.is_empty() => score(&app, TEXTS.map(str::to_owned).to_vec()).await,
            None => score(&app, texts).await,
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Each text is a call of its own; those that wait for an executor share a batch.
async fn score(app: &App, texts: Vec<String>) -> Result<(), Box<dyn Error>> {
    let score = app.runner("sentiment")?.method::<Vec<String>, Vec<Scores>>("score")?;
    let calls: Vec<_> = texts
        .iter()
        .map(|text| {
            let (score, text) = (score.clone(), text.clone());
            spawn(async move { score.async_run(vec![text]).await })
        })
        .collect();
    println!("{:>8}  {:>5}  {:>5}  {:>5}  text", "compound", "neg", "neu", "pos");
    for (call, text) in calls.into_iter().zip(&texts) {
        for Scores { neg, neu, pos, compound } in call.await?? {
            println!("{compound:>8.3}  {neg:>5.3}  {neu:>5.3}  {pos:>5.3}  {text}");
        }
    }
    Ok(())
}

async fn serve(app: &App, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}; try");
    println!(
        "  curl http://{address}/v1/runners/sentiment/score -H 'content-type: application/json' -d '[\"I love it\"]'"
    );
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals, it is up to whoever started this program to end it.
            std::future::pending().await
        }
    };
    http::serve(app, listener, ServeOptions::default(), stop).await?;
    Ok(())
}
