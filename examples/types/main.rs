//! Serves runnables of every datatype, for clients of the Open Inference Protocol to be tried on.
//!
//! ```text
//! cargo run --example types
//! curl http://127.0.0.1:3003/v2/models
//! curl http://127.0.0.1:3003/v2/models/types.float32/infer \
//!   -d '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'
//! ```

mod runnable;

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use actix_web::rt::System;
use clap::Parser;
use ekiden::http::{self, ServeOptions};
use ekiden::prelude::*;
use runnable::{Pair, Types};

/// Answer with what is asked, in every datatype.
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3003")]
    bind: SocketAddr,
    /// Where to take orders: to load and unload.
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_bind: Option<SocketAddr>,
}

/// How long calls may take to finish where a runner is unloaded.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match System::new().block_on(serve(Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    // One executor each: who waits for whom is known.
    let types = Runner::<Types>::new(()).name("types").cpu(1.0);
    let pair = Runner::<Pair>::new(()).name("pair").cpu(1.0);
    let app = App::builder().runner(types).runner(pair).start().await?;
    if let Some(bind) = args.admin_bind {
        let listener = TcpListener::bind(bind)?;
        println!("taking orders on http://{}", listener.local_addr()?);
        let app = app.clone();
        // For as long as the program runs.
        actix_web::rt::spawn(async move { http::serve_admin(&app, listener, GRACE, std::future::pending()).await });
    }
    let listener = TcpListener::bind(args.bind)?;
    println!("listening on http://{}; try GET /v2/models", listener.local_addr()?);
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without signals, it is up to whoever started this program to end it.
            std::future::pending().await
        }
    };
    http::serve(&app, listener, ServeOptions::default(), stop).await?;
    Ok(())
}
