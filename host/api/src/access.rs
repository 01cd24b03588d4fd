//! Who may ask anything: whoever has the token, if the host wants one.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use machine::Digest;

use super::Api;
use super::errors::Failure;

/// A token, as its digest: comparing digests takes the same time however much of a guess is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token(Digest);

impl Token {
    /// Of its text.
    pub fn new(text: &str) -> Token {
        Token(Digest::of(text.as_bytes()))
    }

    /// The one that comes with a request.
    pub(super) fn of(headers: &HeaderMap) -> Option<Token> {
        headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(Token::new)
    }
}

/// Whether what came with a request is enough.
pub(super) fn is_granted(wanted: &Option<Token>, given: Option<&Token>) -> bool {
    wanted.as_ref().is_none_or(|wanted| given == Some(wanted))
}

/// Refuse what comes without the token.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    match refuse(&api.options.token, request.headers()) {
        None => next.run(request).await,
        Some(refused) => refused,
    }
}

/// How a request is refused that comes without the token.
pub fn refuse(wanted: &Option<Token>, headers: &HeaderMap) -> Option<Response> {
    if is_granted(wanted, Token::of(headers).as_ref()) {
        return None;
    }
    let message =
        "this host wants a token, in the header Authorization: Bearer TOKEN (HOST_TOKEN for the command line)";
    Some(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", message).into_response())
}
