//! The child's part of the talk about batches: it runs what its parent sends.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ekiden_actors::{MethodError, Part, RunError, guarded};

use super::link::{Link, nonsense};
use super::memory::Region;
use super::payload::{INLINE, Laid, Layout};
use super::wire::{Failure, FromChild, ToChild};
use crate::serving::{Answer, CallInput, Model};
use crate::value::Values;

/// Runs what its parent sends.
pub(super) struct Server {
    talk: Talk,
    model: Box<dyn Model>,
    is_broken: bool,
}

/// The connection, and the memory that values pass through.
struct Talk {
    link: Link,
    inputs: Option<Region>,
    rooms: Vec<Option<Region>>,
    inline: Vec<u8>,
}

impl Server {
    pub(super) fn new(link: Link, model: Box<dyn Model>) -> Self {
        let talk = Talk { link, inputs: None, rooms: Vec::new(), inline: Vec::new() };
        Self { talk, model, is_broken: false }
    }

    /// Whether a panic may have left its runnable half-done.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Waits for a batch, runs it, and answers. Whether there may be another one: not after a panic.
    ///
    /// # Errors
    /// The end of the connection, which is how a child is told to go. Of any other error, nobody is left to be told.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let talk = &mut self.talk;
        let (message, files) = talk.link.receive::<ToChild<'_>>()?;
        let ToChild::Run { method, parts, inputs, fresh, room } = message else {
            return Err(nonsense("expected a batch"));
        };
        if let Some(len) = fresh {
            // The old one first: both may be large.
            talk.inputs = None;
            talk.inputs = Some(region(files, len)?);
        }
        let lend = || talk.inputs.as_ref().map(Region::lend);
        let values = inputs.pick_up(lend).map_err(nonsense)?;
        let method = method as usize;
        if self.model.signature(method).is_some_and(|signature| signature.streams) {
            return self.stream(method, values, room);
        }
        let model = self.model.as_mut();
        match guarded(|| run(model, method, &parts, values)) {
            Ok(Ok(answer)) => match self.talk.answer(answer, room)? {
                Ok(()) => Ok(true),
                Err(error) => self.fail(error),
            },
            Ok(Err(error)) => self.fail(error),
            Err(message) => self.panicked(&message),
        }
    }

    /// Runs a method that streams, and sends each chunk when the one before it has been taken.
    fn stream(&mut self, method: usize, inputs: Values, mut room: Option<u32>) -> io::Result<bool> {
        let Self { talk, model, .. } = self;
        let (mut unsent, mut broken) = (None, None);
        let input = CallInput::new(inputs, None);
        let streamed = guarded(|| {
            model.stream(method, &Part { input: &input, rows: 0..1 }, &mut |chunk| match talk.chunk(chunk, room) {
                Ok(Ok(ControlFlow::Continue(next))) => {
                    room = next;
                    ControlFlow::Continue(())
                }
                Ok(Ok(ControlFlow::Break(()))) => ControlFlow::Break(()),
                Ok(Err(error)) => {
                    unsent = Some(error);
                    ControlFlow::Break(())
                }
                Err(error) => {
                    broken = Some(error);
                    ControlFlow::Break(())
                }
            })
        });
        drop(input);
        match (streamed, unsent, broken) {
            (_, _, Some(error)) => Err(error),
            (Err(message), _, _) => self.panicked(&message),
            (_, Some(error), _) | (Ok(Err(error)), _, _) => self.fail(error),
            (Ok(Ok(())), None, None) => {
                let inputs_free = self.talk.inputs_free();
                self.talk.link.send(&FromChild::Ended { inputs_free }, &[]).map(|()| true)
            }
        }
    }

    fn fail(&mut self, error: RunError) -> io::Result<bool> {
        let failed = FromChild::Failed { why: Failure::from(error), inputs_free: self.talk.inputs_free() };
        self.talk.link.send(&failed, &[]).map(|()| true)
    }

    fn panicked(&mut self, message: &Arc<str>) -> io::Result<bool> {
        self.is_broken = true;
        self.talk.link.send(&FromChild::Panicked(brief(message)), &[]).map(|()| false)
    }
}

