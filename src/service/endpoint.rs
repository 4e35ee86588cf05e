//! What an endpoint says of itself, by the types of its handler.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::IntoParams;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::{Callable, Context, Describe, Schemas};

type Check = fn(&Context) -> Result<(), super::ApiError>;

/// What is known of an endpoint before it is called.
pub struct Endpoint {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) about: Option<String>,
    pub(super) takes: Vec<(String, Content)>,
    pub(super) gives: Vec<(String, Content)>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) calls: Vec<Check>,
    pub(super) schemas: Schemas,
}

impl Endpoint {
    pub(super) fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            about: None,
            takes: Vec::new(),
            gives: Vec::new(),
            parameters: Vec::new(),
            calls: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// Its body is read as this.
    pub fn takes<D: Describe>(&mut self) {
        self.takes.extend(D::contents(&mut self.schemas));
    }

    /// It answers with this.
    pub fn gives<D: Describe>(&mut self) {
        self.gives.extend(D::contents(&mut self.schemas));
    }

    /// It calls this method.
    pub fn calls<C: Callable>(&mut self) {
        self.calls.push(Context::check::<C>);
    }

    /// It reads this parameter of its query, or this header.
    pub fn parameter(&mut self, parameter: Parameter) {
        self.parameters.push(parameter);
    }

    /// `POST /classify`.
    pub(super) fn place(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What a handler can have as a parameter: an actix-web extractor that says what it reads. One of your own needs no more than
/// `impl Param for MyExtractor {}`.
pub trait Param {
    /// Says what it reads.
    fn describe(_: &mut Endpoint) {}
}

/// What a handler can return: an actix-web responder that says what it writes.
pub trait Reply {
    /// Says what it writes.
    fn describe(_: &mut Endpoint) {}
}

/// All parameters of a handler, up to eight.
pub trait Params {
    /// Says what they read.
    fn describe(endpoint: &mut Endpoint);
}

macro_rules! params {
    ($($type:ident)*) => {
        impl<$($type: Param),*> Params for ($($type,)*) {
            fn describe(_endpoint: &mut Endpoint) {
                $($type::describe(_endpoint);)*
            }
        }
    };
}

params!();
params!(A);
params!(A B);
params!(A B C);
params!(A B C D);
params!(A B C D E);
params!(A B C D E F);
params!(A B C D E F G);
params!(A B C D E F G H);

impl<T: ?Sized> Param for web::Data<T> {}
impl<T: Clone + 'static> Param for web::ReqData<T> {}
impl Param for HttpRequest {}

/// The path says which there are.
impl<T> Param for web::Path<T> {}

impl<T: IntoParams> Param for web::Query<T> {
    fn describe(endpoint: &mut Endpoint) {
        T::into_params(|| Some(ParameterIn::Query)).into_iter().for_each(|parameter| endpoint.parameter(parameter));
    }
}

impl<T: Reply, E> Reply for Result<T, E> {
    fn describe(endpoint: &mut Endpoint) {
        T::describe(endpoint);
    }
}

impl Reply for HttpResponse {}
