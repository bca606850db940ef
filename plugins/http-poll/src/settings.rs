//! What a spec says about an API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result, net::Client, secret::Secret};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// How to get from one answer to the next: `cursor`, `page`, `link`, `since` or `etag`.
    pub mode: Mode,
    /// Where an answer has its items, as a JSON pointer: `/data/items`. Left out, the answer is the list itself.
    #[serde(default)]
    pub items: String,
    /// With `mode: cursor`, where an answer has the cursor of the next page, as a JSON pointer: `/next`. With `mode: since`, where an
    /// item has the value to ask on from: `/updatedAt`.
    #[serde(default)]
    pub field: String,
    /// The parameter of a request that has the cursor, the number of the page, or the value; `cursor`, `page` or `since` unless
    /// it is said.
    pub parameter: Option<String>,
    /// The cursor, page or value of the first request. Left out, the first request has none, or the page 1.
    pub first: Option<String>,
    /// With `mode: page`, how many items a page has that is complete.
    #[serde(default)]
    pub size: usize,
    /// Seconds between two requests when there is nothing new.
    #[serde(default = "every")]
    pub every: f64,
    /// `false`: the source ends where there is no next page.
    #[serde(default = "follow")]
    pub follow: bool,
    /// Headers of every request, besides those of HTTP itself.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How requests say who asks, in the header `Authorization`: `bearer` with the secret `token`, or `basic` with `username` and the
    /// secret `password`. The host writes secrets, to endpoints of the spec only.
    pub authorization: Option<Authorization>,
    /// With `authorization: basic`, the user.
    pub username: Option<String>,
    /// The header that has the secret `token` as it is, such as `X-Api-Key`.
    pub secret_header: Option<String>,
    /// Most bytes of an answer.
    #[serde(default = "max_body")]
    pub max_body: usize,
}

/// How to get from one answer to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// An answer names the cursor of the next one.
    Cursor,
    /// Pages are numbered.
    Page,
    /// An answer has a header `Link` with the address of the next one.
    Link,
    /// Requests say from which value on.
    Since,
    /// There is one document, and each version of it is a message.
    Etag,
}

/// How requests say who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authorization {
    /// By a token.
    Bearer,
    /// As a user, by a password.
    Basic,
}

fn every() -> f64 {
    5.0
}

fn follow() -> bool {
    true
}

fn max_body() -> usize {
    8 << 20
}

/// Headers that say who somebody is: they are secrets, and settings are stored and shown.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        let paged = matches!(self.mode, Mode::Cursor | Mode::Page | Mode::Link);
        let pointer = |text: &str| text.is_empty() || text.starts_with('/');
        let wrong = match self.mode {
            Mode::Cursor if self.field.is_empty() => {
                "`mode: cursor` needs `field`, where an answer has the next cursor"
            }
            Mode::Since if self.field.is_empty() => "`mode: since` needs `field`, where an item has its value",
            Mode::Page if self.size == 0 => "`mode: page` needs `size`, the number of items of a complete page",
            Mode::Etag if !self.items.is_empty() => "`mode: etag` has whole documents, and no `items`",
            _ if !paged && !self.follow => "`follow: false` is for pages; there is no last version or value",
            _ if !pointer(&self.items) || !pointer(&self.field) => {
                "`items` and `field` are JSON pointers: `/data/items`"
            }
            _ if !(0.0..=86_400.0).contains(&self.every) => "`every` is from 0 to 86400 seconds",
            _ if self.username.is_some() != (self.authorization == Some(Authorization::Basic)) => {
                "`authorization: basic` needs `username`, and nothing else has one"
            }
            _ if self.secret_header.is_some() && self.authorization.is_some() => {
                "`authorization` and `secretHeader` both say who asks; keep one of them"
            }
            _ if self.max_body == 0 || self.max_body > 256 << 20 => "`maxBody` is from 1 to 268435456 bytes",
            _ => "",
        };
        if !wrong.is_empty() {
            return Err(Error::invalid_config(wrong));
        }
        if let Some(name) = self.headers.keys().find(|name| SECRET.contains(&name.to_ascii_lowercase().as_str())) {
            return Err(Error::invalid_config(format!(
                "the header `{name}` is a secret, and settings are stored and shown; set `authorization` or `secretHeader`, and \
                 grant the secret"
            )));
        }
        Ok(())
    }

    /// A client that says who asks.
    pub(crate) fn authorized(&self, client: Client) -> Result<Client> {
        let secret = |name: &str, of: &str| {
            let what = format!("`{of}` needs the secret `{name}`; grant it under `secrets`");
            Secret::named(name).map_err(|_| Error::invalid_config(what))
        };
        Ok(match (self.authorization, &self.secret_header) {
            (Some(Authorization::Bearer), _) => {
                client.secret_header("Authorization", "Bearer ", secret("token", "authorization: bearer")?)
            }
            (Some(Authorization::Basic), _) => {
                let user = self.username.as_deref().unwrap_or_default();
                client.basic(user, secret("password", "authorization: basic")?)
            }
            (None, Some(name)) => client.secret_header(name, "", secret("token", "secretHeader")?),
            (None, None) => client,
        })
    }

    /// The parameter that says where to go on.
    pub(crate) fn parameter(&self) -> &str {
        self.parameter.as_deref().unwrap_or(match self.mode {
            Mode::Cursor | Mode::Etag => "cursor",
            Mode::Page | Mode::Link => "page",
            Mode::Since => "since",
        })
    }
}
