//! Forms of several parts.

use std::pin::{Pin, pin};
use std::task::{Context as Waking, Poll};

use actix_multipart::{Multipart as Incoming, MultipartError as FormError};
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpRequest};
use bytes::Bytes;
use futures_core::Stream;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::encoding::EncodingBuilder;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema};
use utoipa::openapi::{RefOr, Type};

use super::body::{self, place, responder};
use super::{ApiError, Body, Describe, Endpoint, Input, Limits, Output, Param, Reply, Schemas, Wanted};

const MEDIA_TYPE: &str = "multipart/form-data";

/// As much of a body as the parser is given at once, in bytes: it has a limit of its own for what waits.
const PIECE: usize = 16 << 10;

/// A form, `multipart/form-data` (RFC 7578): a struct whose fields are its parts, made by [`form!`](macro@crate::service::form).
#[derive(Clone, Debug)]
pub struct Multipart<F>(pub F);

/// A struct that a form is read into: made by [`form!`](macro@crate::service::form).
pub trait Form: Sized + 'static {
    /// Takes its parts.
    ///
    /// # Errors
    /// Which part is missing, too many, or not what it should be.
    fn read(parts: &mut Parts, limits: &Limits) -> Result<Self, ApiError>;

    /// Tells its fields.
    fn fields(fields: &mut FormFields);
}

/// Declares a struct that a form is read into. Each part is any descriptor; `Option` need not come, and of `Vec` any number
/// may.
///
/// ```
/// use ekiden::service::{File, Image, Text, form};
///
/// form! {
///     /// A picture, with what is known of it.
///     pub struct Upload {
///         /// The picture.
///         pub photo: Image,
///         /// What it shows.
///         pub caption: Option<Text>,
///         /// Whatever else there is.
///         pub files: Vec<File>,
///     }
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __service_form {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$note:meta])* $seen:vis $field:ident : $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$note])* $seen $field: $type),+
        }

        impl $crate::service::Form for $name {
            fn read(
                parts: &mut $crate::service::Parts,
                limits: &$crate::service::Limits,
            ) -> ::std::result::Result<Self, $crate::service::ApiError> {
                Ok(Self { $($field: parts.take(stringify!($field), limits)?),+ })
            }

            fn fields(fields: &mut $crate::service::FormFields) {
                $(fields.add::<$type>(stringify!($field));)+
            }
        }
    };
}

/// What a part can be: a descriptor, or `Option` or `Vec` of one.
pub trait Field: Sized {
    /// The descriptor.
    type Of: Describe;
    /// How often the part may come: at least, and at most.
    const TIMES: (usize, usize);

    /// Reads the parts of this name; there are as many as there may be.
    ///
    /// # Errors
    /// As of [`Input::read`].
    fn read(bodies: Vec<Body>, limits: &Limits) -> Result<Option<Self>, ApiError>;
}

impl<T: Input + Describe> Field for T {
    type Of = T;
    const TIMES: (usize, usize) = (1, 1);

    fn read(bodies: Vec<Body>, limits: &Limits) -> Result<Option<Self>, ApiError> {
        bodies.into_iter().next().map(|body| T::read(body, limits)).transpose()
    }
}

impl<T: Input + Describe> Field for Option<T> {
    type Of = T;
    const TIMES: (usize, usize) = (0, 1);

    fn read(bodies: Vec<Body>, limits: &Limits) -> Result<Option<Self>, ApiError> {
        bodies.into_iter().next().map(|body| T::read(body, limits)).transpose().map(Some)
    }
}

impl<T: Input + Describe> Field for Vec<T> {
    type Of = T;
    const TIMES: (usize, usize) = (0, usize::MAX);

    fn read(bodies: Vec<Body>, limits: &Limits) -> Result<Option<Self>, ApiError> {
        bodies.into_iter().map(|body| T::read(body, limits)).collect::<Result<_, _>>().map(Some)
    }
}

/// The parts of a form that has come.
#[derive(Debug)]
pub struct Parts(Vec<Body>);

impl Parts {
    /// Takes the parts of this name.
    ///
    /// # Errors
    /// There are too few or too many, or they are not what they should be.
    pub fn take<F: Field>(&mut self, name: &str, limits: &Limits) -> Result<F, ApiError> {
        let (bodies, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|body| body.name == name);
        self.0 = others;
        let (_, most) = F::TIMES;
        if bodies.len() > most {
            return Err(ApiError::invalid_input(format!(
                "part \"{name}\": expected once, found {} times",
                bodies.len()
            )));
        }
        F::read(bodies, limits)?.ok_or_else(|| ApiError::invalid_input(format!("part \"{name}\" is missing")))
    }
}

/// The fields of a form, for OpenAPI.
#[derive(Default)]
pub struct FormFields {
    names: Vec<&'static str>,
    object: ObjectBuilder,
    content: ContentBuilder,
    schemas: Schemas,
}

impl FormFields {
    /// Adds one.
    pub fn add<F: Field>(&mut self, name: &'static str) {
        let contents = F::Of::contents(&mut self.schemas);
        let media_types: Vec<&str> = contents.iter().map(|(media_type, _)| media_type.as_str()).collect();
        let encoding = EncodingBuilder::new().content_type(Some(media_types.join(", ")));
        let schema = contents.into_iter().next().and_then(|(_, content)| content.schema);
        // What has no schema is bytes.
        let mut schema: RefOr<Schema> = schema.unwrap_or_else(|| ObjectBuilder::new().schema_type(Type::String).into());
        let (least, most) = F::TIMES;
        if most > 1 {
            schema = ArrayBuilder::new().items(schema).into();
        }
        self.names.push(name);
        let object = std::mem::take(&mut self.object).property(name, schema);
        self.object = if least > 0 { object.required(name) } else { object };
        self.content = std::mem::take(&mut self.content).encoding(name, encoding);
    }
}

