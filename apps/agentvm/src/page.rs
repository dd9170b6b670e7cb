//! The page at `/`: a chat, built from `webchat/` and part of the program.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};

/// The page loads nothing from elsewhere, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The routes of the page's files.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/", get(|| file("text/html; charset=utf-8", include_str!("../webchat/dist/index.html"))))
        .route(
            "/app.js",
            get(|| file("text/javascript; charset=utf-8", include_str!("../webchat/dist/app.js"))),
        )
        .route("/app.css", get(|| file("text/css; charset=utf-8", include_str!("../webchat/dist/app.css"))))
}

fn file(kind: &'static str, content: &'static str) -> impl Future<Output = impl IntoResponse> {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The files have no version in their names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    std::future::ready((headers, content))
}
