//! Writes a text word by word, to the terminal or over HTTP: each word is there before the next one is made.
//!
//! ```text
//! cargo run --example tokens -- "The runner"
//! cargo run --example tokens -- --bind 127.0.0.1:3003
//! ```

mod runnable;

use std::error::Error;
use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use actix_web::rt::System;
use clap::Parser;
use ekiden::http::{self, ServeOptions};
use ekiden::prelude::*;
use runnable::{Ask, Chain};

/// Write a text that goes on as another one might.
#[derive(Parser)]
struct Args {
    /// What it begins with; without it, HTTP is served.
    prompt: Option<String>,
    /// The same seed has the same text.
    #[arg(long, default_value_t = 0, requires = "prompt")]
    seed: u64,
    /// The most words.
    #[arg(long, default_value_t = runnable::most_words(), requires = "prompt")]
    words: usize,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3003", conflicts_with = "prompt")]
    bind: String,
}

fn main() -> ExitCode {
    let Args { prompt, seed, words, bind } = Args::parse();
    let done = System::new().block_on(async {
        let app = App::builder().runner(Runner::<Chain>::new(()).name("tokens").cpu(1.0)).start().await?;
        match prompt {
            Some(prompt) => write(&app, Ask { prompt, seed, words }).await,
            None => serve(&app, &bind).await,
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

async fn write(app: &App, ask: Ask) -> Result<(), Box<dyn Error>> {
    let generate: Method<Json<Ask>, String> = app.runner("tokens")?.method("generate")?;
    print!("{}", ask.prompt);
    let mut words = generate.stream(Json(ask))?;
    while let Some(word) = words.next().await {
        print!("{}", word?);
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}

async fn serve(app: &App, bind: &str) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(bind).map_err(|error| format!("cannot listen on {bind}: {error}"))?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}; try");
    println!("  curl -N http://{address}/v1/runners/tokens/generate -H 'content-type: application/json' \\");
    println!("    -d '{{\"prompt\":\"The runner\",\"seed\":7,\"words\":20}}'");
    println!("  and, for the text alone, -H 'accept: text/plain'");
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals, it is up to whoever started this program to end it.
            std::future::pending().await
        }
    };
    http::serve(app, listener, ServeOptions::default(), stop).await?;
    Ok(())
}
