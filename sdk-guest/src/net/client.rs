//! A small HTTP/1.1 client: one request a connection, the answer whole in memory, within bounds of size and time.

use std::{
    fmt, io,
    io::{Read, Write as _},
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    Connection, PATIENCE, body, head,
    url::{self, Url},
};
use crate::{
    Error,
    secret::{Form, Secret},
};

/// Makes requests. What it was told holds for each of them.
///
/// A URL with `https` needs an endpoint with TLS: `endpoints: {api: {address: "api.example.com:443", tls: true}}`.
///
/// Redirects are followed if [`Client::redirects`] says so; otherwise a response with status 301 and its like comes back as it is, with
/// its `location`. Each step is a request of its own, which needs a grant like any other.
#[derive(Clone, Debug)]
pub struct Client {
    timeout: Duration,
    max_body: usize,
    redirects: u32,
    gzip: bool,
    secret: Option<SecretHeader>,
}

/// A header that ends with a secret, which the host writes.
#[derive(Clone, Debug)]
struct SecretHeader {
    name: String,
    /// What stands before the secret, or before the base64 that it ends.
    before: String,
    user: Option<Vec<u8>>,
    secret: Rc<Secret>,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The method, as in `GET`.
    pub method: &'a str,
    /// Where to, as in `http://api.example.com/quotes?n=3`.
    pub url: &'a str,
    /// Headers besides `Host`, `Connection` and `Content-Length`, which are the client's.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body; none is sent if it is empty and the method is `GET`.
    pub body: &'a [u8],
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, as in 200.
    pub status: u16,
    /// The headers in their order; names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug)]
pub enum HttpError {
    /// The request cannot be sent as it is.
    Url(String),
    /// The connection failed, or took too long.
    Io(io::Error),
    /// The server does not speak HTTP as it should.
    Protocol(String),
    /// A secret may not be written there, or cannot be.
    Secret(Error),
    /// The response has more bytes than it may have.
    TooLarge(usize),
    /// The status is not one of success.
    Status(u16),
}

impl Client {
    /// A client that waits for [`PATIENCE`] for a whole response of at most 8 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self { timeout: PATIENCE, max_body: 8 << 20, redirects: 0, gzip: false, secret: None }
    }

    /// How long a request may take, from the connection to the last byte.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How many bytes a body may have.
    #[must_use]
    pub fn max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    /// How many redirects are followed, none by default. A step from `https` to `http` is an error, `Authorization` and `Cookie` stay
    /// with the host that they are for, and what was posted is got after a 303, and after a 301 or 302.
    #[must_use]
    pub fn redirects(self, redirects: u32) -> Self {
        Self { redirects, ..self }
    }

    /// Asks for bodies packed with gzip, and unpacks them; unpacked they have at most [`Client::max_body`] bytes.
    #[must_use]
    pub fn gzip(self, gzip: bool) -> Self {
        Self { gzip, ..self }
    }

    /// Sends a secret in the header `name` of every request, behind `before`, as in `Authorization` and `Bearer `. The host writes it, to
    /// endpoints of the spec only; where a redirect leads elsewhere it is not sent.
    #[must_use]
    pub fn secret_header(self, name: &str, before: &str, secret: Secret) -> Self {
        let header = SecretHeader { name: name.into(), before: before.into(), user: None, secret: Rc::new(secret) };
        Self { secret: Some(header), ..self }
    }

    /// Sends a user and his password, a secret, in the header `Authorization`, as [`Client::secret_header`] does.
    #[must_use]
    pub fn basic(self, user: &str, password: Secret) -> Self {
        let client = self.secret_header("Authorization", "Basic ", password);
        let user = Some(format!("{user}:").into_bytes());
        Self { secret: client.secret.map(|header| SecretHeader { user, ..header }), ..client }
    }

    /// Gets `url`.
    ///
    /// # Errors
    /// As for [`Client::send`].
    pub fn get(&self, url: &str) -> Result<Response, HttpError> {
        self.send(&Request { method: "GET", url, headers: &[], body: &[] })
    }

    /// Posts `body` of this type, as in `application/json`, to `url`.
    ///
    /// # Errors
    /// As for [`Client::send`].
    pub fn post(&self, url: &str, content_type: &str, body: &[u8]) -> Result<Response, HttpError> {
        self.send(&Request { method: "POST", url, headers: &[("Content-Type", content_type)], body })
    }

