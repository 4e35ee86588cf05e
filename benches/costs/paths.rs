//! The ways of a call that are counted.

use std::error::Error;
use std::future::pending;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::thread;

use clap::ValueEnum;
use ekiden::codec::Format;
use ekiden::http::ServeOptions;
use ekiden::prelude::*;
use ekiden::value::{Array, Signature, Value};

/// Calls in a full batch.
pub(crate) const BATCH: usize = 64;

/// One way of a call.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Path {
    /// One embedded call after the other, each a batch of its own.
    EmbeddedLone,
    /// Embedded calls that come together, in full batches.
    EmbeddedBatch,
    /// One HTTP request after the other, 4 numbers as JSON: from socket to socket.
    HttpLone,
    /// A body of 784 numbers as JSON to a value, and a value of 10 numbers to a body.
    Json,
    /// The same as .npy.
    Npy,
}

/// Makes this many calls.
pub(crate) type Drive = Box<dyn FnMut(usize) -> Result<(), Box<dyn Error>>>;

impl Path {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn prepare(self) -> Result<Drive, Box<dyn Error>> {
        match self {
            Self::EmbeddedLone => embedded(1),
            Self::EmbeddedBatch => embedded(BATCH),
            Self::HttpLone => http(),
            Self::Json => codec(Format::Json),
            Self::Npy => codec(Format::Npy),
        }
    }
}

/// Returns its input.
struct Echo;

impl Runnable for Echo {
    type Params = ();

    fn open(_: &OpenContext<()>) -> Result<Self, OpenError> {
        Ok(Self)
    }

    fn methods(methods: &mut Methods<Self>) {
        let row = |name| TensorSpec::f32(name, [None, Some(4)]);
        methods.add("echo", |_: &Self, x: Array| Ok(x)).batchable().input(row("x")).output(row("y"));
    }
}

/// `together` callers. A window that is as good as endless makes their calls exactly one batch.
fn embedded(together: usize) -> Result<Drive, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let runner = Runner::<Echo>::new(()).cpu(1.0).max_batch_size(together);
    let runner = if together > 1 { runner.set("batching", "window").max_latency_ms(60_000) } else { runner };
    let app = runtime.block_on(App::builder().runner(runner).start())?;
    let echo = app.runner("echo")?.method::<Array, Array>("echo")?;
    let row = Array::new(vec![5.1_f32, 3.5, 1.4, 0.2], [1, 4])?;
    Ok(Box::new(move |count| {
        // The runners end with the last clone of their app.
        let _app = &app;
        let caller = |_| {
            let (echo, row) = (echo.clone(), row.clone());
            runtime.spawn(async move {
                for _ in 0..count / together {
                    echo.async_run(row.clone()).await?;
                }
                Ok::<(), CallError>(())
            })
        };
        let callers: Vec<_> = (0..together).map(caller).collect();
        runtime.block_on(async {
            for caller in callers {
                caller.await??;
            }
            Ok(())
        })
    }))
}

/// One thread serves, and one connection asks; the client allocates nothing.
fn http() -> Result<Drive, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let app = runtime.block_on(App::builder().runner(Runner::<Echo>::new(()).cpu(1.0)).start())?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.set_nodelay(true)?;
    // It serves until the program ends.
    thread::spawn(move || {
        let options = ServeOptions { workers: NonZeroUsize::MIN, ..ServeOptions::default() };
        actix_web::rt::System::new().block_on(ekiden::http::serve(&app, listener, options, pending()))
    });
    let body = "[[5.1,3.5,1.4,0.2]]";
    let request = format!(
        "POST /v1/runners/echo/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = vec![0; 4096];
    Ok(Box::new(move |count| {
        for _ in 0..count {
            client.write_all(request.as_bytes())?;
            let mut read = 0;
            // The answer is the body, and nothing follows it.
            while !answer[..read].ends_with(body.as_bytes()) {
                match client.read(&mut answer[read..])? {
                    0 => return Err(format!("the answer is {}", String::from_utf8_lossy(&answer[..read])).into()),
                    more => read += more,
                }
            }
        }
        Ok(())
    }))
}

fn codec(format: Format) -> Result<Drive, Box<dyn Error>> {
    let spec = |name: &str, size| TensorSpec::f32(name, [None, Some(size)]).into();
    let signature =
        Signature { inputs: vec![spec("x", 784)], outputs: vec![spec("y", 10)], batching: None, streams: false };
    let value = |size: usize| -> Result<Value, Box<dyn Error>> {
        let numbers = (0..size).map(|number| (number % 256) as f32 / 255.0).collect();
        Ok(Value::Tensor(Array::new::<f32>(numbers, [1, size])?))
    };
    let (_, body) = format.encode(&signature, &[value(784)?])?;
    let output = [value(10)?];
    Ok(Box::new(move |count| {
        for _ in 0..count {
            black_box(format.decode(black_box(&body), &signature)?);
            black_box(format.encode(&signature, black_box(&output))?);
        }
        Ok(())
    }))
}
