//! The parent's side: what looks like an opened runnable, and has a child process run it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ekiden_actors::{Exit, KillSwitch, OpenError, Part, RunError};

use super::conversation::Conversation;
use super::link::Link;
use super::process::Process;
use super::wire::{FromChild, ToChild};
use super::{Isolated, Opening};
use crate::device;
use crate::serving::{Answer, CallInput, Emit, Model};
use crate::value::Signature;

/// How long a program may take to say that it knows what it is. No user code runs before that, but what `main` does
/// before its first line.
const HELLO: Duration = Duration::from_secs(30);
/// How long a child that has hung up may take to end.
const HANG_UP: Duration = Duration::from_secs(1);
/// How long a child that was told to go may take to end.
const GO: Duration = Duration::from_secs(2);

/// An opened runnable that lives in a child process.
struct Proxy {
    conversation: Conversation,
    process: Process,
    /// Closes when this process dies, however it does.
    _lifeline: UnixStream,
}

/// Starts a child, and waits until it has opened its runnable.
///
/// # Errors
/// The runnable's own, or how the child ended.
pub(crate) fn open(
    isolated: &Isolated,
    opening: Opening,
    signatures: Vec<Signature>,
) -> Result<Box<dyn Model>, OpenError> {
    let name = format!("{}/{}", opening.runner, opening.executor);
    let start = Process::start(&name, isolated.args.as_deref())
        .map_err(|error| OpenError::new(format!("the child process cannot be started: {error}")))?;
    let (process, socket) = start;
    greet(&process, &socket)?;
    let (lifeline, theirs) = UnixStream::pair()?;
    let opening = serde_json::to_string(&opening)?;
    let mut link = Link::new(socket);
    let opened = link.send(&ToChild::Open(&opening), &[theirs.as_fd()]);
    drop(theirs);
    match opened.and_then(|()| link.receive::<FromChild<'_>>()) {
        Ok((FromChild::Opened, _)) => {}
        Ok((FromChild::NotOpened(message), _)) => return Err(OpenError::new(message)),
        // Its executor's supervisor hears of a panic, as it does where the runnable is opened on a thread.
        Ok((FromChild::Panicked(message), _)) => std::panic::resume_unwind(Box::new(message.to_owned())),
        Ok(_) => return Err(OpenError::new("the child process answered with something else than was asked")),
        Err(error) => {
            let how = fate(&process, &error);
            return Err(OpenError::process_died(format!("while it was being opened, {how}")));
        }
    }
    tracing::info!(executor = name, pid = process.id(), "a child process is ready");
    Ok(Box::new(Proxy { conversation: Conversation::new(signatures, link), process, _lifeline: lifeline }))
}

/// Waits until the program says that it knows that it is a child.
fn greet(process: &Process, socket: &UnixStream) -> Result<(), OpenError> {
    const LINE: &str = "the first line of its `main` must be `App::run_child(..)`";
    socket.set_read_timeout(Some(HELLO))?;
    let mut link = Link::new(socket.try_clone()?);
    let problem = match link.receive::<FromChild<'_>>() {
        Ok((FromChild::Hello, _)) => {
            socket.set_read_timeout(None)?;
            return Ok(());
        }
        Ok((FromChild::Stray, _)) => format!("this program cannot be a child process: {LINE}"),
        Ok(_) => "the child process greeted in a way that is not understood".to_owned(),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            format!("the child process has said nothing for {} s: {LINE}", HELLO.as_secs())
        }
        Err(error) => {
            format!("the child process has ended before it was one: {}: {LINE}", fate(process, &error))
        }
    };
    Err(OpenError::new(problem))
}

/// What became of a child that could not be talked to.
fn fate(process: &Process, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::InvalidData {
        process.end(Duration::ZERO, &format!("it said what makes no sense ({error}), and was killed"))
    } else {
        process.end(HANG_UP, "it closed its connection, and was killed")
    }
}

impl Model for Proxy {
    fn signature(&self, method: usize) -> Option<&Signature> {
        self.conversation.signature(method)
    }

    fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> Result<Answer, RunError> {
        match self.conversation.run(method, parts) {
            Ok(answer) => answer,
            Err(error) => Err(RunError::Lost(Exit::ProcessDied(fate(&self.process, &error).into()))),
        }
    }

    fn stream(&mut self, method: usize, call: &Part<'_, CallInput>, emit: &mut Emit<'_>) -> Result<(), RunError> {
        match self.conversation.stream(method, call, emit) {
            Ok(ended) => ended,
            Err(error) => Err(RunError::Lost(Exit::ProcessDied(fate(&self.process, &error).into()))),
        }
    }

    fn exit_of_panic(&self, message: Arc<str>) -> Exit {
        device::exit_of_panic(message)
    }

    fn kill_switch(&self) -> Option<KillSwitch> {
        Some(self.process.kill_switch())
    }

    fn lost(&self) -> Option<Exit> {
        let how = || self.process.end(Duration::ZERO, "it was killed");
        (!self.process.is_alive()).then(|| Exit::ProcessDied(how().into()))
    }

    fn on_loss(&self, wake: Box<dyn Fn() + Send>) {
        self.process.on_end(wake);
    }
}

impl Drop for Proxy {
    /// Tells the child to go, and sees it off.
    fn drop(&mut self) {
        self.conversation.finish();
        self.process.end(GO, "it was killed");
    }
}
