//! All connections, driven by one thread.
//!
//! It has to take as little as it can of cores it may share with the server: bytes of the request made once, one write
//! and one read for each answer, and no more of the answer looked at than where it ends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::connection::{Connection, Lost, State};
use super::{Arrivals, Failure, LoadError, Record};

/// How often connections are looked over for those that wait too long, and the caller is told how far it is.
const SWEEP: Duration = Duration::from_millis(100);

/// A poll takes whole milliseconds and up to a tenth of one on top: nearer to a due time it does not wait.
const SHARP: Duration = Duration::from_micros(1100);

/// What is read at once, in bytes.
const BUFFER: usize = 64 * 1024;

/// When requests are sent.
pub(crate) enum Pace {
    /// One after the other on each connection.
    Closed,
    /// When they are due, on whichever connection is free then, or as soon as one is.
    Open(Arrivals),
}

/// What all requests of a load have in common.
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    pub(crate) request: Vec<u8>,
    /// How long the client waits for a connection, and for an answer.
    pub(crate) patience: Duration,
    /// How long a success may take to be good.
    pub(crate) good_within: Duration,
    /// How late a request may be sent for the sake of a core that the server has a use for. With none, the core is kept
    /// busy until a request is due.
    pub(crate) leeway: Duration,
}

/// Told about ten times a second what has come in, and says whether to go on.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(&Record) -> bool;

/// A number of connections to one server.
pub(crate) struct Client<'a> {
    plan: &'a Plan,
    poll: Poll,
    connections: Vec<Connection>,
    /// Those that can take a request.
    free: VecDeque<usize>,
    buffer: Vec<u8>,
}

/// The phase that is under way.
struct Phase<'a> {
    started: Instant,
    /// What is due from then on is not of this phase.
    end: Instant,
    pace: Option<&'a mut Pace>,
    record: Record,
    waited: Duration,
}

impl<'a> Client<'a> {
    /// Opens the connections.
    pub(crate) fn connect(plan: &'a Plan, connections: usize) -> Result<Self, LoadError> {
        let poll = Poll::new()?;
        let open = |index| Connection::open(plan.address, poll.registry(), Token(index), plan.patience);
        let open = |index| open(index).map_err(|error| LoadError::Connect { index, connections, error });
        let opened = (0..connections).map(open).collect::<Result<Vec<Connection>, LoadError>>()?;
        Ok(Self { plan, poll, connections: opened, free: (0..connections).collect(), buffer: vec![0; BUFFER] })
    }

    /// Sends at this pace for `time`, and records what comes in.
    ///
    /// A closed loop ends with requests under way, which a further call goes on with. An open loop waits for their
    /// answers, since the slow ones among them would be missed otherwise.
    pub(crate) fn drive(&mut self, pace: &mut Pace, time: Duration, watch: Watch<'_>) -> Result<Record, LoadError> {
        let started = Instant::now();
        let record = Record::new(self.plan.good_within)?;
        let end = started + time;
        let mut phase = Phase { started, end, pace: Some(pace), record, waited: Duration::ZERO };
        self.run(&mut phase, end, false, watch)?;
        phase.record.elapsed = started.elapsed();
        phase.record.busy = 1.0 - phase.waited.as_secs_f64() / phase.record.elapsed.as_secs_f64().max(1e-9);
        if let Some(Pace::Open(arrivals)) = phase.pace.take() {
            phase.record.unsent = arrivals.left_before(time.min(phase.record.elapsed));
            self.run(&mut phase, Instant::now() + self.plan.patience, true, watch)?;
            phase.record.unanswered = self.under_way() as u64;
            // What came in after the last request is counted, and so is the time that it took.
            phase.record.elapsed = phase.record.elapsed.max(phase.record.last_success);
        }
        Ok(phase.record)
    }

    /// Takes the answers that are still under way, so that the next load meets an idle server.
    pub(crate) fn finish(mut self, watch: Watch<'_>) -> Result<Record, LoadError> {
        let started = Instant::now();
        let record = Record::new(self.plan.good_within)?;
        let mut phase = Phase { started, end: started, pace: None, record, waited: Duration::ZERO };
        self.run(&mut phase, started + self.plan.patience, true, watch)?;
        phase.record.unanswered = self.under_way() as u64;
        Ok(phase.record)
    }

    fn under_way(&self) -> usize {
        self.connections.iter().filter(|connection| connection.is_under_way()).count()
    }

