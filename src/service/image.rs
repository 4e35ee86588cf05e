//! Pictures.

use std::io::Cursor;

use actix_web::http::StatusCode;
use image::{DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageReader};
use utoipa::openapi::content::Content;

use super::array::Shaped;
use super::body::{binary, described, extractor, responder};
use super::{ApiError, Body, Describe, Input, Limits, NdArray, Output, Schemas, Wanted};

/// Rows, columns, and the three values of a pixel.
#[derive(Clone, Copy, Debug)]
pub struct Pixels;

impl Shaped for Pixels {
    const SHAPE: Option<&'static [Option<usize>]> = Some(&[None, None, Some(3)]);
}

/// The formats of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// `image/png`.
    Png,
    /// `image/jpeg`.
    Jpeg,
    /// `image/webp`.
    WebP,
}

impl ImageFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::WebP];

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }

    /// The most pixels in a row or a column.
    const fn longest_side(self) -> u32 {
        match self {
            Self::Png => (1 << 31) - 1,
            Self::Jpeg => 65_535,
            Self::WebP => 16_383,
        }
    }

    const fn decoded_by(self) -> image::ImageFormat {
        match self {
            Self::Png => image::ImageFormat::Png,
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::WebP => image::ImageFormat::WebP,
        }
    }

    fn of_media_type(essence: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.media_type() == essence)
    }

    /// What the first bytes say.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let guessed = image::guess_format(bytes).ok()?;
        Self::ALL.into_iter().find(|format| format.decoded_by() == guessed)
    }
}

/// A picture: PNG, JPEG or WebP. Its width, height and size are looked up in its header before it is decoded, and bounded by
/// [`Limits`]. An answer comes in the format that `accept` names, else in that of the request, else as PNG.
///
/// It is decoded by the thread that serves HTTP: what is large belongs in a runner, which takes it as [`File`](super::File)
/// and bytes.
#[derive(Clone, Debug)]
pub struct Image {
    /// The picture, for the crate `image`.
    pub image: DynamicImage,
}

impl Image {
    /// A picture of these pixels, red, green and blue: rows, columns, values.
    ///
    /// # Errors
    /// 500: it has more pixels than a picture can have. The handler is at fault.
    pub fn from_pixels(pixels: &NdArray<u8, Pixels>) -> Result<Self, ApiError> {
        let size = |at: usize| pixels.dims().get(at).and_then(|&size| u32::try_from(size).ok());
        let image = size(1)
            .zip(size(0))
            .and_then(|(width, height)| image::RgbImage::from_raw(width, height, pixels.elements().into_owned()));
        let image = image.ok_or_else(|| failed("the pixels are no picture"))?;
        Ok(Self { image: image.into() })
    }

    /// Its pixels, red, green and blue: rows, columns, values.
    ///
    /// # Errors
    /// None but 500 for more pixels than can be addressed.
    pub fn pixels(&self) -> Result<NdArray<u8, Pixels>, ApiError> {
        let (width, height) = self.image.dimensions();
        NdArray::new(self.image.to_rgb8().into_raw(), [height as usize, width as usize, 3])
    }

    /// The picture in another size, whatever its proportions were.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        Self { image: self.image.resize_exact(width, height, image::imageops::FilterType::Triangle) }
    }
}

fn failed(problem: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "handler_failed", format!("a picture of the handler's: {problem}"))
}

impl Describe for Image {
    fn contents(_: &mut Schemas) -> Vec<(String, Content)> {
        ImageFormat::ALL.map(|format| (format.media_type().to_owned(), binary())).into()
    }
}

/// The format that is said, where it is said and the bytes agree.
fn format_of(body: &Body) -> Result<ImageFormat, ApiError> {
    let known = || ImageFormat::ALL.map(ImageFormat::media_type);
    let said = match body.essence().as_deref() {
        None | Some("application/octet-stream") => None,
        Some(essence) => Some(ImageFormat::of_media_type(essence).ok_or_else(|| body.unsupported(&known()))?),
    };
    let found = ImageFormat::of_bytes(&body.bytes);
    match (said, found) {
        (Some(said), Some(found)) if said != found => Err(body.invalid(format!(
            "expected {}, as its content-type says, found {}",
            said.media_type(),
            found.media_type()
        ))),
        (_, Some(found)) => Ok(found),
        (_, None) => Err(body.invalid(format!("expected a picture, {}, found other bytes", known().join(" or ")))),
    }
}

impl Input for Image {
    fn read(body: Body, limits: &Limits) -> Result<Self, ApiError> {
        let format = format_of(&body)?;
        let mut reader = ImageReader::with_format(Cursor::new(&body.bytes), format.decoded_by());
        let mut most = image::Limits::default();
        most.max_alloc = Some(limits.max_decoded_bytes as u64);
        reader.limits(most);
        let unreadable = |error: ImageError| match error {
            ImageError::Limits(_) => body.too_large(format!(
                "the picture takes more memory than max_decoded_bytes = {} to decode",
                limits.max_decoded_bytes
            )),
            error => body.invalid(format!("the {} cannot be read: {error}", format.media_type())),
        };
        let decoder = reader.into_decoder().map_err(unreadable)?;
        let ((width, height), bytes) = (decoder.dimensions(), decoder.total_bytes());
        if u64::from(width) * u64::from(height) > limits.max_pixels {
            let problem = format!("{width} × {height} pixels are more than max_pixels = {}", limits.max_pixels);
            return Err(body.too_large(problem));
        }
        if bytes > limits.max_decoded_bytes as u64 {
            let problem = format!(
                "{width} × {height} pixels take {bytes} bytes, more than max_decoded_bytes = {}",
                limits.max_decoded_bytes
            );
            return Err(body.too_large(problem));
        }
        DynamicImage::from_decoder(decoder).map(|image| Self { image }).map_err(unreadable)
    }
}

impl Output for Image {
    fn write(self, wanted: Wanted<'_>) -> Result<Body, ApiError> {
        let chosen = wanted.choose(&ImageFormat::ALL.map(ImageFormat::media_type));
        let mut format = ImageFormat::of_media_type(chosen).unwrap_or(ImageFormat::Png);
        let (width, height) = self.image.dimensions();
        let most = format.longest_side();
        if width.max(height) > most {
            if wanted.names(chosen) {
                let message = format!("{width} × {height} pixels are no {chosen}, which has {most} in a row at most");
                return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", message));
            }
            format = ImageFormat::Png;
        }
        // JPEG has eight bits and no transparency, and WebP is written with eight bits.
        let image = match format {
            ImageFormat::Png => self.image,
            ImageFormat::Jpeg => self.image.to_rgb8().into(),
            ImageFormat::WebP if self.image.color().has_alpha() => self.image.to_rgba8().into(),
            ImageFormat::WebP => self.image.to_rgb8().into(),
        };
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format.decoded_by()).map_err(failed)?;
        Ok(Body::new(format.media_type(), bytes))
    }
}

extractor!([] Image);
responder!([] Image);
described!([] Image);
