//! What a request may say, where a function of ours takes it apart.

use spout_fuzz::{Corpus, Counting, Target};
use tokio::io::AsyncReadExt as _;

use super::{form::Form, request, tokens::Scope};

#[global_allocator]
static MEMORY: Counting = Counting;

/// Gives its bytes a few at a time.
struct Slow<'a>(&'a [u8], usize);

impl tokio::io::AsyncRead for Slow<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let count = self.0.len().min(self.1).min(into.remaining());
        into.put_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        std::task::Poll::Ready(Ok(()))
    }
}

async fn parts(bytes: &[u8], at_once: usize) -> (Vec<String>, Option<String>) {
    let mut parts = Vec::new();
    let Ok(mut form) = Form::new("multipart/form-data; boundary=xyz", Slow(bytes, at_once)) else {
        return (parts, None);
    };
    loop {
        match form.next().await {
            Ok(Some(part)) => {
                let mut content = Vec::new();
                if form.content().read_to_end(&mut content).await.is_err() {
                    return (parts, form.broken());
                }
                parts.push(format!("{part:?} {:?}", content.escape_ascii().to_string()));
            }
            Ok(None) => return (parts, None),
            Err(why) => return (parts, Some(why)),
        }
    }
}

/// A form has the same parts however it arrives.
#[test]
fn form() {
    let head = "Content-Disposition: form-data; name=";
    let whole = format!(
        "--xyz\r\n{head}\"/a\"; filename=\"x;\\\"y\\\"\"\r\n\r\none\r\n--xy\r\n--xyz\r\n{head}c\r\n\r\ntwo\r\n--xyz--"
    );
    let words =
        ["--xyz", "\r\n", "--", "\"", "%22", "\\", "name=", ";", "é", "Content-Disposition: form-data; name=x\r\n\r\n"];
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), "form").and([whole, "--xyz--".into()]).words(&words);
    Target::new("form", 2_000).within(4 << 20).bytes(&corpus, |bytes| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let whole = parts(bytes, usize::MAX).await;
            assert_eq!(parts(bytes, 7).await, whole);
            !whole.0.is_empty()
        })
    });
}

/// A scope that was read is written so that it is read again, and a reference names the repo that its caller was let into.
#[test]
fn scope_and_reference() {
    let inputs =
        ["read:*", "write:pictures", "run:clean-*", "events@master~2:/a/b", "events{2026-01-31}^^:/x", "a@0f3a"];
    let words = ["read:", ":", "*", "@", "~", "^", "{", "}", "/", "..", "9999999999999999999", "-", "é"];
    Target::new("scope-and-reference", 20_000).bytes(&Corpus::of(inputs).words(&words), |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        if let Ok(scope) = text.parse::<Scope>() {
            assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
            return true;
        }
        request::within("events", text).is_ok_and(|reference| {
            assert_eq!(reference.repo, "events");
            true
        })
    });
}
