//! One HTTP request: who may send, what is in the body, and the answer after the commit.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use serde_json::{Value, json};
use spout_base::error::Coded as _;
use spout_data::Blobs;
use spout_wire::Refused;
use tokio::{sync::SemaphorePermit, time::timeout};

use super::Service;
use crate::{
    Compression, DecoderSpec, Error, Framer, FramingSpec, FramingType,
    inbox::{self, KeyTaken, Letterbox, Room, Sent, Stored},
    unfinished::Share,
};

/// Bytes that are unpacked at once, so that a bomb is noticed before it is large.
const PIECE: usize = 4096;
/// Bytes of `maxBody` for each message that a body may have: bytes alone do not bound messages of none.
const SMALL: usize = 4;
/// Messages that a body may have whatever `maxBody` is.
const MANY: usize = 1 << 16;

/// Why a request is not taken: its status, and what to do.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
    code: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), code: None }
    }

    /// An error that has a page.
    fn coded(status: StatusCode, error: &Error) -> Self {
        Self { status, why: error.to_string(), code: Some(error.code()) }
    }

    fn body(&self) -> Value {
        match self.code {
            None => json!({"error": self.why}),
            Some(code) => json!({"error": self.why, "code": code}),
        }
    }

    fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the pipeline is stopping; nothing was stored, send it again")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = answer(self.status, &self.body());
        let header = match self.status {
            StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((RETRY_AFTER, "1")),
            StatusCode::METHOD_NOT_ALLOWED => Some((ALLOW, "POST")),
            _ => None,
        };
        response.headers_mut().extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

/// What one is told for whom there is no connection.
pub(super) fn busy(refused: Refused) -> String {
    let error = Error::Busy { refused, limit: "maxConnections" };
    format!("{}\n", Refusal::coded(StatusCode::SERVICE_UNAVAILABLE, &error).body())
}

/// Answers one request.
pub(super) async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let spec = &service.spec;
    let _watch = service.letterbox().map(|letterbox| letterbox.watch());
    let path = request.uri().path();
    match *request.method() {
        Method::GET if path == "/health" => health(&service),
        Method::POST if path == spec.path => match take(&service, request).await {
            Ok(Some(stored)) => answer(StatusCode::OK, &receipt(&stored)),
            Ok(None) => answer(StatusCode::OK, &json!({"commit": null, "messages": 0, "deadLetters": 0})),
            Err(refusal) => refusal.into_response(),
        },
        _ if path == spec.path => {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, format!("send messages as POST {path}")).into_response()
        }
        _ => {
            let why = format!("nothing is at {path}; send messages as POST {}", spec.path);
            Refusal::new(StatusCode::NOT_FOUND, why).into_response()
        }
    }
}

fn health(service: &Service) -> Response {
    let (status, word) = match service.letterbox() {
        Some(_) => (StatusCode::OK, "running"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    answer(status, &json!({"pipeline": service.pipeline, "status": word}))
}

fn receipt(stored: &Stored) -> Value {
    json!({
        "commit": stored.commit,
        "sequence": stored.sequence,
        "offset": stored.first,
        "messages": stored.messages,
        "deadLetters": stored.dead,
        "repeated": stored.repeated,
    })
}

/// Takes the messages of a request and waits for their commit; `None` if there is no message.
async fn take(service: &Service, request: Request) -> Result<Option<Stored>, Refusal> {
    if service.requests.available_permits() == 0 {
        return Err(crowded());
    }
    // The queue has to end even while requests still wait for a commit.
    let (receipt, _turn) = {
        let letterbox = service.letterbox().ok_or_else(Refusal::stopping)?;
        let _present = letterbox.enter();
        let arriving = timeout(service.spec.body_time.0, arrive(service, &letterbox, request));
        let Arrived { values, first, key, room, turn } = tokio::select! {
            () = service.stop.cancelled() => return Err(Refusal::stopping()),
            arrived = arriving => arrived.map_err(|_| late(service))??,
        };
        if values.is_empty() {
            return Ok(None);
        }
        let sent = Sent { values, first, key, wants_receipt: true };
        (letterbox.put(sent, room).map_err(|_| Refusal::stopping())?, turn)
    };
    let Some(receipt) = receipt else { return Err(Refusal::stopping()) };
    let unsaid = "the pipeline stopped before the commit; the messages may or may not be stored, so send them again";
    let stored = receipt.await.map_err(|_| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, unsaid))?;
    stored.map(Some).map_err(|KeyTaken| {
        let why = "this Idempotency-Key came before with other messages; nothing was stored, send them with a key of their own";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    })
}

fn crowded() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests in flight; try again in a moment")
}

