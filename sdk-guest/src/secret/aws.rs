//! Requests to AWS, and to what speaks like it, signed after version 4.

use sha2::{Digest as _, Sha256};

use super::Secret;
use crate::{Error, Result, net::escaped};

/// Who asks, and what.
#[derive(Debug)]
pub struct Aws<'a> {
    /// The id of the key, which is no secret.
    pub key_id: &'a str,
    /// The key.
    pub key: &'a Secret,
    /// The token that belongs to a temporary key; see [`Aws::session_token`].
    pub session_token: Option<&'a str>,
    /// As in `eu-central-1`.
    pub region: &'a str,
    /// As in `kinesis` or `s3`.
    pub service: &'a str,
}

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// As in `POST`.
    pub method: &'a str,
    /// The host, with its port if it is not that of the scheme, as the header `Host` says it.
    pub host: &'a str,
    /// The path, with what has to be escaped in it escaped, as it is sent.
    pub path: &'a str,
    /// Names and values of the query, in any order, not escaped.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers besides `Host` and those that are added.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
    /// Seconds since 1970.
    pub at: u64,
}

impl Aws<'_> {
    /// The token of a temporary key, where the spec grants one by this name. It is signed with the request, so it takes `reveal: true`; who
    /// has it alone can do nothing with it.
    ///
    /// # Errors
    /// It is granted, and not to be seen.
    pub fn session_token(name: &str) -> Result<Option<String>> {
        let Ok(token) = Secret::named(name) else { return Ok(None) };
        token.reveal().map(Some).map_err(|_| {
            Error::invalid_config(format!(
                "the secret `{name}` is part of what is signed; grant it with `reveal: true`, as in {name}: {{env: AWS_SESSION_TOKEN, reveal: true}}"
            ))
        })
    }

    /// The headers to add: `X-Amz-Date`, `X-Amz-Content-Sha256`, `Authorization`, and with a token `X-Amz-Security-Token`.
    #[must_use]
    pub fn sign(&self, request: &Unsigned<'_>) -> Vec<(String, String)> {
        let (stamp, body) = (stamp(request.at), hex(&Sha256::digest(request.body)));
        let day = stamp.get(..8).unwrap_or_default();
        let own = [("host", request.host), ("x-amz-content-sha256", body.as_str()), ("x-amz-date", stamp.as_str())];
        let trimmed = |value: &str| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let token = self.session_token.map(|token| ("x-amz-security-token", token));
        let mut headers: Vec<(String, String)> = own
            .iter()
            .chain(&token)
            .chain(request.headers)
            .map(|(name, value)| (name.to_ascii_lowercase(), trimmed(value)))
            .collect();
        headers.sort();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical =
            format!("{}\n{}\n{}\n{lines}\n{names}\n{body}", request.method, request.path, query(request.query));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let signature = self.key.sign_v4(day, self.region, self.service, &text);
        let credential = format!("Credential={}/{scope}", self.key_id);
        let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}");
        let own = [("X-Amz-Date", stamp), ("X-Amz-Content-Sha256", body), ("Authorization", authorization)];
        let token = self.session_token.map(|token| ("X-Amz-Security-Token", token.to_owned()));
        own.into_iter().chain(token).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The query as it is signed, and as it is to be sent.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escaped(name, b""), escaped(value, b""))).collect();
    pairs.sort();
    pairs.join("&")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time as `20261127T031500Z`.
fn stamp(at: u64) -> String {
    let (days, second) = (at / 86_400, at % 86_400);
    // Days of the proleptic calendar in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{of_month:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_in_the_documentation() {
        // The examples of Amazon's documentation of S3, `GET Object` and `GET Bucket (List Objects)`.
        crate::testing::set_secret("aws", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let key = Secret::named("aws").unwrap();
        let key_id = "AKIAIOSFODNN7EXAMPLE";
        let aws = Aws { key_id, key: &key, session_token: None, region: "us-east-1", service: "s3" };
        let check = |path: &str, query: &[(&str, &str)], headers: &[(&str, &str)], expected: &str| {
            let host = "examplebucket.s3.amazonaws.com";
            let request = Unsigned { method: "GET", host, path, query, headers, body: b"", at: 1_369_353_600 };
            let added = aws.sign(&request);
            assert_eq!(added[0].1, "20130524T000000Z");
            assert!(added[2].1.ends_with(&format!("Signature={expected}")), "{added:?}");
        };
        check(
            "/test.txt",
            &[],
            &[("Range", "bytes=0-9")],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check(
            "/",
            &[("prefix", "J"), ("max-keys", "2")],
            &[],
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn a_session_token_is_signed_with_the_request() {
        // What Amazon's own library says of it is in tests/suite/kinesis.rs.
        crate::testing::set_secret("temporary", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let key = Secret::named("temporary").unwrap();
        let aws =
            Aws { key_id: "A", key: &key, session_token: Some("a+b/c=="), region: "us-east-1", service: "kinesis" };
        let host = "kinesis.us-east-1.amazonaws.com";
        let request = Unsigned { method: "POST", host, path: "/", query: &[], headers: &[], body: b"{}", at: 0 };
        let added = aws.sign(&request);
        assert_eq!(added[3], ("X-Amz-Security-Token".to_owned(), "a+b/c==".to_owned()));
        assert!(added[2].1.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
        assert_ne!(Aws { session_token: None, ..aws }.sign(&request)[2], added[2]);
        assert_eq!(Aws::session_token("nobody").unwrap(), None);
    }

    #[test]
    fn times_and_queries_are_written_as_they_are_signed() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_868_799), "20000229T235959Z");
        assert_eq!(stamp(1_795_748_400), "20261127T030000Z");
        assert_eq!(query(&[("b", "x y/ä"), ("a", "")]), "a=&b=x%20y%2F%C3%A4");
    }
}
