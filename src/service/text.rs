//! One text.

use utoipa::openapi::Type;
use utoipa::openapi::content::Content;
use utoipa::openapi::schema::Object;

use super::body::{described, extractor, responder};
use super::{ApiError, Body, Describe, Input, Limits, Output, Schemas, Wanted};

const MEDIA_TYPE: &str = "text/plain";

/// One text, in UTF-8: a body of `text/plain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

impl Describe for Text {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        vec![(MEDIA_TYPE.to_owned(), Content::new(Some(Object::with_type(Type::String))))]
    }
}

impl Input for Text {
    fn read(body: Body, _: &Limits) -> Result<Self, ApiError> {
        // What has no type is text, and what `curl -d` sends is what was typed.
        match body.essence().as_deref() {
            None | Some("application/x-www-form-urlencoded") => {}
            Some(essence) if essence.starts_with("text/") => {}
            Some(_) => return Err(body.unsupported(&[MEDIA_TYPE])),
        }
        let charset = body.media_type.as_deref().and_then(charset);
        if let Some(charset) = charset
            && !["utf-8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        {
            return Err(body.unsupported(&["text/plain; charset=utf-8"]));
        }
        match std::str::from_utf8(&body.bytes) {
            Ok(text) => Ok(Self(text.to_owned())),
            Err(error) => Err(body.invalid(format!("the text is not UTF-8 at byte {}", error.valid_up_to()))),
        }
    }
}

/// What a media type says of the encoding.
fn charset(media_type: &str) -> Option<&str> {
    let parameters = media_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charset.map(|(_, charset)| charset.trim().trim_matches('"'))
}

impl Output for Text {
    fn write(self, _: Wanted<'_>) -> Result<Body, ApiError> {
        Ok(Body::new("text/plain; charset=utf-8", self.0))
    }
}

extractor!([] Text);
responder!([] Text);
described!([] Text);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read() {
        let check = |media_type: Option<&str>, bytes: &'static [u8], expected: Result<&str, &str>| {
            let media_type = media_type.map(str::to_owned);
            let body = Body { name: "body".to_owned(), media_type, file_name: None, bytes: bytes.into() };
            let found = Text::read(body, &Limits::default());
            match expected {
                Ok(text) => assert_eq!(found.expect("is read").0, text),
                Err(part) => assert!(found.expect_err("is refused").to_string().contains(part)),
            }
        };
        check(None, b"hi", Ok("hi"));
        check(Some("text/plain"), "ä".as_bytes(), Ok("ä"));
        check(Some("Text/Markdown; charset=\"UTF-8\""), b"hi", Ok("hi"));
        check(Some("application/x-www-form-urlencoded"), b"a+b", Ok("a+b"));
        check(Some("application/json"), b"hi", Err("expected content-type text/plain, found \"application/json\""));
        check(Some("text/plain; charset=latin1"), b"hi", Err("charset=utf-8"));
        check(Some("text/plain"), b"hi\xff", Err("input \"body\": the text is not UTF-8 at byte 2"));
    }
}