impl<F: Form> Describe for Multipart<F> {
    fn contents(schemas: &mut Schemas) -> Vec<(String, Content)> {
        let mut fields = FormFields::default();
        F::fields(&mut fields);
        schemas.append(&mut fields.schemas);
        let object =
            fields.object.additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(false)));
        vec![(MEDIA_TYPE.to_owned(), fields.content.schema(Some(object)).build())]
    }
}

impl<F: Form> Param for Multipart<F> {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.takes::<Self>();
    }
}

impl<F: Form> FromRequest for Multipart<F> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let limits = Limits::of(&request);
            form(&request, payload, &limits).await.map(Self).map_err(|error| error.at(&place(&request)))
        })
    }
}

async fn form<F: Form>(request: &HttpRequest, payload: Payload, limits: &Limits) -> Result<F, ApiError> {
    let body = body::read(request, payload, limits).await?;
    if body.essence().as_deref() != Some(MEDIA_TYPE) {
        return Err(body.unsupported(&[MEDIA_TYPE]));
    }
    let mut parts = Parts(parts(request.headers(), body.bytes, limits).await?);
    let form = F::read(&mut parts, limits);
    if !parts.0.is_empty() {
        let mut fields = FormFields::default();
        F::fields(&mut fields);
        // Before a part that is missing: a wrong name is why.
        if let Some(unknown) = parts.0.iter().find(|part| !fields.names.contains(&part.name.as_str())) {
            let hint = crate::suggest::suggest(&unknown.name, fields.names.into_iter());
            return Err(ApiError::invalid_input(format!("there is no part \"{}\"{hint}", unknown.name)));
        }
    }
    form
}

/// Takes a form apart.
async fn parts(headers: &HeaderMap, body: Bytes, limits: &Limits) -> Result<Vec<Body>, ApiError> {
    let unreadable = |error: FormError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        ApiError::invalid_input(format!("the form cannot be read: {error}{cause}"))
    };
    let mut incoming = pin!(Incoming::new(headers, Pieces(body)));
    let mut parts = Vec::new();
    while let Some(field) = std::future::poll_fn(|cx| incoming.as_mut().poll_next(cx)).await {
        let mut field = field.map_err(unreadable)?;
        if parts.len() == limits.max_parts {
            return Err(ApiError::too_large(format!("the form has more than max_parts = {} parts", limits.max_parts)));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes(limits.max_part_bytes).await.map_err(|_| {
            let limit = limits.max_part_bytes;
            ApiError::too_large(format!("input \"{name}\": the part is larger than max_part_bytes = {limit}"))
        })?;
        parts.push(Body {
            media_type: field.content_type().map(ToString::to_string),
            file_name: field.content_disposition().and_then(|said| said.get_filename()).map(str::to_owned),
            bytes: bytes.map_err(unreadable)?,
            name,
        });
    }
    Ok(parts)
}

/// An answer of several parts, `multipart/form-data`, each any descriptor.
///
/// ```
/// use ekiden::service::{ApiError, Image, Json, MultipartAnswer};
///
/// async fn describe(picture: Image) -> Result<MultipartAnswer, ApiError> {
///     let (small, size) = (picture.resized(32, 32), picture.pixels()?.dims().to_vec());
///     MultipartAnswer::new().part("size", Json(size))?.part("small", small)
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct MultipartAnswer {
    parts: Vec<Body>,
}

impl MultipartAnswer {
    /// An answer without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, in its usual format.
    ///
    /// # Errors
    /// As of [`Output::write`].
    pub fn part(mut self, name: &str, part: impl Output) -> Result<Self, ApiError> {
        let body = part.write(Wanted::default())?;
        self.parts.push(Body { name: name.to_owned(), ..body });
        Ok(self)
    }
}

impl Output for MultipartAnswer {
    fn write(self, _: Wanted<'_>) -> Result<Body, ApiError> {
        // Of 128 random bits: no part has it in it.
        let edge = format!("ekiden-{:032x}", fastrand::u128(..));
        let mut out = Vec::new();
        for part in &self.parts {
            let mut head = format!("--{edge}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(&part.name));
            if let Some(name) = &part.file_name {
                head.push_str(&format!("; filename=\"{}\"", quoted(name)));
            }
            let media_type = part.media_type.as_deref().unwrap_or("application/octet-stream");
            // A type that a client has sent may have anything in it but a line's end, which HTTP does not let through.
            head.push_str(&format!("\r\ncontent-type: {}\r\n\r\n", media_type.replace(['\r', '\n'], " ")));
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&part.bytes);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("--{edge}--\r\n").as_bytes());
        Ok(Body::new(format!("{MEDIA_TYPE}; boundary={edge}"), out))
    }
}

/// A name within quotes, as browsers write it.
/// The rule: <https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data>.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

impl Describe for MultipartAnswer {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        vec![(MEDIA_TYPE.to_owned(), Content::new(Some(Object::with_type(Type::Object))))]
    }
}

impl Reply for MultipartAnswer {
    fn describe(endpoint: &mut Endpoint) {
        endpoint.gives::<Self>();
    }
}

responder!([] MultipartAnswer);

/// A body that has been read, piece by piece.
struct Pieces(Bytes);

impl Stream for Pieces {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Waking<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.0.len().min(PIECE);
        Poll::Ready((piece > 0).then(|| Ok(self.0.split_to(piece))))
    }
}
