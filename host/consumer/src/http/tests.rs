//! Tests of `http` against a small server.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes as Body,
    extract::State,
    http::{HeaderMap as Headers, StatusCode},
    response::IntoResponse,
    routing::post,
};
use spout_base::error::Coded as _;
use tokio::net::TcpListener;

use super::*;
use crate::tests::{batch, context};

/// What was posted, and the answers still to be given before 200.
#[derive(Clone, Default)]
struct Desk {
    posted: Arc<Mutex<Vec<(String, String, String)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

async fn take(State(desk): State<Desk>, headers: Headers, body: Body) -> impl IntoResponse {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    desk.posted.lock().unwrap().push((header("idempotency-key"), header("authorization"), body));
    let answer = desk.answers.lock().unwrap().pop().unwrap_or(200);
    (StatusCode::from_u16(answer).unwrap(), [("retry-after", "0"), ("location", "/elsewhere")], "because \n of this")
}

async fn desk(answers: &[u16]) -> (Desk, String) {
    let desk = Desk { answers: Arc::new(Mutex::new(answers.iter().rev().copied().collect())), ..Desk::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(take)).with_state(desk.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (desk, url)
}

fn spec(url: &str, more: &str) -> HttpSpec {
    serde_json::from_str(&format!(r#"{{"url": "{url}"{more}}}"#)).unwrap()
}

async fn run(spec: &HttpSpec) -> Result<(), Error> {
    let mut consumer = HttpConsumer::open(spec, &context())?;
    consumer.consume(&batch(0..2)).await?;
    consumer.consume(&batch(2..3)).await?;
    consumer.flush().await?;
    consumer.finish().await
}

#[tokio::test]
async fn rows_are_posted_by_batch_or_by_commit() {
    for (more, expected) in [
        ("", vec!["{\"n\":0}\n{\"n\":1}\n", "{\"n\":2}\n"]),
        (r#", "per": "commit""#, vec!["{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"]),
        (r#", "per": "commit", "format": "json""#, vec!["[{\"n\":0},{\"n\":1},{\"n\":2}]"]),
        (r#", "per": "commit", "format": "json", "body": "1B""#, vec!["[{\"n\":0}]", "[{\"n\":1}]", "[{\"n\":2}]"]),
    ] {
        let (desk, url) = desk(&[]).await;
        run(&spec(&url, more)).await.unwrap();
        let posted = desk.posted.lock().unwrap();
        let bodies: Vec<_> = posted.iter().map(|(_, _, body)| body.as_str()).collect();
        assert_eq!(bodies, expected, "{more}");
        let mut keys: Vec<_> = posted.iter().map(|(key, ..)| key.clone()).collect();
        keys.dedup();
        assert_eq!(keys.len(), expected.len(), "{keys:?}");
    }
}

#[tokio::test]
async fn whoever_redirects_gets_nothing_more() {
    for status in [301, 302, 303, 304, 307, 308] {
        let (desk, url) = desk(&[status]).await;
        let error = run(&spec(&url, r#", "onError": "drop", "retryFor": "1m""#)).await.unwrap_err();
        assert_eq!(error.code(), "E0616");
        assert!(error.to_string().contains("redirects to /elsewhere"), "{error}");
        assert_eq!(desk.posted.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_passes_is_tried_again_under_the_same_name() {
    let (desk, url) = desk(&[503, 429]).await;
    run(&spec(&url, "")).await.unwrap();
    let posted = desk.posted.lock().unwrap();
    let keys: Vec<_> = posted.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, ["test/0:0-2/0.0", "test/0:0-2/0.0", "test/0:0-2/0.0", "test/0:2-3/0.0"]);
}

#[tokio::test]
async fn a_refusal_stops_or_is_left_out() {
    let (_, url) = desk(&[400]).await;
    let Err(Error::Refused { status, said, .. }) = run(&spec(&url, "")).await else { panic!("no refusal") };
    assert_eq!((status, said.as_str()), (400, "because of this"));
    let (desk, url) = desk(&[400]).await;
    run(&spec(&url, r#", "onError": "drop""#)).await.unwrap();
    assert_eq!(desk.posted.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn trying_again_has_an_end() {
    let (_, url) = desk(&[500; 100]).await;
    let failed = run(&spec(&url, r#", "retryFor": "150ms""#)).await;
    assert!(matches!(failed, Err(Error::Unanswered { .. })), "{failed:?}");
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let failed = run(&spec(&format!("http://{port}/"), r#", "retryFor": "150ms""#)).await;
    assert!(matches!(failed, Err(Error::Unanswered { .. })), "{failed:?}");
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    let (desk, url) = desk(&[]).await;
    let context = ConsumerContext { base: dir.path().to_owned(), ..context() };
    let mut consumer = HttpConsumer::open(&spec(&url, r#", "token": {"file": "token"}"#), &context).unwrap();
    consumer.consume(&batch(0..1)).await.unwrap();
    consumer.flush().await.unwrap();
    assert_eq!(desk.posted.lock().unwrap()[0].1, "Bearer s3cret");
    assert!(!format!("{consumer:?}").contains("s3cret"));
}

#[test]
fn what_cannot_be_is_said() {
    let check = |url: &str, more: &str, key: Option<&str>| {
        assert_eq!(spec(url, more).problem().map(|(key, _)| key), key, "{url} {more}");
    };
    check("https://example.com/hook", "", None);
    check("example.com", "", Some("url"));
    check("ftp://example.com", "", Some("url"));
    check("https://u:p@example.com", "", Some("url"));
    check("https://example.com", r#", "headers": {"a b": "c"}"#, Some("headers"));
    check("https://example.com", r#", "headers": {"Content-Type": "c"}"#, Some("headers"));
    check("https://example.com", r#", "body": "0B""#, Some("body"));
}

#[test]
fn a_token_in_the_clear_is_said() {
    let check = |url: &str, expected: bool| {
        let spec = spec(url, r#", "token": {"env": "T"}"#);
        assert_eq!(spec.describe().contains("in the clear"), expected, "{url}");
    };
    check("http://example.com/hook", true);
    check("http://10.0.0.1:80", true);
    check("https://example.com/hook", false);
    check("http://localhost:8080", false);
    check("http://127.0.0.1:8080", false);
    check("http://[::1]:8080", false);
}
