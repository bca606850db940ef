//! The files of the console: a page that asks this API as any client would. They hold nothing of a store, so that everybody gets them.
//!
//! They are built from `console/src` and committed in `console/dist`; `build.rs` packs them into the binary.

use std::io::Read as _;

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::Response,
    routing::{MethodRouter, get},
};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::{Error, answer::Answer};

/// What the page may do: load its own files, and ask its own server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
                      font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// The name of a file below this has a hash of what it holds.
const HASHED: &str = "/assets/";

/// A file, packed.
#[derive(Clone, Copy, Debug)]
struct Packed {
    path: &'static str,
    bytes: &'static [u8],
}

const FILES: &[Packed] = &include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The routes of all files.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> impl Iterator<Item = (&'static str, MethodRouter<S>)> {
    FILES.iter().map(|file| {
        let path = if file.path == "/index.html" { "/" } else { file.path };
        let digest = Sha256::digest(file.bytes);
        let tag: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        // Weak, since the same file is sent packed and plain.
        let tag = HeaderValue::try_from(format!("W/\"{tag}\"")).ok();
        let sent = move |headers: HeaderMap| {
            let answer = file.sent(&headers, tag.as_ref());
            async move { answer }
        };
        (path, get(sent))
    })
}

impl Packed {
    fn sent(&self, headers: &HeaderMap, tag: Option<&HeaderValue>) -> Answer<Response> {
        let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let is_known = tag.and_then(|tag| tag.to_str().ok()).zip(known);
        let mut response = Response::new(Body::empty());
        if is_known.is_some_and(|(tag, known)| known == "*" || known.split(',').any(|one| one.trim() == tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if takes_gzip(headers) {
            *response.body_mut() = Body::from(self.bytes);
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        } else {
            let mut plain = Vec::new();
            GzDecoder::new(self.bytes).read_to_end(&mut plain).map_err(|_| Error::Panicked)?;
            *response.body_mut() = Body::from(plain);
        }
        let for_how_long =
            if self.path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let said: [(HeaderName, &'static str); 7] = [
            (CONTENT_TYPE, media(self.path)),
            (CACHE_CONTROL, for_how_long),
            (VARY, "accept-encoding"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ];
        for (name, value) in said {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        tag.map(|tag| response.headers_mut().insert(ETAG, tag.clone()));
        Ok(response)
    }
}

/// Whether the client unpacks by itself.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let mut words = one.split(';').map(str::trim);
        let gzip = words.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = |word: &str| word.strip_prefix("q=").is_some_and(|much| much.trim_matches(['0', '.']).is_empty());
        gzip && !words.any(refused)
    })
}

fn media(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> &'static Packed {
        FILES.iter().find(|file| file.path == path).unwrap()
    }

    fn plain(file: &Packed) -> String {
        let mut text = String::new();
        GzDecoder::new(file.bytes).read_to_string(&mut text).unwrap();
        text
    }

    fn headers(said: &[(HeaderName, &str)]) -> HeaderMap {
        said.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[test]
    fn the_page_names_files_that_are_there_and_nothing_that_its_policy_forbids() {
        let page = plain(file("/index.html"));
        let named: Vec<&str> = page.split(['"', '\'']).filter(|word| word.starts_with('/')).collect();
        let of_page: Vec<&str> = named.into_iter().filter(|path| *path != "/openapi.json").collect();
        assert!(of_page.len() >= 3, "{page}");
        for path in of_page {
            assert_ne!(media(path), "application/octet-stream", "{path}");
            file(path);
        }
        for forbidden in ["<style", "style=", "onload=", "http://", "https://", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
    }

    #[tokio::test]
    async fn a_file_is_sent_packed_or_plain_or_not_again() {
        let page = file("/index.html");
        let tag = HeaderValue::from_static("W/\"a\"");
        let check = |said: &[(HeaderName, &str)]| page.sent(&headers(said), Some(&tag)).unwrap();
        let packed = check(&[(ACCEPT_ENCODING, "br, GZIP;q=0.5")]);
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(packed.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(body(packed).await, page.bytes);
        for nothing in [&[][..], &[(ACCEPT_ENCODING, "br")], &[(ACCEPT_ENCODING, "gzip; q=0.0, identity")]] {
            let sent = check(nothing);
            assert!(!sent.headers().contains_key(CONTENT_ENCODING), "{nothing:?}");
            assert_eq!(body(sent).await, plain(page).into_bytes());
        }
        for known in ["W/\"a\"", "\"b\", W/\"a\"", "*"] {
            let sent = check(&[(IF_NONE_MATCH, known)]);
            assert_eq!((sent.status(), &sent.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &tag), "{known}");
            assert!(body(sent).await.is_empty());
        }
        assert_eq!(check(&[(IF_NONE_MATCH, "\"b\"")]).status(), StatusCode::OK);
    }
}