fn late(service: &Service) -> Refusal {
    let why = format!("the body did not arrive within {}; send less at a time", service.spec.body_time);
    Refusal::new(StatusCode::REQUEST_TIMEOUT, why)
}

/// A body, with room for it in the queue.
struct Arrived<'a> {
    values: Blobs,
    /// Its first record, where the decoder heeds it.
    first: Vec<u8>,
    key: Option<inbox::Key>,
    room: Room,
    /// One of the requests that may wait for their commit.
    turn: SemaphorePermit<'a>,
}

/// The messages of a body, with room for them in the queue. A body is read only for somebody who may send it, and while it comes
/// it takes of the room for what is unfinished.
async fn arrive<'a>(service: &'a Service, letterbox: &Letterbox, request: Request) -> Result<Arrived<'a>, Refusal> {
    let headers = request.headers();
    let spec = &service.spec;
    admit(service, headers)?;
    let key = headers.get("idempotency-key").map(HeaderValue::as_bytes).filter(|key| !key.is_empty());
    if spec.require_key && key.is_none() {
        let why = "send an Idempotency-Key: a string that identifies these messages, the same each time you send them";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
    }
    let key = key.map(<[u8]>::to_vec);
    let framing = framing(service, headers)?;
    let most = usize::try_from(spec.max_body.0).unwrap_or(usize::MAX);
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large(service));
    }
    let mut framer = Framer::new(&framing).map_err(|error| broken(&error))?;
    let mut share = service.unfinished.share();
    let values = collect(service, &mut framer, (request.into_body(), &mut share), most).await?;
    let turn = service.requests.try_acquire().map_err(|_| crowded())?;
    let room = letterbox.room(values.room()).await.map_err(|_| Refusal::stopping())?;
    let uses_first_record = framing.kind.has_records() && service.decoder.uses_first_record();
    let first = framer.first().filter(|_| uses_first_record).unwrap_or_default().to_vec();
    let key = key.map(|key| inbox::Key::of(&key, &first, &values));
    Ok(Arrived { values, first, key, room, turn })
}

fn admit(service: &Service, headers: &HeaderMap) -> Result<(), Refusal> {
    let sent = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let sent = sent.and_then(|sent| sent.strip_prefix(b"Bearer ").or_else(|| sent.strip_prefix(b"bearer ")));
    if service.lets_in(sent) {
        Ok(())
    } else {
        let why = match sent {
            Some(_) => "this is not the pipeline's token",
            None => "send the pipeline's token, as `Authorization: Bearer …`",
        };
        Err(Refusal::new(StatusCode::UNAUTHORIZED, why))
    }
}

async fn collect(
    service: &Service,
    framer: &mut Framer,
    (body, share): (Body, &mut Share),
    most: usize,
) -> Result<Blobs, Refusal> {
    let slow = |_| Refusal::coded(StatusCode::REQUEST_TIMEOUT, &Error::TooSlow);
    let mut values = Blobs::default();
    let (mut packed, many) = (0, (most / SMALL).max(MANY));
    let mut chunks = body.into_data_stream();
    loop {
        share.hold(values.room() + framer.held()).await.map_err(slow)?;
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            too_slow = share.too_slow() => return Err(slow(too_slow)),
        };
        share.arrived();
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the body ended early: {error}; nothing was stored"))
        })?;
        packed += chunk.len();
        for piece in chunk.chunks(PIECE) {
            framer.push(piece, &mut values).map_err(|error| match error {
                // By type, a message may be as large as the body.
                Error::Frame { .. } if service.spec.framing.is_none() => too_large(service),
                error => broken(&error),
            })?;
            if packed > most || values.bytes.len() + framer.held() > most {
                return Err(too_large(service));
            }
            if values.len() > many {
                return Err(too_many(service, many));
            }
        }
    }
    framer.finish(&mut values).map_err(|error| broken(&error))?;
    Ok(values)
}