    /// Goes on until `end`, or until nothing is under way if that is what is waited for, or until `watch` says stop.
    fn run(&mut self, phase: &mut Phase<'_>, end: Instant, to_rest: bool, watch: Watch<'_>) -> Result<(), LoadError> {
        let mut events = Events::with_capacity(self.connections.len().max(8));
        let mut sweep = Instant::now() + SWEEP;
        loop {
            let now = Instant::now();
            if now >= sweep {
                self.sweep(phase, now);
                sweep = now + SWEEP;
                if !watch(&phase.record) {
                    return Ok(());
                }
            }
            self.send_due(phase, now);
            if now >= end || (to_rest && self.under_way() == 0) {
                return Ok(());
            }
            self.wait(&mut events, phase, now, sweep.min(end))?;
            for event in &events {
                self.advance(event, phase);
            }
        }
    }

    /// Waits for events, until the next request is due, and at most until `latest`.
    fn wait(
        &mut self,
        events: &mut Events,
        phase: &mut Phase<'_>,
        now: Instant,
        latest: Instant,
    ) -> Result<(), LoadError> {
        let due = if self.free.is_empty() { None } else { phase.due() };
        let time = match due.map(|due| due.saturating_duration_since(now)) {
            Some(left) if left < SHARP => Duration::ZERO,
            Some(left) => Duration::from_millis((left - SHARP).as_millis() as u64 + 1),
            None => latest.saturating_duration_since(now),
        };
        let before = Instant::now();
        match self.poll.poll(events, Some(time.min(SWEEP))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        if time.is_zero() && events.is_empty() {
            // Whoever else is to run on this core shall: it may be the server.
            match self.plan.leeway {
                Duration::ZERO => std::thread::yield_now(),
                leeway => std::thread::park_timeout(leeway),
            }
        }
        if !time.is_zero() || events.is_empty() {
            phase.waited += before.elapsed();
        }
        Ok(())
    }

    /// Sends what is due on connections that are free.
    fn send_due(&mut self, phase: &mut Phase<'_>, now: Instant) {
        while let Some(&index) = self.free.front()
            && let Some(due) = phase.next(now)
        {
            self.free.pop_front();
            self.send(index, due, now, phase);
        }
    }

    fn send(&mut self, index: usize, due: Instant, now: Instant, phase: &mut Phase<'_>) {
        phase.record.sent(now.saturating_duration_since(due));
        let connection = &mut self.connections[index];
        (connection.due, connection.sent) = (due, now);
        let sent = connection.send(&self.plan.request, self.plan.address, self.poll.registry(), Token(index));
        if let Err(lost) = sent {
            self.lost(index, lost, phase);
        }
    }

    fn advance(&mut self, event: &Event, phase: &mut Phase<'_>) {
        let Token(index) = event.token();
        let connection = &mut self.connections[index];
        match connection.advance(&self.plan.request, &mut self.buffer) {
            Ok(false) => {}
            Ok(true) => {
                let now = Instant::now();
                phase.answered(connection, now);
                if event.is_read_closed() {
                    connection.close();
                }
                match phase.next(now) {
                    Some(due) => self.send(index, due, now, phase),
                    None => self.free.push_back(index),
                }
            }
            Err(lost) => self.lost(index, lost, phase),
        }
    }

    fn lost(&mut self, index: usize, Lost(failure, why): Lost, phase: &mut Phase<'_>) {
        phase.record.lost(failure, phase.started.elapsed(), || why);
        if self.connections[index].state == State::Closed {
            self.free.push_back(index);
        }
    }

    fn sweep(&mut self, phase: &mut Phase<'_>, now: Instant) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            match connection.state {
                State::Backoff(until) if until <= now => {
                    connection.state = State::Closed;
                    self.free.push_back(index);
                }
                State::Connecting | State::Busy if now.duration_since(connection.sent) > self.plan.patience => {
                    let seconds = self.plan.patience.as_secs_f64();
                    let lost = connection.lost(Failure::NoAnswer, format!("no answer for {seconds} s"));
                    self.lost(index, lost, phase);
                }
                _ => {}
            }
        }
    }
}

impl Phase<'_> {
    /// When the next request is due, in an open loop.
    fn due(&self) -> Option<Instant> {
        match &self.pace {
            Some(Pace::Open(arrivals)) => Some(self.started + arrivals.due()),
            _ => None,
        }
    }

    /// Takes the next request, if it is due by now.
    fn next(&mut self, now: Instant) -> Option<Instant> {
        match self.pace.as_deref_mut()? {
            Pace::Closed => Some(now),
            Pace::Open(arrivals) => {
                let due = self.started + arrivals.due();
                (due <= now && due < self.end).then(|| {
                    arrivals.take();
                    due
                })
            }
        }
    }

    fn answered(&mut self, connection: &Connection, now: Instant) {
        let latency = now.saturating_duration_since(connection.due);
        self.record.answered(&connection.answer, latency, now.saturating_duration_since(self.started));
    }
}
