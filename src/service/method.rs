//! Runners' methods as parameters of endpoints.

use actix_web::HttpRequest;
use ekiden_actors::MethodError;

use super::body::place;
use super::{ApiError, Context};
use crate::http::call;
use crate::runner::{IntoInputs, Method, Outputs};
use crate::serving::Serving;

/// A method that an endpoint calls, by a type of its own: made by [`method!`](macro@crate::service::method).
pub trait Callable: Sized + 'static {
    /// The runner's name.
    const RUNNER: &'static str;
    /// The method's name.
    const METHOD: &'static str;
    /// What it takes.
    type Inputs: IntoInputs;
    /// What it returns.
    type Outputs: Outputs;

    /// Makes it of a handle.
    fn of(method: Method<Self::Inputs, Self::Outputs>) -> Self;
}

/// Declares a method of a runner as a type, which endpoints have as a parameter and then call: it derefs to a
/// [`runner::Method`](crate::runner::Method).
///
/// ```
/// use ekiden::service::{Json, NdArray, Columns, method};
///
/// method! {
///     /// Three probabilities for each flower.
///     pub Predict = "iris_clf"."predict": NdArray<f32, Columns<4>> => NdArray<f32, Columns<3>>;
///     /// How texts feel.
///     Score = "sentiment"."score": Vec<String> => Vec<f32>;
/// }
/// ```
///
/// Names and types are compared with what is served when the service is built. A call has the deadline and the priority that
/// its request has brought (`ekiden-timeout-ms`, `ekiden-priority`).
#[doc(hidden)]
#[macro_export]
macro_rules! __service_method {
    ($($(#[$meta:meta])* $vis:vis $name:ident = $runner:literal . $method:literal : $inputs:ty => $outputs:ty);+ $(;)?) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug)]
            $vis struct $name($crate::runner::Method<$inputs, $outputs>);

            impl $crate::service::Callable for $name {
                const RUNNER: &'static str = $runner;
                const METHOD: &'static str = $method;
                type Inputs = $inputs;
                type Outputs = $outputs;

                fn of(method: $crate::runner::Method<$inputs, $outputs>) -> Self {
                    Self(method)
                }
            }

            impl ::std::ops::Deref for $name {
                type Target = $crate::runner::Method<$inputs, $outputs>;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl $crate::service::macros::FromRequest for $name {
                type Error = $crate::service::ApiError;
                type Future = ::std::future::Ready<::std::result::Result<Self, Self::Error>>;

                fn from_request(
                    request: &$crate::service::macros::HttpRequest,
                    _: &mut $crate::service::macros::Payload,
                ) -> Self::Future {
                    ::std::future::ready($crate::service::method_of(request))
                }
            }

            impl $crate::service::Param for $name {
                fn describe(endpoint: &mut $crate::service::Endpoint) {
                    endpoint.calls::<Self>();
                }
            }
        )+
    };
}

/// The method that an endpoint calls to answer this request. It is looked up by name each time, so that a reload that has
/// replaced its runner is followed.
///
/// # Errors
/// The app has no [`Context`], or a reload has taken the method away.
pub fn method_of<C: Callable>(request: &HttpRequest) -> Result<C, ApiError> {
    let found = || {
        let context = Context::of(request).ok_or_else(|| {
            MethodError::failed("the app has no ekiden::service::Context among its data, by which runners are found")
        })?;
        let options = call::options(request)?;
        let method = find::<C>(&context.serving)?.priority(options.priority);
        Ok(C::of(match options.timeout {
            Some(timeout) => method.timeout(timeout),
            None => method,
        }))
    };
    found().map_err(|error: ApiError| error.at(&place(request)))
}

/// A handle to the method.
pub(super) fn find<C: Callable>(serving: &Serving) -> Result<Method<C::Inputs, C::Outputs>, ApiError> {
    let runner = serving.entry(C::RUNNER)?;
    let method = runner.method(C::METHOD)?.clone();
    Method::new(method, C::RUNNER).map_err(|error| MethodError::failed(error.to_string()).into())
}
