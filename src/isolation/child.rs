//! The child's side: it takes up the connection to its parent, opens the runnable, and runs batches until it is told to
//! go.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use ekiden_actors::{OpenError, guarded};
use rustix::fs::{FileType, fstat};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process_group, setrlimit};

use super::link::{Link, nonsense};
use super::server::{Server, brief};
use super::wire::{FromChild, ToChild};
use super::{CHILD_OF, Limits, Opening};
use crate::serving::Model;

/// This process, as a child that has been told what to be.
pub(crate) struct Child {
    link: Link,
    opening: Opening,
}

/// Takes up the connection to the parent, if this process is a child of one.
///
/// It heeds no signals from now on but the last one: the parent decides when it ends, and ends with it.
pub(crate) fn adopt() -> Option<Child> {
    let socket = connection()?;
    match take_up(socket) {
        Ok(child) => Some(child),
        Err(error) => {
            // To its parent's log, if there still is a parent.
            tell(&format!("the child process could not begin: {error}"));
            leave(1);
        }
    }
}

/// Tells the parent that this process, its child, runs as if it were none. Whether it is one.
pub(crate) fn refuse_stray() -> bool {
    let Some(socket) = connection() else { return false };
    let socket = socket.try_clone_to_owned().map(UnixStream::from);
    // If there is no parent any more, nobody needs to be told.
    let _ = socket.and_then(|socket| Link::new(socket).send(&FromChild::Stray, &[]));
    true
}

/// The connection to the parent, as it was inherited; `None` where this process is nobody's child.
fn connection() -> Option<std::os::fd::BorrowedFd<'static>> {
    let parent: i32 = std::env::var(CHILD_OF).ok()?.parse().ok()?;
    let stdin = rustix::stdio::stdin();
    let is_socket = FileType::from_raw_mode(fstat(stdin).ok()?.st_mode as _) == FileType::Socket;
    (is_socket && was_made_by(parent)).then_some(stdin)
}

/// What our own child starts inherits the variable, but not the socket.
#[cfg(target_os = "linux")]
fn was_made_by(parent: i32) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(rustix::stdio::stdin());
    peer.is_ok_and(|peer| peer.pid.as_raw_nonzero().get() == parent)
}

#[cfg(not(target_os = "linux"))]
fn was_made_by(parent: i32) -> bool {
    rustix::process::getppid().is_some_and(|found| found.as_raw_nonzero().get() == parent)
}

fn take_up(inherited: std::os::fd::BorrowedFd<'_>) -> io::Result<Child> {
    die_with_parent()?;
    ignore_signals()?;
    let mut link = Link::new(inherited.try_clone_to_owned()?.into());
    // Whoever reads the standard input finds nothing, and not the parent's messages.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    link.send(&FromChild::Hello, &[])?;
    let (message, files) = link.receive::<ToChild<'_>>()?;
    let ToChild::Open(opening) = message else { return Err(nonsense("a child is told first what to be")) };
    let opening: Opening = serde_json::from_str(opening).map_err(nonsense)?;
    let lifeline = files.into_iter().next().ok_or_else(|| nonsense("there is no lifeline"))?;
    thread::Builder::new().name("lifeline".to_owned()).spawn(move || wait_for_the_end(lifeline))?;
    limit(opening.limits)?;
    name_process(&opening);
    Ok(Child { link, opening })
}

/// The kernel kills this process when its parent's thread ends, however that ends.
#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// Everywhere, and where the parent was gone before the kernel was asked: nothing ever comes through the lifeline but its
/// end, even while a batch runs.
fn wait_for_the_end(lifeline: OwnedFd) {
    let mut nothing = [0];
    let mut lifeline = File::from(lifeline);
    while matches!(lifeline.read(&mut nothing), Err(error) if error.kind() == io::ErrorKind::Interrupted) {}
    // And all that it has started. At once: user code runs at exit, and may take for ever.
    let _ = kill_process_group(getpid(), Signal::KILL);
}

/// Whoever stops a service may signal all of its processes. The parent has still to finish what it has accepted.
fn ignore_signals() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    // A handler stays for as long as the process lives, though nobody listens.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let _heard_by_nobody = signal(kind)?;
    }
    Ok(())
}

fn limit(Limits { memory, nice }: Limits) -> io::Result<()> {
    if let Some(bytes) = memory {
        // Data, and not address space: files that are mapped do not count, nor what a GPU's driver merely reserves.
        setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })
            .map_err(|error| io::Error::other(format!("memory_limit = {bytes}: {error}")))?;
    }
    if let Some(nice) = nice {
        rustix::process::setpriority_process(None, nice)
            .map_err(|error| io::Error::other(format!("nice = {nice}: {error}")))?;
    }
    Ok(())
}

/// `ps` and `top` show whose it is.
#[cfg(target_os = "linux")]
fn name_process(opening: &Opening) {
    let name = format!("{}/{}", opening.runner, opening.executor);
    if let Ok(name) = std::ffi::CString::new(name) {
        // It is cut to 15 bytes, and for people only.
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(not(target_os = "linux"))]
fn name_process(_: &Opening) {}

/// Says something to whoever reads the parent's log.
fn tell(line: &str) {
    eprintln!("{line}");
}

/// Ends this process.
#[expect(
    clippy::disallowed_methods,
    reason = "a child has nobody to return to: its parent has heard all that it has to say"
)]
pub(crate) fn leave(code: i32) -> ! {
    std::process::exit(code)
}

impl Child {
    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Opens the runnable on this thread, and runs batches until the parent says that it is enough, or is gone.
    pub(crate) fn serve(self, open: impl FnOnce(&Opening) -> Result<Box<dyn Model>, OpenError>) {
        let Self { mut link, opening } = self;
        let opened = match guarded(|| open(&opening)) {
            Ok(Ok(model)) => link.send(&FromChild::Opened, &[]).map(|()| Some(model)),
            Ok(Err(error)) => link.send(&FromChild::NotOpened(brief(&error.to_string())), &[]).map(|()| None),
            Err(message) => link.send(&FromChild::Panicked(brief(&message)), &[]).map(|()| None),
        };
        let Ok(Some(model)) = opened else { return };
        let mut server = Server::new(link, model);
        while let Ok(true) = server.turn() {}
        if server.is_broken() {
            // What a panic has left half-done is not even dropped.
            leave(0);
        }
        let _ = guarded(move || drop(server));
    }
}
