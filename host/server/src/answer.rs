//! Answers: JSON, and errors with the status that fits them.

use axum::{
    body::Body,
    extract::Request,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;
use spout_api::Problem;
use spout_base::error::{Coded, Kind};

use crate::{Error, veil::Veil};

/// What a route ends with.
pub(crate) type Answer<T> = Result<T, Failure>;

/// An answer in JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => json(StatusCode::OK, text),
            Err(error) => Failure::from(Error::Request { why: error.to_string() }).into_response(),
        }
    }
}

fn json(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    problem: Problem,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Error::Forbidden { .. } | Error::CrossSite { .. } | Error::OwnRepo { .. } => StatusCode::FORBIDDEN,
            Error::NoRoute { .. } | Error::NoPipeline { .. } => StatusCode::NOT_FOUND,
            Error::NoMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Error::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Error::Busy { .. } | Error::TokenFile { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Error::QueryTime { .. } | Error::TrialTime { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut problem = Problem::of(&error);
        if matches!(error, Error::TokenFile { .. }) {
            tracing::warn!("{}", problem.message);
            problem.message = "the server cannot read its tokens; its log says why".to_owned();
            problem.causes = Vec::new();
        }
        Self { status, problem }
    }
}

impl From<spout_keeper::Error> for Failure {
    fn from(error: spout_keeper::Error) -> Self {
        spout_api::Error::from(error).into()
    }
}

impl Failure {
    /// What another room says, with the status that its code or kind has.
    pub(crate) fn of(error: &impl Coded) -> Self {
        Problem::of(error).into_error().into()
    }

    /// Something that was sent is wrong, whatever that would mean elsewhere.
    pub(crate) fn of_what_was_sent(error: &impl Coded) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, problem: Problem::of(error) }
    }
}

impl From<spout_api::Error> for Failure {
    fn from(error: spout_api::Error) -> Self {
        let status = match error.code() {
            "E0115" => StatusCode::FORBIDDEN,
            "E0922" | "E0952" | "E0957" => StatusCode::NOT_FOUND,
            "E0951" | "E0958" => StatusCode::CONFLICT,
            "E0510" | "E0511" | "E0512" | "E0517" | "E0546" | "E0549" | "E0550" | "E0552" => StatusCode::NOT_FOUND,
            "E0526" => StatusCode::GONE,
            // In the way of each other: a name that is taken, what is still used, a commit that would change nothing.
            "E0518" | "E0519" | "E0531" | "E0537" | "E0538" | "E0539" | "E0544" | "E0545" | "E0547" | "E0548"
            | "E0826" => StatusCode::CONFLICT,
            "E0840" => StatusCode::RANGE_NOT_SATISFIABLE,
            // The body of the request broke off.
            "E0559" => StatusCode::BAD_REQUEST,
            _ => match error.kind() {
                Kind::Spec | Kind::Message => StatusCode::BAD_REQUEST,
                Kind::Conflict | Kind::Fenced => StatusCode::CONFLICT,
                Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Plugin | Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            },
        };
        Self { status, problem: Problem::of(&error) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, problem } = self;
        if status.is_server_error() {
            tracing::warn!(code = problem.code, causes = ?problem.causes, "a request failed: {}", problem.message);
        }
        let mut response = refusal(status, &problem);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

fn refusal(status: StatusCode, problem: &Problem) -> Response {
    json(status, serde_json::to_vec(problem).unwrap_or_default())
}

/// The answer without what it says of this machine.
pub(crate) fn covered(mut response: Response, veil: &Veil) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    *response.body_mut() = refusal(response.status(), &veil.cover(problem)).into_body();
    response
}

pub(crate) async fn no_route(request: Request) -> Failure {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Error::NoRoute { method, path }.into()
}

pub(crate) async fn no_method(request: Request) -> Failure {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Error::NoMethod { method, path }.into()
}
