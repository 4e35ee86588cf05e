//! The parent's part of the talk about batches: what it lays out, and what it makes of the answers.

use std::io;
use std::os::fd::AsFd;

use ekiden_actors::{MethodError, Part, RunError};

use super::link::{Link, nonsense};
use super::memory::Region;
use super::payload::{INLINE, Layout};
use super::wire::{FromChild, ToChild};
use crate::device;
use crate::serving::{Answer, CallInput, Emit};
use crate::value::gather::Rows;
use crate::value::{Signature, Value};

/// Regions for outputs that are kept, at most: callers hold answers for a while.
const ROOMS: usize = 4;
/// The most bytes of outputs that a child is believed to have: 16 GiB.
const MOST_ROOM: u64 = 16 << 30;

/// A talk with a child whose runnable is open.
pub(super) struct Conversation {
    signatures: Vec<Signature>,
    link: Link,
    /// Where inputs pass through. Gone where the child still reads what was in it.
    inputs: Option<Region>,
    /// Where outputs pass through.
    rooms: Vec<Region>,
    inline: Vec<u8>,
}

impl Conversation {
    pub(super) fn new(signatures: Vec<Signature>, link: Link) -> Self {
        Self { signatures, link, inputs: None, rooms: Vec::new(), inline: Vec::new() }
    }

    pub(super) fn signature(&self, method: usize) -> Option<&Signature> {
        self.signatures.get(method)
    }

    /// Tells the child to go.
    pub(super) fn finish(&self) {
        // If it is gone already, it need not be told.
        let _ = self.link.socket().shutdown(std::net::Shutdown::Write);
    }

    /// Has the child run a batch.
    ///
    /// # Errors
    /// The outer error: it cannot be talked to. The inner one is an answer.
    pub(super) fn run(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> io::Result<Result<Answer, RunError>> {
        let mut room = match self.begin(method, parts)? {
            Ok(room) => room,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            // Its borrow of the link ends with each arm.
            let (message, _) = self.link.receive::<FromChild<'_>>()?;
            let (answer, inputs_free) = match message {
                FromChild::NeedsRoom(len) => {
                    room = make_room(&mut self.rooms, &mut self.link, room, len)?;
                    continue;
                }
                FromChild::Outputs { outputs, failed, inputs_free } => {
                    let lend = || self.rooms.get(room?).map(Region::lend);
                    let failed = failed.into_iter().map(|(row, why)| (row as usize, why.into_row_error())).collect();
                    let outputs = outputs.pick_up(lend).map_err(nonsense)?;
                    (Ok(Answer { outputs, failed }), inputs_free)
                }
                other => failure(other).map(|(error, inputs_free)| (Err(error), inputs_free))?,
            };
            self.over(inputs_free);
            return Ok(answer);
        }
    }

    /// Has the child run a method that streams on one call; it makes a chunk when `emit` has taken the one before.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub(super) fn stream(
        &mut self,
        method: usize,
        call: &Part<'_, CallInput>,
        emit: &mut Emit<'_>,
    ) -> io::Result<Result<(), RunError>> {
        let mut room = match self.begin(method, std::slice::from_ref(call))? {
            Ok(room) => room,
            Err(error) => return Ok(Err(error)),
        };
        let mut is_enough = false;
        loop {
            let (message, _) = self.link.receive::<FromChild<'_>>()?;
            let (end, inputs_free) = match message {
                FromChild::NeedsRoom(len) => {
                    room = make_room(&mut self.rooms, &mut self.link, room, len)?;
                    continue;
                }
                FromChild::Outputs { outputs, .. } if !is_enough => {
                    let lend = || self.rooms.get(room?).map(Region::lend);
                    let chunk = outputs.pick_up(lend).map_err(nonsense)?;
                    is_enough = emit(chunk).is_break();
                    room = free_room(&mut self.rooms);
                    let more = ToChild::More { room: room.map(|room| room as u32) };
                    self.link.send(if is_enough { &ToChild::Enough } else { &more }, &[])?;
                    continue;
                }
                FromChild::Ended { inputs_free } => (Ok(()), inputs_free),
                other => failure(other).map(|(error, inputs_free)| (Err(error), inputs_free))?,
            };
            self.over(inputs_free);
            return Ok(end);
        }
    }

