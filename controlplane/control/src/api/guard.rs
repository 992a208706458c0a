//! Who may ask: the bearer token where the policy has one, and on loopback without one nobody that a browser sends.
//!
//! It knows no users and no rights; who may ask may do everything.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tollgate_contract::Secret;

use super::fault::Fault;
use crate::admin::AdminState;

/// Asked by supervisors and load balancers, which bear no token; they tell no more than yes or no.
const OPEN_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// Lets a request pass or refuses it.
///
/// With a token every request must bear it (RFC 6750 §2.1). Without one only this host can ask, and there a browser is
/// the danger: a page of any site can send forms here, and one whose name resolves to loopback can read the answers. So
/// writes must be declared JSON, which no form is, and the host asked for must be an address or `localhost`.
pub(crate) async fn guard(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    if OPEN_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match state.token() {
        Some(token) if !bears(request.headers(), token) => {
            state.count_unauthorised();
            let fault = Fault::new(StatusCode::UNAUTHORIZED, "the token of admin.token_file is asked for");
            let mut page = fault.into_response();
            let challenge = header::HeaderValue::from_static("Bearer realm=\"tollgate\"");
            page.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return page;
        }
        None if !is_asked_directly(&request) => {
            let error = "ask by an address or as localhost";
            return Fault::new(StatusCode::MISDIRECTED_REQUEST, error).into_response();
        }
        Some(_) | None => {}
    }
    let is_write = matches!(*request.method(), Method::PUT | Method::POST | Method::PATCH);
    if is_write && !is_json(request.headers()) {
        let error = "Content-Type must be application/json";
        return Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error).into_response();
    }
    next.run(request).await
}

/// Compared in constant time; that lengths differ may be seen.
fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some((scheme, told)) = value.as_bytes().split_at_checked("Bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && Secret::new(told.to_vec()) == *token
}

fn is_asked_directly(request: &Request) -> bool {
    let Some(host) = request.headers().get(header::HOST) else {
        // HTTP/1.0, which no browser speaks.
        return true;
    };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let ip = host.trim_start_matches('[').trim_end_matches(']');
        ip.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
    })
}

/// `application/json`, with parameters or without.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next()).map(str::trim);
    media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
}
