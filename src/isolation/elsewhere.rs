//! Systems without what child processes need: configuration is refused there before any of this is asked.

use ekiden_actors::OpenError;

use super::{Isolated, Opening};
use crate::serving::Model;
use crate::value::Signature;

/// There is none.
pub(crate) enum Child {}

impl Child {
    pub(crate) fn opening(&self) -> &Opening {
        match *self {}
    }

    pub(crate) fn serve(self, _: impl FnOnce(&Opening) -> Result<Box<dyn Model>, OpenError>) {
        match self {}
    }
}

pub(crate) fn adopt() -> Option<Child> {
    None
}

pub(crate) fn refuse_stray() -> bool {
    false
}

#[expect(clippy::disallowed_methods, reason = "no child ever gets here")]
pub(crate) fn leave(code: i32) -> ! {
    std::process::exit(code)
}

pub(crate) fn open(_: &Isolated, _: Opening, _: Vec<Signature>) -> Result<Box<dyn Model>, OpenError> {
    Err(OpenError::new("child processes need a Unix"))
}
