//! Pictures in and out.

use std::io::Cursor;

use ekiden::service::{ApiError, Image, Json, Limits, Service};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::{Running, built};
use crate::http::iris;

async fn same(picture: Image) -> Image {
    picture
}

async fn size(picture: Image) -> Result<Json<Vec<usize>>, ApiError> {
    Ok(Json(picture.pixels()?.dims().to_vec()))
}

async fn first(picture: Image) -> Result<Image, ApiError> {
    Image::from_pixels(&picture.resized(1, 1).pixels()?)
}

/// A red picture.
async fn wide(picture: Image) -> Image {
    picture.resized(17_000, 1)
}

fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture: DynamicImage = RgbImage::from_pixel(width, height, Rgb([200, 10, 10])).into();
    let mut bytes = Vec::new();
    picture.write_to(&mut Cursor::new(&mut bytes), format).expect("is written");
    bytes
}

fn serving(limits: Limits) -> Running {
    let app = iris();
    let service = Service::builder(&app)
        .post("/same", same)
        .post("/size", size)
        .post("/first", first)
        .post("/wide", wide)
        .limits(limits);
    Running::start(&built(service))
}

#[test]
fn pictures_go_in_and_come_out() {
    let running = serving(Limits::default());
    let formats =
        [("image/png", ImageFormat::Png), ("image/jpeg", ImageFormat::Jpeg), ("image/webp", ImageFormat::WebP)];
    for (media_type, format) in formats {
        let sent = picture(6, 4, format);
        let answer = running.post("/size", &[("content-type", media_type)], &sent);
        assert_eq!((answer.status, answer.text()), (200, "[4,6,3]"), "{media_type}");
        assert_eq!(running.post("/size", &[], &sent).text(), "[4,6,3]", "{media_type} by its bytes");
        let same = running.post("/same", &[("content-type", media_type)], &sent);
        assert_eq!(same.header("content-type"), Some(media_type), "as it came");
        assert_eq!(image::guess_format(&same.body).ok(), Some(format));
        for (wanted, format) in formats {
            let other = running.post("/same", &[("content-type", media_type), ("accept", wanted)], &sent);
            assert_eq!(
                (other.header("content-type"), image::guess_format(&other.body).ok()),
                (Some(wanted), Some(format))
            );
        }
    }
    let one = running.post("/first", &[("content-type", "image/png")], &picture(6, 4, ImageFormat::Png));
    let one = image::load_from_memory(&one.body).expect("a picture").to_rgb8();
    assert_eq!((one.dimensions(), one.get_pixel(0, 0)), ((1, 1), &Rgb([200, 10, 10])));
}

#[test]
fn what_a_format_cannot_hold_comes_in_another() {
    let running = serving(Limits::default());
    let sent = picture(6, 4, ImageFormat::WebP);
    let wide = |headers: &[(&str, &str)]| running.post("/wide", headers, &sent);
    let webp = ("content-type", "image/webp");
    let any = wide(&[webp, ("accept", "*/*")]);
    assert_eq!((any.status, any.header("content-type")), (200, Some("image/png")));
    assert_eq!(wide(&[webp, ("accept", "image/jpeg")]).header("content-type"), Some("image/jpeg"));
    let part = "POST /wide: 17000 × 1 pixels are no image/webp, which has 16383 in a row at most";
    wide(&[webp, ("accept", "image/webp")]).refused(406, "not_acceptable", &[part]);
}

#[test]
fn pictures_are_refused_before_they_are_decoded() {
    let running = serving(Limits { max_pixels: 100, max_decoded_bytes: 270, ..Limits::default() });
    let post = |media_type: &str, body: &[u8]| running.post("/size", &[("content-type", media_type)], body);
    let wide = picture(11, 10, ImageFormat::Png);
    post("image/png", &wide).refused(
        413,
        "too_large",
        &["POST /size: ", "11 × 10 pixels are more than max_pixels = 100"],
    );
    // Its header is all that is there of it.
    let cut = &wide[..45];
    post("image/png", cut).refused(413, "too_large", &["11 × 10 pixels are more than max_pixels = 100"]);
    let heavy = picture(10, 10, ImageFormat::Png);
    post("image/png", &heavy).refused(413, "too_large", &["max_decoded_bytes = 270"]);

    let part = "expected image/jpeg, as its content-type says, found image/png";
    post("image/jpeg", &picture(2, 2, ImageFormat::Png)).refused(400, "invalid_input", &["input \"body\": ", part]);
    post("image/png", b"hello").refused(400, "invalid_input", &["expected a picture", "found other bytes"]);
    post("image/gif", b"GIF89a").refused(415, "unsupported_media_type", &["image/png or image/jpeg or image/webp"]);
    let small = picture(2, 2, ImageFormat::Png);
    post("image/png", &small[..small.len() / 2]).refused(400, "invalid_input", &["the image/png cannot be read"]);
}
