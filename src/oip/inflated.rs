//! How much memory requests that came compressed take, all together: a thousand times what was sent for them, at worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ekiden_actors::CallError;

/// How many of the largest there may be at once.
const MOST_BODIES: usize = 4;

/// The bytes that requests which came compressed hold at once in a server.
#[derive(Clone, Debug)]
pub struct Inflated {
    held: Arc<AtomicUsize>,
    most: usize,
}

impl Inflated {
    /// In a server whose requests have at most so many bytes.
    pub fn new(max_bytes: usize) -> Self {
        Self { held: Arc::default(), most: max_bytes.saturating_add(1).saturating_mul(MOST_BODIES) }
    }

    /// For one request, as yet without any bytes.
    pub fn hold(&self) -> Held {
        Held { of: self.clone(), bytes: 0 }
    }
}

/// What one request holds of it, until it has been answered.
#[derive(Debug)]
pub struct Held {
    of: Inflated,
    bytes: usize,
}

impl Held {
    /// Holds so many bytes, before they are taken.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] where others hold too many; [`CallError::TooLarge`] where it would have to hold more than all
    /// may together.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), CallError> {
        if bytes > self.of.most {
            let most = self.of.most;
            let problem = format!(
                "the request takes {bytes} bytes when it is inflated and read, and all together may take {most}"
            );
            return Err(CallError::TooLarge(problem.into()));
        }
        let more = bytes.saturating_sub(self.bytes);
        let add = |held: usize| held.checked_add(more).filter(|held| *held <= self.of.most);
        if self.of.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_err() {
            let most = self.of.most;
            return Err(CallError::unavailable(format!(
                "requests that come compressed take {most} bytes at once when they are inflated, and no more"
            )));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
