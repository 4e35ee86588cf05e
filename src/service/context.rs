//! What endpoints stand on: the runners that are served, and what bodies may be at most.

use actix_web::{HttpRequest, web};

use super::traffic::Traffic;
use super::{ApiError, Callable};
use crate::http::DEFAULT_MAX_BODY_BYTES;
use crate::serving::Serving;

/// What bodies may be at most. What is larger is refused with 413, before memory is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A whole body, in bytes.
    pub max_body_bytes: usize,
    /// The parts of a form.
    pub max_parts: usize,
    /// One part of a form, in bytes.
    pub max_part_bytes: usize,
    /// An image's width times its height, in pixels: looked up in its header, before it is decoded.
    pub max_pixels: u64,
    /// What an image or a table takes when it is decoded, in bytes.
    pub max_decoded_bytes: usize,
    /// The rows of a table.
    pub max_rows: usize,
    /// The columns of a table.
    pub max_columns: usize,
}

impl Default for Limits {
    /// Bodies and parts of 64 MiB, 64 parts, 2²⁵ pixels (33 megapixels), 256 MiB when decoded, 2²⁰ rows, 4096
    /// columns.
    fn default() -> Self {
        Self {
            max_body_bytes: DEFAULT_MAX_BODY_BYTES,
            max_parts: 64,
            max_part_bytes: DEFAULT_MAX_BODY_BYTES,
            max_pixels: 1 << 25,
            max_decoded_bytes: 256 << 20,
            max_rows: 1 << 20,
            max_columns: 4096,
        }
    }
}

impl Limits {
    /// Those that hold for a request: of the [`Context`] that its app has as data, else the usual ones.
    pub fn of(request: &HttpRequest) -> Self {
        Context::of(request).map(|context| context.limits).unwrap_or_default()
    }
}

/// What endpoints find their runners and limits by. A [`Service`](super::Service) brings its own; where endpoints are routed
/// by actix-web alone, the app needs one: `App::new().app_data(web::Data::new(Context::new(&app)))`.
#[derive(Clone, Debug)]
pub struct Context {
    pub(super) serving: Serving,
    pub(super) limits: Limits,
    pub(super) traffic: Traffic,
}

impl Context {
    /// Finds the runners of this app.
    pub fn new<A: AsRef<Serving>>(app: &A) -> Self {
        Self { serving: app.as_ref().clone(), limits: Limits::default(), traffic: Traffic::default() }
    }

    /// The same, with these limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Looks a method up, so that a wrong name is told when the service starts, and not by its first request.
    ///
    /// # Errors
    /// There is no such runner or method, or it takes or returns something else.
    pub fn check<C: Callable>(&self) -> Result<(), ApiError> {
        super::method::find::<C>(&self.serving).map(drop)
    }

    pub(super) fn of(request: &HttpRequest) -> Option<&Self> {
        request.app_data::<web::Data<Self>>().map(|context| &***context)
    }
}