impl Talk {
    /// Sends one chunk of a stream, and waits to hear whether more are wanted, and which region is free for them.
    ///
    /// # Errors
    /// The outer error: the parent cannot be talked to. The inner one: the chunk has no room.
    fn chunk(
        &mut self,
        chunk: Values,
        room: Option<u32>,
    ) -> io::Result<Result<ControlFlow<(), Option<u32>>, RunError>> {
        if let Err(error) = self.answer(chunk.into(), room)? {
            return Ok(Err(error));
        }
        match self.link.receive::<ToChild<'_>>()? {
            (ToChild::More { room }, _) => Ok(Ok(ControlFlow::Continue(room))),
            (ToChild::Enough, _) => Ok(Ok(ControlFlow::Break(()))),
            _ => Err(nonsense("expected to hear whether more is wanted")),
        }
    }

    /// Sends outputs.
    ///
    /// # Errors
    /// As for [`chunk`](Self::chunk).
    fn answer(&mut self, answer: Answer, room: Option<u32>) -> io::Result<Result<(), RunError>> {
        let Answer { outputs, failed } = answer;
        let failed = failed.into_iter().map(|(row, error)| (row as u32, Failure::of_row(&error))).collect();
        let mut layout = Layout::default();
        outputs.iter().try_for_each(|value| layout.whole(value)).map_err(nonsense)?;
        if layout.len() <= INLINE {
            let mut inline = std::mem::take(&mut self.inline);
            let laid = layout.inline(&mut inline);
            // Outputs may be inputs.
            drop(outputs);
            self.send_outputs(laid, failed)?;
            self.inline = inline;
            return Ok(Ok(()));
        }
        let Some(memory) = self.room(room, layout.len())? else {
            let message = format!("no shared memory could be had for outputs of {} bytes", layout.len());
            return Ok(Err(RunError::OutOfMemory(message.into())));
        };
        let laid = layout.shared(memory);
        drop(outputs);
        self.send_outputs(laid, failed).map(Ok)
    }

    fn send_outputs(&mut self, outputs: Laid<'_>, failed: Vec<(u32, Failure)>) -> io::Result<()> {
        let inputs_free = self.inputs_free();
        self.link.send(&FromChild::Outputs { outputs, failed, inputs_free }, &[])
    }

    fn inputs_free(&mut self) -> bool {
        self.inputs.as_mut().is_none_or(|inputs| inputs.writable().is_some())
    }

    /// Memory for `len` bytes of outputs: the room that is free, or a new one. `None`: there is none to be had.
    fn room(&mut self, free: Option<u32>, len: usize) -> io::Result<Option<&mut [u8]>> {
        let fits = |number: &usize| {
            self.rooms.get(*number).is_some_and(|room| room.as_ref().is_some_and(|room| room.len() >= len))
        };
        let number = match free.map(|number| number as usize).filter(fits) {
            Some(number) => number,
            None => {
                self.link.send(&FromChild::NeedsRoom(len as u64), &[])?;
                let (message, files) = self.link.receive::<ToChild<'_>>()?;
                let ToChild::Room { number, len } = message else { return Err(nonsense("expected room")) };
                let number = number as usize;
                if len == 0 {
                    return Ok(None);
                }
                if self.rooms.len() <= number {
                    self.rooms.resize_with(number + 1, || None);
                }
                self.rooms[number] = None;
                self.rooms[number] = Some(region(files, len)?);
                number
            }
        };
        let room = self.rooms.get_mut(number).and_then(Option::as_mut).and_then(Region::writable);
        room.map(Some).ok_or_else(|| nonsense("there is no such room"))
    }
}

fn region(files: Vec<OwnedFd>, len: u64) -> io::Result<Region> {
    let file = files.into_iter().next().ok_or_else(|| nonsense("a region without its memory"))?;
    Region::open(file, usize::try_from(len).map_err(nonsense)?)
}

/// Runs a batch whose parts lie side by side in `values`.
fn run(model: &mut dyn Model, method: usize, rows: &[u32], values: Values) -> Result<Answer, RunError> {
    let signature = model.signature(method).ok_or_else(|| MethodError::failed("there is no such method"))?;
    let input = CallInput::new(values, signature.batching);
    let mut end = 0;
    let parts: Vec<Part<'_, CallInput>> = rows
        .iter()
        .map(|&rows| {
            let start = end;
            end += rows as usize;
            Part { input: &input, rows: start..end }
        })
        .collect();
    model.run(method, &parts)
}

/// As much of a message as anybody will read.
pub(super) fn brief(message: &str) -> &str {
    const LONGEST: usize = 16 << 10;
    &message[..message.floor_char_boundary(LONGEST)]
}
