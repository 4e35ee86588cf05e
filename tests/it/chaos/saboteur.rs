//! Breaks executors from outside and from within, whatever they run: one at a time, and the next when all calls that the
//! last may have hit have ended. So no call that is not guilty meets with two.

use std::fs;
use std::path::PathBuf;

use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::folder;
use super::ledger::{Alarm, Ledger, Round};
use super::mortal::{DOOR, STRIKE, STRUCK, put};
use crate::client::Client;
use crate::support::Server;

#[derive(Clone, Copy, Debug)]
enum Deed {
    /// A child is sent this signal.
    Signal(Signal),
    /// As `Signal(KILL)`, and the next one to be opened does this.
    Door(&'static str),
    /// A batch of this runner does this.
    Strike(&'static str, &'static str),
}

const DEEDS: [Deed; 16] = [
    Deed::Signal(Signal::KILL),
    Deed::Signal(Signal::KILL),
    Deed::Signal(Signal::SEGV),
    Deed::Signal(Signal::STOP),
    Deed::Door("refuse"),
    Deed::Door("panic"),
    Deed::Door("kill"),
    Deed::Strike("far", "kill"),
    Deed::Strike("far", "abort"),
    Deed::Strike("far", "segv"),
    Deed::Strike("far", "exit"),
    Deed::Strike("far", "panic"),
    Deed::Strike("far", "poison"),
    Deed::Strike("far", "hang"),
    Deed::Strike("near", "panic"),
    Deed::Strike("near", "panic"),
];

pub fn act(round: &Round<'_>, server: &Server, mut rng: Rng) {
    let ledger = round.ledger;
    let _alarm = Alarm(ledger);
    let saboteur = Saboteur { ledger, server };
    let mut is_first = true;
    while !ledger.is_over() {
        let mut deeds = DEEDS;
        rng.shuffle(&mut deeds);
        for deed in deeds {
            ledger.wait_for(rng.usize(..60));
            if ledger.is_over() {
                return;
            }
            saboteur.commit(deed);
        }
        if std::mem::take(&mut is_first) {
            round.has_done_all();
        }
    }
}

struct Saboteur<'a> {
    ledger: &'a Ledger,
    server: &'a Server,
}

impl Saboteur<'_> {
    fn commit(&self, deed: Deed) {
        let victim = match deed {
            Deed::Signal(signal) => self.send(signal),
            Deed::Door(order) => {
                put(&folder("far"), DOOR, order);
                self.send(Signal::KILL)
            }
            Deed::Strike(runner, order) => self.strike(runner, order),
        };
        // Until it has been reaped.
        if let Some(pid) = victim.filter(|pid| *pid != rustix::process::getpid()) {
            self.ledger.until("a child ends", || test_kill_process(pid).is_err());
        }
        // Who came while it was being noticed may have been hit, too.
        self.ledger.settle();
        self.ledger.settle();
    }

    fn send(&self, signal: Signal) -> Option<Pid> {
        let answer = Client::connect(self.server.address).post("/v1/runners/far/reverse", "[\"pid\"]");
        if answer.status == 429 {
            self.ledger.note(("far".to_owned(), "reverse".to_owned(), "queue_full".to_owned()));
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.ledger.note(("far".to_owned(), "reverse".to_owned(), "ok".to_owned()));
        let pid = answer.json()[0].as_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?)).expect("a number");
        // It may have come to its end since.
        let _ = kill_process(pid, signal);
        if signal == Signal::SEGV {
            // A handler of the standard library's takes the first one.
            let _ = kill_process(pid, signal);
        }
        Some(pid)
    }

    /// Has one batch of `runner` do something: whichever comes next.
    fn strike(&self, runner: &str, order: &str) -> Option<Pid> {
        let folder = folder(runner);
        put(&folder, STRIKE, order);
        let struck: PathBuf = folder.join(STRUCK);
        self.ledger.until("a batch is struck", || self.ledger.is_over() || struck.exists());
        if fs::remove_file(folder.join(STRIKE)).is_ok() {
            // Nobody has come any more.
            return None;
        }
        self.ledger.until("a batch is struck", || struck.exists());
        let pid = fs::read_to_string(&struck).ok().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        fs::remove_file(struck).expect("it was there");
        pid
    }
}
