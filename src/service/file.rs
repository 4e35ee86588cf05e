//! Anything, as it is.

use bytes::Bytes;
use utoipa::openapi::content::Content;

use super::body::{binary, described, extractor, responder};
use super::{ApiError, Body, Describe, Input, Limits, Output, Schemas, Wanted};

const MEDIA_TYPE: &str = "application/octet-stream";

/// Bytes of any media type. As an answer, one with a name is a download.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// The file's name, where it is said: what a client calls it, and no path to be trusted.
    pub name: Option<String>,
    /// Its media type, where it is said.
    pub media_type: Option<String>,
    /// What it holds.
    pub bytes: Bytes,
}

impl File {
    /// Bytes of this media type.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: None, media_type: Some(media_type.into()), bytes: bytes.into() }
    }

    /// The same, to be saved under this name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Describe for File {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        // Of whatever type: as an input that is what is meant.
        vec![("*/*".to_owned(), binary())]
    }
}

impl Input for File {
    fn read(body: Body, _: &Limits) -> Result<Self, ApiError> {
        Ok(Self { name: body.file_name, media_type: body.media_type, bytes: body.bytes })
    }
}

impl Output for File {
    fn write(self, _: Wanted<'_>) -> Result<Body, ApiError> {
        let media_type = self.media_type.unwrap_or_else(|| MEDIA_TYPE.to_owned());
        Ok(Body { file_name: self.name, ..Body::new(media_type, self.bytes) })
    }
}

extractor!([] File);
responder!([] File);
described!([] File);
