//! Methods that answer with streams: what reaches the caller and when, and what becomes of the work when somebody goes.

mod code;
mod ends;
mod http;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ekiden::prelude::*;
use serde::Deserialize;

use crate::client::Client;
use crate::support::{ON_PURPOSE, PATIENCE, Server, block_on};

const WORDS: &str = "/v1/runners/reader/words";
const TEXT: (&str, &str) = ("content-type", "text/plain");

/// What a test and its runnable share: each chunk has to be allowed, and what happens is written down.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Script {
    #[serde(skip)]
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    allowed: usize,
    log: Vec<String>,
}

impl Script {
    fn allow(&self, chunks: usize) {
        self.state().allowed += chunks;
        self.inner.1.notify_all();
    }

    /// For the runnable: waits until one more chunk is allowed.
    fn take(&self) {
        let mut state = self.inner.1.wait_while(self.state(), |state| state.allowed == 0);
        state.as_deref_mut().unwrap_or_else(|_| panic!("the test has failed")).allowed -= 1;
    }

    fn say(&self, what: impl Into<String>) {
        self.state().log.push(what.into());
        self.inner.1.notify_all();
    }

    fn said(&self, what: &str) -> bool {
        self.state().log.iter().any(|said| said == what)
    }

    /// Waits until that has happened.
    #[track_caller]
    fn wait_for(&self, what: &str) {
        let missing = |state: &mut State| !state.log.iter().any(|said| said == what);
        let waited = self.inner.1.wait_timeout_while(self.state(), PATIENCE, missing);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "there is no \"{what}\" in {:?}", state.log);
    }

    fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a stream is over, however it ends.
struct Ends<'a>(&'a Script);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.say("over");
    }
}

/// Reads texts out, word by word.
struct Reader {
    script: Script,
}

impl Runnable for Reader {
    type Params = Script;

    fn open(ctx: &OpenContext<Script>) -> Result<Self, OpenError> {
        Ok(Self { script: ctx.params().clone() })
    }

    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream("words", Self::words).input("text").output("word");
        methods.add_stream("endless", Self::endless).output("number");
        methods.add_stream("hasty", Self::endless).output("number").patience(Duration::from_millis(50));
        methods.add_stream("lengths", Self::lengths).input("text").output("word").output("length");
        methods.add_stream("bytes", Self::bytes);
        let spec = TensorSpec::f32("row", [Some(2)]);
        methods.add_stream("growing", Self::growing).output(spec);
        methods.add("length", |_: &Self, text: String| Ok(Json(text.len())));
    }
}

impl Reader {
    /// "panic" panics, "bad" is refused, and no words are no text.
    fn words(&self, text: String) -> Result<Chunks<'_, String>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let Some(first) = words.first() else { return Err(MethodError::invalid_input("there are no words")) };
        self.script.say(format!("begins with {first}"));
        let ends = Ends(&self.script);
        Ok(Box::new(words.into_iter().map(move |word| {
            // All of it, so that it ends with the iterator.
            let ends = &ends;
            ends.0.take();
            ends.0.say(word.as_str());
            match word.as_str() {
                "panic" => panic!("{ON_PURPOSE}a word"),
                "bad" => Err(MethodError::invalid_input("a bad word")),
                _ => Ok(word),
            }
        })))
    }

    /// Numbers, each of them allowed by nobody.
    fn endless(&self) -> Result<Chunks<'_, Json<u64>>, MethodError> {
        self.script.say("begins");
        let ends = Ends(&self.script);
        Ok(Box::new((0..).map(move |number| {
            let _ends = &ends;
            Ok(Json(number))
        })))
    }

    fn lengths(&self, text: String) -> Result<Chunks<'_, (String, Tensor<1, Int>)>, MethodError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Ok(Box::new(words.into_iter().map(|word| {
            let length = Tensor::from_ints([word.len() as i32], &Device::flex());
            Ok((word, length))
        })))
    }

    fn bytes(&self, bytes: Bytes) -> Result<Chunks<'_, Bytes>, MethodError> {
        Ok(Box::new((0..bytes.len()).map(move |at| Ok(bytes.slice(at..=at)))))
    }

    /// A row of two, as is said, and one of three.
    fn growing(&self) -> Result<Chunks<'_, Tensor<1>>, MethodError> {
        Ok(Box::new((2..4).map(|size| Ok(Tensor::ones([size], &Device::flex())))))
    }
}

fn runner(script: &Script) -> Runner<Reader> {
    Runner::<Reader>::new(script.clone()).cpu(1.0).set("restart_backoff_ms", 0_u32)
}

fn app(script: &Script) -> App {
    block_on(App::builder().runner(runner(script)).start()).expect("the app starts")
}

fn words(app: &App) -> Method<String, String> {
    app.runner("reader").expect("the runner").method("words").expect("the method")
}

fn send(server: &Server, text: &str, headers: &[(&str, &str)]) -> Client {
    let mut client = server.client();
    client.send("POST", WORDS, &[&[TEXT], headers].concat(), text.as_bytes());
    client
}

fn calls(method: &str, outcome: &str) -> String {
    format!(r#"ekiden_calls_total{{runner="reader",method="{method}",outcome="{outcome}"}}"#)
}
