//! `spout token`: who may come in to a server.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_base::clock;
use spout_data::Period;
use spout_server::{Scope, Token as Kept, Tokens};

use super::print::{Printer, Table, local_time};

/// Create, list and revoke the tokens of a server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout token create --tokens tokens.json --name ada --scope write:pictures
  spout token list --tokens tokens.json
  spout serve --tokens tokens.json")]
pub(super) struct Token {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a token and print it. It is kept as a hash, so that it cannot be printed again.
    #[command(after_help = "Examples:
  spout token create --tokens tokens.json --name ada --scope write:pictures --scope 'read:*'
  spout token create --tokens tokens.json --name night --scope 'read:sales-*' --for 30d > token
  spout token create --tokens tokens.json --name ci --scope 'run:clean-*' --scope 'plugin:*' --scope 'read:events'

A scope is read, write or admin, and the names of repos, in which * is anything. write includes read: it puts, copies, moves
and deletes files, and creates branches and tags. admin includes write: it creates and deletes repos, and deletes branches and
tags. run includes read: it creates, updates, starts, stops and deletes the pipelines of these names, which write the repos of
these names. plugin puts and deletes plugins. Neither is part of any other scope. A repo that no scope names is not there. A
running server knows the token at once.")]
    Create {
        /// The file of tokens; made if it is not there.
        #[arg(long, env = "SPOUT_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
        /// Whose token it is.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it allows: `read:REPO`, `write:REPO`, `admin:REPO`, `run:PIPELINE` or `plugin:PLUGIN`; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// How long it is good for: `12h`, `30d`. Without it, until it is revoked.
        #[arg(long = "for", value_name = "TIME")]
        period: Option<Period>,
    },
    /// List the tokens, without their secrets.
    #[command(after_help = "Examples:\n  spout token list --tokens tokens.json")]
    List {
        /// The file of tokens.
        #[arg(long, env = "SPOUT_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
    },
    /// Revoke a token. A running server refuses it at once.
    #[command(after_help = "Examples:\n  spout token revoke 0123abcd --tokens tokens.json")]
    Revoke {
        /// Its id, as `spout token list` shows it.
        id: String,
        /// The file of tokens.
        #[arg(long, env = "SPOUT_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
    },
}

impl Token {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Create { tokens, name, scopes, period } => {
                let lasts = period.map(|period| i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX));
                let expires_ms = lasts.map(|lasts| clock::wall_ms().saturating_add(lasts));
                let (token, text) = Tokens::at(tokens).create(name, scopes.clone(), expires_ms)?;
                // Alone on its line, so that a script can take it.
                if printer.json() {
                    printer.value(&json!({"id": token.id, "token": text, "expires_ms": token.expires_ms}))
                } else {
                    printer.line(text)
                }
            }
            What::List { tokens } => printer.list(&Tokens::at(tokens).list()?, table, "no tokens"),
            What::Revoke { id, tokens } => {
                let gone = Tokens::at(tokens).revoke(id)?;
                if printer.json() {
                    printer.value(&gone)
                } else {
                    printer.line(format!("revoked {} of {}", gone.id, gone.name))
                }
            }
        }
    }
}

fn table(tokens: &[Kept]) -> Table {
    Table::new(
        &["id", "name", "scopes", "created", "expires"],
        tokens.iter().map(|token| {
            let scopes: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
            let expires = token.expires_ms.map_or_else(|| "never".to_owned(), local_time);
            vec![token.id.clone(), token.name.clone(), scopes.join(" "), local_time(token.created_ms), expires]
        }),
    )
}