fn too_large(service: &Service) -> Refusal {
    let why =
        format!("the body is larger than {}; send it in parts, or raise `maxBody` in the spec", service.spec.max_body);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn too_many(service: &Service, many: usize) -> Refusal {
    let why = format!(
        "the body has more than {many} messages, one for each {SMALL} bytes of `maxBody` ({}); send it in parts, or raise `maxBody` in the spec",
        service.spec.max_body
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn broken(error: &Error) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, format!("{error}; nothing was stored"))
}

/// Where messages end in a body: what the spec says, or else what its type says.
fn framing(service: &Service, headers: &HeaderMap) -> Result<FramingSpec, Refusal> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let mut framing = match &service.spec.framing {
        Some(framing) => framing.clone(),
        None => {
            let essence = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let kind = by_type(&essence, &service.decoder)
                .map_err(|why| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))?;
            // Nothing but the limit of the body limits a message.
            let csv = service.decoder.csv().filter(|_| kind == FramingType::Csv);
            let (delimiter, quote) = csv.map(|csv| (csv.delimiter, csv.quote)).unzip();
            FramingSpec { kind, max_frame: service.spec.max_body, delimiter, quote, ..FramingSpec::default() }
        }
    };
    match text(CONTENT_ENCODING).trim().to_ascii_lowercase().as_str() {
        "" | "identity" => {}
        "gzip" | "x-gzip" => framing.compression = Compression::Gzip,
        "zstd" => framing.compression = Compression::Zstd,
        other => {
            let why = format!("the body is encoded as `{other}`; send it as gzip, as zstd, or uncompressed");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    }
    Ok(framing)
}

/// Content types, how bodies of each are cut, and the decoder that reads them.
const TYPES: [(&str, FramingType, &str); 14] = [
    ("application/x-ndjson", FramingType::Lines, "json"),
    ("application/ndjson", FramingType::Lines, "json"),
    ("application/jsonl", FramingType::Lines, "json"),
    ("application/jsonlines", FramingType::Lines, "json"),
    ("application/x-jsonlines", FramingType::Lines, "json"),
    ("application/json", FramingType::None, "json"),
    ("text/csv", FramingType::Csv, "csv"),
    ("application/vnd.apache.arrow.stream", FramingType::None, "arrow"),
    ("application/x-protobuf", FramingType::None, "protobuf"),
    ("application/avro", FramingType::None, "avro"),
    ("application/octet-stream", FramingType::None, ""),
    ("text/plain", FramingType::Lines, ""),
    // What a client says that was not told what it sends.
    ("application/x-www-form-urlencoded", FramingType::Lines, ""),
    ("", FramingType::Lines, ""),
];

/// How a body of type `essence` is cut, if `decoder` can read it.
fn by_type(essence: &str, decoder: &DecoderSpec) -> Result<FramingType, String> {
    let reads = match decoder {
        DecoderSpec::Native(native) => TYPES.iter().map(|(.., of)| *of).find(|of| *of == native.name()).unwrap_or(""),
        DecoderSpec::Plugin(_) => "",
    };
    let fits = |of: &str| of.is_empty() || reads.is_empty() || of == reads;
    match TYPES.iter().find(|(name, ..)| *name == essence) {
        Some((_, kind, of)) if fits(of) => Ok(*kind),
        _ => {
            let known: Vec<&str> =
                TYPES.iter().filter(|(name, _, of)| fits(of) && !name.is_empty()).map(|(name, ..)| *name).collect();
            Err(format!("the pipeline does not accept `{essence}`; send one of {}", known.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JsonSpec, NativeDecoder};

    #[test]
    fn the_type_of_a_body_says_where_messages_end() {
        let json: DecoderSpec = NativeDecoder::Json(JsonSpec::default()).into();
        let raw: DecoderSpec = NativeDecoder::RAW.into();
        let check = |essence: &str, decoder: &DecoderSpec, expected: Result<FramingType, &str>| match (
            by_type(essence, decoder),
            expected,
        ) {
            (Ok(kind), Ok(expected)) => assert_eq!(kind, expected, "{essence}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{essence}: {why}"),
            (got, _) => panic!("{essence}: {got:?}"),
        };
        check("application/x-ndjson", &json, Ok(FramingType::Lines));
        check("application/json", &json, Ok(FramingType::None));
        check("", &json, Ok(FramingType::Lines));
        check("text/csv", &json, Err("does not accept `text/csv`; send one of application/x-ndjson"));
        check("text/csv", &raw, Ok(FramingType::Csv));
        check("image/png", &raw, Err("application/octet-stream"));
    }
}