    /// Makes any request.
    ///
    /// # Errors
    /// If the URL is none, the server cannot be reached, answers too late, too much, or something other than HTTP. What status
    /// the response has does not matter here.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, HttpError> {
        let until = crate::now() + self.timeout;
        let (mut url, mut method, mut body) = (request.url.to_owned(), request.method, request.body);
        let mut headers = request.headers.to_vec();
        let mut secret = self.secret.as_ref();
        for followed in 0.. {
            let response = self.send_once(&Request { method, url: &url, headers: &headers, body }, secret, until)?;
            let location = match response.status {
                301 | 302 | 303 | 307 | 308 if self.redirects > 0 => response.header("location"),
                _ => None,
            };
            let Some(location) = location else { return Ok(response) };
            if followed >= self.redirects {
                return Err(HttpError::Protocol(format!("it redirects more than {} times", self.redirects)));
            }
            let next = url::join(&url, location)?;
            let (from, to) = (Url::parse(&url)?, Url::parse(&next)?);
            if from.secure && !to.secure {
                return Err(HttpError::Protocol("it redirects from https to http".into()));
            }
            let gets = response.status == 303 || (matches!(response.status, 301 | 302) && method == "POST");
            if gets && method != "HEAD" {
                (method, body) = ("GET", &[]);
                headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
            }
            if from.address != to.address {
                headers.retain(|(name, _)| !is_for_one_host(name));
                secret = None;
            }
            url = next;
        }
        Err(HttpError::Protocol("it redirects without end".into()))
    }

    fn send_once(
        &self,
        request: &Request<'_>,
        secret: Option<&SecretHeader>,
        until: Instant,
    ) -> Result<Response, HttpError> {
        let url = Url::parse(request.url)?;
        let mut head = written(request, &url, self.gzip)?;
        if let Some(secret) = secret {
            head.extend_from_slice(&secret.begun()?);
        } else {
            head.extend_from_slice(b"\r\n");
        }
        let left = until.saturating_duration_since(crate::now());
        let stream = Connection::open(&url.address, left)?;
        if url.secure && !stream.is_secure() {
            let what = format!("the spec gives `{}` no TLS; name it as an endpoint with `tls: true`", url.address);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what).into());
        }
        let mut stream = Until { stream, until };
        stream.send(&head)?;
        if let Some(secret) = secret {
            stream.stream.set_write_timeout(stream.left()?);
            let form = secret.user.as_deref().map_or(Form::Raw, Form::Base64);
            secret.secret.send_as(&mut stream.stream, form).map_err(HttpError::Secret)?;
            stream.send(b"\r\n\r\n")?;
        }
        // A server may refuse a body before it has read all of it, and then its answer says more than this error.
        let sent = stream.send(request.body);
        match (self.receive(stream, request.method), sent) {
            (Err(HttpError::Io(_)), Err(error)) => Err(error.into()),
            (received, _) => received,
        }
    }

    /// Reads a response to a request of this method.
    pub(super) fn receive(&self, from: impl Read, method: &str) -> Result<Response, HttpError> {
        let mut from = io::BufReader::with_capacity(8 << 10, from);
        let (status, headers) = head::read(&mut from)?;
        let framing = body::framing(status, &headers, method)?;
        let mut body = body::read(&mut from, framing, self.max_body)?;
        if self.gzip
            && headers.iter().any(|(name, value)| name == "content-encoding" && value.eq_ignore_ascii_case("gzip"))
        {
            body = body::unpack(&body, self.max_body)?;
        }
        Ok(Response { status, headers, body })
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Response {
    /// The first header of this name, which is written in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The response, if its status is one of success (200 to 299).
    ///
    /// # Errors
    /// Its status, if it is another one.
    pub fn success(self) -> Result<Self, HttpError> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(HttpError::Status(self.status)) }
    }
}

/// Whether a header says who asks: it is for the host that it was meant for.
fn is_for_one_host(name: &str) -> bool {
    ["authorization", "cookie", "proxy-authorization"].iter().any(|own| name.eq_ignore_ascii_case(own))
}

impl SecretHeader {
    /// The header up to the secret.
    fn begun(&self) -> Result<Vec<u8>, HttpError> {
        if !is_token(&self.name) || self.before.contains(['\r', '\n', '\0']) {
            return Err(HttpError::Url(format!("the header `{}` cannot be sent", self.name.escape_debug())));
        }
        Ok(format!("{}: {}", self.name, self.before).into_bytes())
    }
}

/// Whether a text can be a method, or the name of a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The head of a request without its last line end, in which nothing but the request can stand.
fn written(request: &Request<'_>, url: &Url<'_>, gzip: bool) -> Result<Vec<u8>, HttpError> {
    if !is_token(request.method) {
        return Err(HttpError::Url(format!("`{}` is not a method", request.method.escape_debug())));
    }
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", request.method, url.target, url.authority);
    for (name, value) in request.headers {
        let own = ["host", "connection", "content-length", "transfer-encoding"];
        let sound =
            is_token(name) && !value.contains(['\r', '\n', '\0']) && !own.contains(&name.to_ascii_lowercase().as_str());
        if !sound {
            return Err(HttpError::Url(format!("the header `{}` cannot be sent", name.escape_debug())));
        }
        head += &format!("{name}: {value}\r\n");
    }
    if gzip {
        head += "Accept-Encoding: gzip\r\n";
    }
    if !(request.body.is_empty() && matches!(request.method, "GET" | "HEAD")) {
        head += &format!("Content-Length: {}\r\n", request.body.len());
    }
    Ok(head.into_bytes())
}

/// A connection until a point in time, however slowly the peer sends.
struct Until {
    stream: Connection,
    until: Instant,
}

impl Until {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(crate::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(self.left()?);
            let count = self.stream.write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Read for Until {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?);
        self.stream.read(into)
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(what) => f.write_str(what),
            Self::Io(error) => error.fmt(f),
            Self::Protocol(what) => write!(f, "the server's answer is not HTTP: {what}"),
            Self::Secret(error) => error.fmt(f),
            Self::TooLarge(most) => write!(f, "the answer has more than the {most} bytes it may have"),
            Self::Status(status) => write!(f, "the server answered with status {status}"),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Trouble of the server or the way there passes; a wrong URL, a missing grant, an answer that is too large, or a status below 500
/// does not.
impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        let message = error.to_string();
        match error {
            HttpError::Url(_) => Self::fatal("http.url", message),
            // No grant comes while the pipeline runs.
            HttpError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Self::fatal("http.denied", message)
            }
            HttpError::Io(error) => match Self::from(error) {
                // What the host says will not pass, such as a certificate of somebody else.
                Self::Fatal { .. } => Self::fatal("http.io", message),
                _ => Self::retriable("http.io", message),
            },
            HttpError::Protocol(_) => Self::retriable("http.protocol", message),
            HttpError::Secret(error) => error,
            HttpError::TooLarge(_) => Self::fatal("http.large", message),
            HttpError::Status(408 | 429 | 500..) => Self::retriable("http.status", message),
            HttpError::Status(_) => Self::fatal("http.status", message),
        }
    }
}