    /// Sends the child a batch; returns which region is free for its outputs.
    fn begin(&mut self, method: usize, parts: &[Part<'_, CallInput>]) -> io::Result<Result<Option<usize>, RunError>> {
        let layout = match self.lay_out(method, parts) {
            Ok(layout) => layout,
            Err(problem) => return Ok(Err(MethodError::failed(problem).before_run().into())),
        };
        let mut fresh = None;
        let len = layout.len();
        let inputs = if len <= INLINE {
            layout.inline(&mut self.inline)
        } else {
            match memory(&mut self.inputs, len, &mut fresh) {
                Ok(memory) => layout.shared(memory),
                Err(error) => {
                    let problem = format!("no shared memory could be had for inputs of {len} bytes: {error}");
                    return Ok(Err(RunError::OutOfMemory(problem.into())));
                }
            }
        };
        let room = free_room(&mut self.rooms);
        let message = ToChild::Run {
            method: method as u32,
            parts: parts.iter().map(|part| part.rows.len() as u32).collect(),
            inputs,
            fresh: fresh.as_ref().map(|(_, len)| *len),
            room: room.map(|room| room as u32),
        };
        let files: Vec<_> = fresh.iter().map(|(file, _)| file.as_fd()).collect();
        self.link.send(&message, &files)?;
        Ok(Ok(room))
    }

    /// The batch is over.
    fn over(&mut self, inputs_free: bool) {
        if !inputs_free {
            self.inputs = None;
        }
    }

    /// Lays the rows of all calls side by side, as their method would gather them.
    fn lay_out<'a>(&self, method: usize, parts: &'a [Part<'_, CallInput>]) -> Result<Layout<'a>, String> {
        let signature = self.signatures.get(method).ok_or("there is no such method")?;
        let mut layout = Layout::default();
        for index in 0..signature.inputs.len() {
            let values: Option<Vec<_>> =
                parts.iter().map(|part| Some((part.input.values.get(index)?, part.rows.clone()))).collect();
            let values = values.ok_or("an input is missing")?;
            match (signature.batching, values.as_slice()) {
                (None, [(value, _)]) => layout.whole(value)?,
                (Some(_), [(Value::List(_), _), ..]) => {
                    let rows = values.iter().flat_map(|(value, rows)| match value {
                        Value::List(items) => items.get(rows.clone()).unwrap_or_default(),
                        _ => &[],
                    });
                    layout.list(rows)?;
                }
                (Some(batching), _) => {
                    let rows: Option<Vec<Rows<'a>>> = values
                        .into_iter()
                        .map(|(value, rows)| match value {
                            Value::Tensor(array) => Some((array, rows)),
                            _ => None,
                        })
                        .collect();
                    layout.rows(rows.ok_or("an input of this kind cannot be batched")?, batching.input_dim)?;
                }
                (None, _) => return Err("an input of this kind cannot be batched".to_owned()),
            }
        }
        Ok(layout)
    }
}

/// What a batch has failed with, and whether its inputs are free.
fn failure(message: FromChild<'_>) -> io::Result<(RunError, bool)> {
    match message {
        FromChild::Failed { why, inputs_free } => Ok((RunError::from(why), inputs_free)),
        FromChild::Panicked(message) => Ok((RunError::Lost(device::exit_of_panic(message.into())), true)),
        _ => Err(nonsense("an answer to something else")),
    }
}

/// Memory for `len` bytes of inputs: the region that there is, or a new one, which the child has to be told of.
fn memory<'a>(
    inputs: &'a mut Option<Region>,
    len: usize,
    fresh: &mut Option<(std::fs::File, u64)>,
) -> io::Result<&'a mut [u8]> {
    if inputs.as_ref().is_none_or(|inputs| inputs.len() < len) {
        // The old one first: both may be large.
        *inputs = None;
        let (region, file) = Region::create(len)?;
        *fresh = Some((file, region.len() as u64));
        *inputs = Some(region);
    }
    inputs.as_mut().and_then(Region::writable).ok_or_else(|| io::Error::other("the inputs are being read"))
}

/// A region that nobody reads any more.
fn free_room(rooms: &mut [Region]) -> Option<usize> {
    rooms.iter_mut().position(|room| room.writable().is_some())
}

/// Makes room for `len` bytes of outputs in place of what is too small, and tells the child of it. `None`: there is none
/// to be had.
fn make_room(rooms: &mut Vec<Region>, link: &mut Link, small: Option<usize>, len: u64) -> io::Result<Option<usize>> {
    if len > MOST_ROOM {
        return Err(nonsense(format!("outputs of {len} bytes")));
    }
    // What callers still hold lives on without us.
    let number = small.unwrap_or(if rooms.len() < ROOMS { rooms.len() } else { 0 });
    match Region::create(len as usize) {
        Ok((region, file)) => {
            link.send(&ToChild::Room { number: number as u32, len: region.len() as u64 }, &[file.as_fd()])?;
            if number < rooms.len() {
                rooms[number] = region;
            } else {
                rooms.push(region);
            }
            Ok(Some(number))
        }
        Err(error) => {
            tracing::error!(%error, len, "no shared memory could be had for outputs");
            link.send(&ToChild::Room { number: number as u32, len: 0 }, &[])?;
            Ok(None)
        }
    }
}
