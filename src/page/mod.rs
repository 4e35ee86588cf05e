//! The page in front: Swagger UI on `/docs.json`, on which calls are tried, from this program alone.
//!
//! `ekiden serve` and `Service::serve` have it at `/`. A service that embeds Ekiden mounts it if it wants to, and where it wants to:
//!
//! ```
//! # fn service(app: ekiden::App) -> actix_web::App<impl actix_web::dev::ServiceFactory<
//! #     actix_web::dev::ServiceRequest, Config = (), Error = actix_web::Error, InitError = ()>> {
//! actix_web::App::new()
//!     .configure(ekiden::http::routes(&app))
//!     .configure(ekiden::page::routes_at("/docs")) // or `routes()`, for a page at `/`
//! # }
//! ```
//!
//! The page loads nothing from elsewhere, and its content security policy says so to browsers. Its files are compressed
//! in the program, and sent as they are to whoever takes gzip.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError, Route, guard, web};
use flate2::read::GzDecoder;
use utoipa_swagger_ui::Config;

use crate::http::{ApiError, not_allowed};

/// What of Swagger UI the page needs.
const PARTS: [&str; 4] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png", "favicon-16x16.png"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// How long browsers keep Swagger UI's files, which change with this program alone.
const KEEP: &str = "public, max-age=3600";

/// Mounts the page at `/`. Mount it beside [`http::routes`](crate::http::routes), in the same scope where there is one.
pub fn routes() -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + Sync {
    routes_at("/")
}

/// Mounts the page at this path, such as `/docs`, beside `/docs.json`; its files lie below it, or below `/page`.
pub fn routes_at(path: &str) -> impl FnOnce(&mut web::ServiceConfig) + Clone + Send + Sync + use<> {
    let place = Place::new(path);
    move |config| {
        let reads = || guard::Any(guard::Get()).or(guard::Head());
        let html = web::Bytes::from(place.html());
        let index = move || {
            let html = html.clone();
            async move { secured(HttpResponse::Ok()).content_type("text/html; charset=utf-8").body(html) }
        };
        let resource = |path: String, route: Route| {
            web::resource(path).route(route.guard(reads())).default_service(not_allowed(vec![Method::GET]))
        };
        config
            .service(resource(place.page.clone(), web::to(index)))
            .service(resource(format!("{}/{{part}}", place.parts), web::to(part)));
    }
}

/// Where the page is, and its files. Links are relative, so that they lead on behind a proxy that adds a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    page: String,
    parts: String,
}

impl Place {
    fn new(path: &str) -> Self {
        match path.trim_matches('/') {
            "" => Self { page: "/".to_owned(), parts: "/page".to_owned() },
            path => Self { page: format!("/{path}"), parts: format!("/{path}") },
        }
    }

    fn html(&self) -> String {
        let parts = self.parts.rsplit('/').next().unwrap_or_default();
        // The page's own last part does not count: it is no folder.
        let up = "../".repeat(self.page.matches('/').count() - 1);
        include_str!("index.html").replace("{{parts}}", parts).replace("{{docs}}", &format!("{up}docs.json"))
    }
}

async fn part(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    match name.as_str() {
        "page.js" => answer("text/javascript; charset=utf-8", include_bytes!("page.js").as_slice().into()),
        "page.css" => answer("text/css; charset=utf-8", include_bytes!("page.css").as_slice().into()),
        name if PARTS.contains(&name) => swagger(&request, name).await,
        _ => {
            let message = format!("there is nothing at {}; the page has no such file", request.path());
            refusal(StatusCode::NOT_FOUND, "not_found", message)
        }
    }
}

fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> HttpResponse {
    ApiError::new(status, code, message).error_response()
}

/// A file of Swagger UI.
async fn swagger(request: &HttpRequest, name: &str) -> HttpResponse {
    let Ok(Some(file)) = utoipa_swagger_ui::serve(name, Arc::new(Config::default())) else {
        return refusal(StatusCode::NOT_FOUND, "not_found", "the page has no such file");
    };
    if !file.gzpipped {
        return answer(&file.content_type, file.bytes);
    }
    if takes_gzip(request) {
        let mut response = answer(&file.content_type, file.bytes);
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        return response;
    }
    match inflated(file.bytes).await {
        Some(plain) => answer(&file.content_type, plain.into()),
        None => refusal(StatusCode::INTERNAL_SERVER_ERROR, "page", "the file cannot be inflated"),
    }
}

/// For those few who do not take gzip. It takes milliseconds, for which no call is to wait.
#[expect(clippy::disallowed_methods, reason = "no model runs here: it is a file that is inflated")]
async fn inflated(bytes: Cow<'static, [u8]>) -> Option<Vec<u8>> {
    let inflate = move || {
        let mut plain = Vec::new();
        GzDecoder::new(bytes.as_ref()).read_to_end(&mut plain).is_ok().then_some(plain)
    };
    web::block(inflate).await.ok().flatten()
}

/// Whether the client takes gzip; what it says of its weight does not count, but for 0.
fn takes_gzip(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn answer(content_type: &str, bytes: Cow<'static, [u8]>) -> HttpResponse {
    let mut response = secured(HttpResponse::Ok());
    response.insert_header((header::CONTENT_TYPE, content_type)).insert_header((header::CACHE_CONTROL, KEEP));
    response.insert_header((header::VARY, "accept-encoding"));
    match bytes {
        Cow::Borrowed(bytes) => response.body(bytes),
        Cow::Owned(bytes) => response.body(bytes),
    }
}

fn secured(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_to_the_page() {
        let check = |path, page: &str, script: &str, docs: &str| {
            let place = Place::new(path);
            assert_eq!(place.page, page);
            let html = place.html();
            assert!(html.contains(&format!("src=\"{script}\"")), "{html}");
            assert!(html.contains(&format!("data-docs=\"{docs}\"")), "{html}");
        };
        check("/", "/", "page/page.js", "docs.json");
        check("/docs/", "/docs", "docs/page.js", "docs.json");
        check("ml/docs", "/ml/docs", "docs/page.js", "../docs.json");
    }

    #[test]
    fn all_parts_are_in_the_program() {
        for part in PARTS {
            let found = utoipa_swagger_ui::serve(part, Arc::new(Config::default())).expect("can be read");
            assert!(found.is_some_and(|file| file.bytes.len() > 100), "{part}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let check = |value: &str, expected| {
            let request = actix_web::test::TestRequest::default().insert_header((header::ACCEPT_ENCODING, value));
            assert_eq!(takes_gzip(&request.to_http_request()), expected, "{value}");
        };
        check("gzip, deflate, br", true);
        check("br;q=1.0, GZIP;q=0.5", true);
        check("gzip;q=0", false);
        check("identity", false);
    }
}
