//! What to send: a file, or random values that fit what the method says of its inputs.

use std::fs;
use std::path::Path;

use ekiden::codec::Format;
use ekiden::value::Signature;

use super::args::BodyFormat;
use crate::cli::described::{Method, Runner};
use crate::cli::{Failure, random};

/// The longest body, in bytes.
const LONGEST: usize = random::LARGEST;

/// A body and its media type.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// How a random body is to be.
pub(super) struct Wish {
    pub(super) rows: usize,
    pub(super) format: Option<BodyFormat>,
    pub(super) seed: u64,
}

impl Body {
    /// The content of a file; without a media type, its extension says what it is.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read.
    pub(super) fn read(file: &Path, media_type: Option<&str>) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Usage(format!("--body {}: {why}", file.display()));
        let length = fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
        if length > LONGEST as u64 {
            return Err(failed(format!("{length} bytes are more than {LONGEST}, the most that is sent")));
        }
        let bytes = fs::read(file).map_err(|error| failed(error.to_string()))?;
        let format = match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Format::Json,
            Some("npy") => Format::Npy,
            Some("txt") => Format::Text,
            _ => Format::Bytes,
        };
        let media_type = media_type.unwrap_or(format.media_type());
        if media_type.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(Failure::Usage("--content-type: a media type has no control characters".to_owned()));
        }
        Ok(Self { media_type: media_type.to_owned(), bytes })
    }

    /// Random values for a method, by what its server says of it.
    ///
    /// # Errors
    /// [`Failure::Run`] if the method is not there, or its inputs cannot be made up.
    pub(super) fn random(information: &str, method: &str, wish: &Wish) -> Result<Self, Failure> {
        let runner = Runner::read(information)?;
        let found = runner.method(method)?;
        made_up(found, wish)
            .map_err(|why| Failure::Run(format!("no body can be made up for {method}: {why}; give --body")))
    }
}

