//! Services: endpoints of one's own that prepare input, call runners, and shape the answer.
//!
//! An endpoint is an actix-web handler. What it takes and returns are I/O descriptors, which read and write bodies, refuse
//! what does not fit, and describe themselves for OpenAPI; the methods it calls are parameters too:
//!
//! ```no_run
//! use ekiden::service::{ApiError, Columns, NdArray, Service, method};
//!
//! method!(
//!     /// Three probabilities for each flower.
//!     pub Predict = "iris_clf"."predict": NdArray<f32, Columns<4>> => NdArray<f32, Columns<3>>
//! );
//!
//! async fn classify(flowers: NdArray<f32, Columns<4>>, predict: Predict) -> Result<NdArray<f32, Columns<3>>, ApiError> {
//!     Ok(predict.async_run(flowers).await?)
//! }
//!
//! # fn app() -> ekiden::App { todo!() }
//! # fn main() -> Result<(), ekiden::service::ServiceError> {
//! let service = Service::builder(&app()).post("/classify", classify).build()?;
//! # Ok(()) }
//! ```
//!
//! | descriptor | bodies |
//! |---|---|
//! | [`NdArray`] | JSON, `.npy`; dtype and shape enforced, or cast |
//! | `DataFrame` | JSON records or columns, CSV, Parquet, Arrow IPC (feature `dataframe`) |
//! | [`Json`] | JSON, by serde |
//! | [`Text`] | UTF-8 |
//! | [`Image`] | PNG, JPEG, WebP, bounded before they are decoded |
//! | [`File`] | anything |
//! | [`Multipart`], [`MultipartAnswer`] | a form whose parts are any of these |
//! | [`Sse`], [`ChunkedText`] | answers that come in pieces |
//!
//! In reading order: `body` (what comes and what is sent), `array`, `cast`, `json`, `text`, `file`, `image`, `form`, `stream` (the
//! descriptors), `method` (runners' methods as parameters), `endpoint` and `openapi` (what an endpoint says of itself), `context`,
//! `handler` and `traffic` (one request's way), `builder` and `hooks` (a service and its life).

mod array;
pub(crate) mod body;
mod builder;
pub(crate) mod cast;
mod context;
mod endpoint;
mod file;
mod form;
mod handler;
mod hooks;
mod image;
mod json;
mod method;
mod openapi;
mod stream;
mod text;
mod traffic;

pub use self::array::{AnyShape, Cast, Columns, Exact, NdArray, Rank, Shaped, Strictness};
pub use self::body::{Body, Describe, Input, Output, Schemas, Wanted};
pub use self::builder::{Service, ServiceBuilder, ServiceError};
pub use self::cast::Scalar;
pub use self::context::{Context, Limits};
pub use self::endpoint::{Endpoint, Param, Params, Reply};
pub use self::file::File;
pub use self::form::{Field, Form, FormFields, Multipart, MultipartAnswer, Parts};
pub use self::image::{Image, ImageFormat, Pixels};
pub use self::method::{Callable, method_of};
pub use self::stream::{ChunkedText, Sse};
pub use self::text::Text;
pub use crate::http::ApiError;
pub use crate::runner::Json;
#[doc(inline)]
pub use crate::{__service_form as form, __service_method as method};

pub(crate) use self::body::{extract, respond};

#[doc(hidden)]
pub mod macros {
    //! What the macros name.
    pub use actix_web::dev::Payload;
    pub use actix_web::{FromRequest, HttpRequest};
}

#[cfg(doctest)]
#[doc = include_str!("../../docs/services.md")]
mod page {}
