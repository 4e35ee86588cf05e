//! A child process, from its start to its end, which is never missed: it is reaped as soon as it has died, and what
//! became of it is kept for whoever asks.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::CHILD_OF;
use super::output;

/// A child process. It is killed when this is dropped.
pub(super) struct Process {
    shared: Arc<Shared>,
    pid: u32,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Gone once it has been reaped.
    child: Option<Child>,
    ended: Option<ExitStatus>,
    /// Who wants to be told of its end.
    wake: Option<Box<dyn Fn() + Send>>,
}

impl Process {
    /// Starts this program once more, as a child that talks through the returned socket. What it prints is logged under
    /// `name`.
    pub(super) fn start(name: &str, args: Option<&[String]>) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (output, said) = io::pipe()?;
        let mut command = Command::new(program()?);
        match args {
            Some(args) => command.args(args),
            None => command.args(std::env::args_os().skip(1)),
        };
        if let Some(own) = std::env::args_os().next() {
            command.arg0(own);
        }
        command
            .env(CHILD_OF, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(said.try_clone()?)
            .stderr(said)
            // Ctrl-C is for the parent, which wants to finish what it has accepted.
            .process_group(0);
        let child = command.spawn()?;
        // It holds the other ends of the socket and of the pipe.
        drop(command);
        let pid = child.id();
        let state = State { child: Some(child), ended: None, wake: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let process = Self { shared: Arc::clone(&shared), pid };
        let minder = Arc::clone(&shared);
        if let Err(error) = thread::Builder::new().name(format!("{name}:process")).spawn(move || minder.mind(pid)) {
            shared.kill();
            shared.mind(pid);
            return Err(error);
        }
        let log = name.to_owned();
        thread::Builder::new().name(format!("{name}:output")).spawn(move || output::forward(output, &log))?;
        Ok((process, ours))
    }

    pub(super) fn id(&self) -> u32 {
        self.pid
    }

    /// Whether it is alive, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        self.shared.state().child.is_some()
    }

    /// Has `wake` called when it ends.
    pub(super) fn on_end(&self, wake: Box<dyn Fn() + Send>) {
        let mut state = self.shared.state();
        if state.child.is_some() {
            state.wake = Some(wake);
        } else {
            drop(state);
            wake();
        }
    }

    /// What kills it from anywhere.
    pub(super) fn kill_switch(&self) -> ekiden_actors::KillSwitch {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.kill())
    }

    /// Waits for its end, kills it if that takes longer than `patience`, and tells how it ended. `or_else` is told where it
    /// had to be killed.
    pub(super) fn end(&self, patience: Duration, or_else: &str) -> String {
        let state = self.shared.state();
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, patience, |state| state.child.is_some())
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            drop(state);
            self.shared.kill();
            return or_else.to_owned();
        }
        state.ended.map_or_else(|| "it has ended".to_owned(), describe)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it and all that it has started, unless it has been reaped: until then, its number is its own.
    fn kill(&self) {
        let mut state = self.state();
        if let Some(child) = &mut state.child {
            kill_group(child.id());
            let _ = child.kill();
        }
    }

    /// Waits for its end, and reaps it.
    fn mind(&self, pid: u32) {
        // Without reaping it: as long as it is a zombie, nobody else has its number, and it can be killed by it.
        while let Some(pid) = number(pid)
            && let Err(rustix::io::Errno::INTR) =
                waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let mut state = self.state();
        // What it has started does not outlive it.
        kill_group(pid);
        if let Some(mut child) = state.child.take() {
            state.ended = child.wait().ok();
        }
        let wake = state.wake.take();
        drop(state);
        self.changed.notify_all();
        if let Some(wake) = wake {
            wake();
        }
    }
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn kill_group(pid: u32) {
    if let Some(pid) = number(pid) {
        // It fails where there is nobody left.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// This very program, even if another has been put in its place since it was started.
fn program() -> io::Result<std::path::PathBuf> {
    let running = std::path::Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

/// How a process ended: `killed by SIGKILL`, `exited with code 3`.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => match SIGNALS.iter().find(|(known, _)| known.as_raw() == signal) {
            Some((_, name)) => format!("killed by {name}"),
            None => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// The signals that end processes, with the names that people know.
const SIGNALS: [(Signal, &str); 14] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::SYS, "SIGSYS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_name() {
        let check = |raw, expected| assert_eq!(describe(ExitStatus::from_raw(raw)), expected);
        check(9, "killed by SIGKILL");
        check(128 + 11, "killed by SIGSEGV");
        check(6, "killed by SIGABRT");
        check(3 << 8, "exited with code 3");
        check(0, "exited with code 0");
        check(40, "killed by signal 40");
    }
}