fn made_up(method: &Method, wish: &Wish) -> Result<Body, String> {
    let signature = method.signature()?;
    if wish.rows > 1 && signature.batching.is_none() {
        return Err("it is not batchable, so that --rows means nothing".to_owned());
    }
    let values = random::inputs(&signature, wish.rows, wish.seed)?;
    let format = match wish.format {
        Some(BodyFormat::Npy) => Format::Npy,
        Some(BodyFormat::Json) | None => Format::Json,
    };
    // What a server reads as inputs is written as another's outputs.
    let written = Signature { inputs: Vec::new(), outputs: signature.inputs, ..signature };
    let (found, bytes) = format.encode(&written, &values).map_err(|error| error.to_string())?;
    match wish.format {
        Some(_) if found != format => Err(format!("it does not take {}", format.media_type())),
        _ => Ok(Body { media_type: found.media_type().to_owned(), bytes: bytes.into() }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ekiden::value::DType;

    use super::*;

    fn wish(rows: usize, format: Option<BodyFormat>) -> Wish {
        Wish { rows, format, seed: 1 }
    }

    /// The information about a method with these inputs.
    fn information(inputs: &str, batch_dims: &str) -> String {
        format!(
            r#"{{"name":"r","methods":[{{"name":"m","inputs":[{inputs}],"outputs":[],"batch_dims":{batch_dims}}}]}}"#
        )
    }

    fn random(information: &str, method: &str, wish: &Wish) -> Result<Body, String> {
        Body::random(information, method, wish).map_err(|failure| match failure {
            Failure::Run(message) | Failure::Usage(message) => message,
        })
    }

    /// The rows of the body, which must decode and pass the checks of a server.
    fn check(inputs: &str, batch_dims: &str, rows: usize, format: Option<BodyFormat>) -> (usize, Body) {
        let information = information(inputs, batch_dims);
        let body = random(&information, "m", &wish(rows, format)).expect(inputs);
        let runner = Runner::read(&information).map_err(|_| ()).expect("is JSON");
        let method = runner.method("m").map_err(|_| ()).expect("is there");
        let signature = method.signature().expect("is known");
        let format = Format::of_media_type(&body.media_type).expect("is known");
        let values = format.decode(&Bytes::from(body.bytes.clone()), &signature).expect(inputs);
        (signature.check_inputs(&values).expect(inputs), body)
    }

    const FEATURES: &str = r#"{"name":"x","kind":"tensor","dtype":"float32","shape":[null,4]}"#;
    const DIM_0: &str = r#"{"input":0,"output":0}"#;

    #[test]
    fn random_bodies_fit_every_dtype() {
        for dtype in DType::ALL {
            let input = format!(r#"{{"name":"x","kind":"tensor","dtype":"{dtype}","shape":[2,null,3]}}"#);
            let (rows, _) = check(&input, r#"{"input":1,"output":0}"#, 5, None);
            assert_eq!(rows, 5, "{dtype}");
            if dtype != DType::BF16 {
                let (rows, body) = check(&input, r#"{"input":1,"output":0}"#, 5, Some(BodyFormat::Npy));
                assert_eq!((rows, body.media_type.as_str()), (5, "application/x-npy"));
            }
        }
    }

    #[test]
    fn random_bodies_fit_every_kind() {
        let kind = |kind| format!(r#"{{"name":"{kind}","kind":"{kind}"}}"#);
        assert_eq!(check(&kind("list"), DIM_0, 3, None).0, 3);
        check(&kind("json"), "null", 1, None);
        check(&kind("text"), "null", 1, None);
        assert_eq!(check(&kind("bytes"), "null", 1, None).1.media_type, "application/octet-stream");
        check(r#"{"name":"x","kind":"tensor","dtype":"int64","shape":null}"#, DIM_0, 4, None);
        check(&format!("{FEATURES},{},{}", kind("list"), kind("text")), "null", 1, None);
        assert_eq!(check(&format!("{FEATURES},{}", kind("list")), DIM_0, 2, None).0, 2);
    }

    #[test]
    fn a_seed_gives_the_same_body_again() {
        let body =
            |seed| random(&information(FEATURES, DIM_0), "m", &Wish { seed, ..wish(2, None) }).expect("fits").bytes;
        assert_eq!(body(1), body(1));
        assert_ne!(body(1), body(2));
    }

    #[test]
    fn what_cannot_be_made_up_is_said() {
        let check = |inputs: &str, batch_dims, rows, format, part: &str| {
            let message = random(&information(inputs, batch_dims), "m", &wish(rows, format)).expect_err(inputs);
            assert!(message.contains(part) && message.contains("--body"), "{message}");
        };
        check(FEATURES, "null", 2, None, "not batchable");
        check(FEATURES, DIM_0, 100_000_000, None, "too large");
        check(r#"{"name":"x","kind":"text"}"#, "null", 1, Some(BodyFormat::Npy), "npy");
        check(r#"{"name":"x","kind":"bytes"}"#, "null", 1, Some(BodyFormat::Json), "application/json");
        check(r#"{"name":"x","kind":"video"}"#, "null", 1, None, "unknown");
        check(r#"{"name":"x","kind":"tensor","dtype":"float8"}"#, "null", 1, None, "unknown");
        check(&format!("{FEATURES},{}", r#"{"name":"y","kind":"bytes"}"#), "null", 1, None, "bytes");
        let message = random(&information("", "null"), "other", &wish(1, None)).expect_err("is not there");
        assert!(message.contains("no method other; it has: m"), "{message}");
        assert!(random("<html>", "m", &wish(1, None)).expect_err("is no JSON").contains("not understood"));
    }

    #[test]
    fn a_file_is_what_its_extension_says() {
        let folder = std::env::temp_dir();
        let check = |name: &str, given, expected| {
            let file = folder.join(format!("ekiden-bench-body-{}-{name}", std::process::id()));
            fs::write(&file, "1").expect("is written");
            let body = Body::read(&file, given).map_err(|_| ()).expect("is read");
            fs::remove_file(&file).expect("is removed");
            assert_eq!((body.media_type.as_str(), body.bytes.as_slice()), (expected, b"1".as_slice()));
        };
        check("x.json", None, "application/json");
        check("x.npy", None, "application/x-npy");
        check("x.txt", None, "text/plain; charset=utf-8");
        check("x", None, "application/octet-stream");
        check("x.json", Some("image/png"), "image/png");
        assert!(matches!(Body::read(&folder.join("ekiden-nowhere.json"), None), Err(Failure::Usage(_))));
    }
}
