//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Mutex, PoisonError},
};

use spout_base::terminal;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// How much is logged where `SPOUT_LOG` does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// What went wrong: for commands that answer and end.
    Quiet,
    /// What happens: for commands that keep running.
    Normal,
    /// What the host does and why.
    Verbose,
}

/// Starts logging for this process; a second call changes nothing.
pub fn start(json: bool, volume: Volume) {
    let default = match volume {
        Volume::Quiet => "warn",
        Volume::Normal => "warn,spout=info",
        Volume::Verbose => "info,spout=debug",
    };
    let filter = EnvFilter::try_from_env("SPOUT_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = io::stderr().is_terminal();
    let written = if json {
        Written::Json
    } else if colours {
        Written::Coloured
    } else {
        Written::Plain
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Lines(written))
        .with_ansi(colours)
        .with_target(false);
    // Only the first of a process counts.
    drop(if json {
        lines.json().finish().with(Told).try_init()
    } else {
        lines.compact().finish().with(Told).try_init()
    });
}

type Around = Box<dyn Fn(&mut dyn FnMut()) + Send>;

static AROUND: Mutex<Option<Around>> = Mutex::new(None);

/// From now on each log line is written by calling what `around` is given: whoever draws on the terminal makes room first.
pub fn around(around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
    *AROUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(around));
}

type Tell = Box<dyn Fn(&str, &str, &str) + Send>;

static TELL: Mutex<Option<Tell>> = Mutex::new(None);

/// From now on `tell` is called with what is logged about a pipeline too: its name, the level, the text. It must not log.
pub fn tell(tell: impl Fn(&str, &str, &str) + Send + 'static) {
    *TELL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
}

/// Passes on what is logged about pipelines.
struct Told;

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let tell = TELL.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tell) = tell.as_ref() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(pipeline) = fields.pipeline {
            let level = event.metadata().level().as_str().to_ascii_lowercase();
            tell(&pipeline, &level, &format!("{}{}", fields.message, fields.rest));
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    pipeline: Option<String>,
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "pipeline" {
            self.pipeline = Some(value.to_owned());
        } else {
            self.record_debug(field, &format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "pipeline" => self.pipeline = Some(format!("{value:?}")),
            name => self.rest += &format!(" {name}={value:?}"),
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug)]
enum Written {
    Json,
    Plain,
    Coloured,
}

impl Written {
    /// The line with nothing in it that misleads a terminal.
    fn safe(self, line: &str) -> String {
        match self {
            Self::Json => terminal::json(line).into_owned(),
            Self::Plain => terminal::text(line).into_owned(),
            // Colours begin with an escape; one that comes from outside was spelled out when the line was made.
            Self::Coloured => line.split('\u{1b}').map(terminal::text).collect::<Vec<_>>().join("\u{1b}"),
        }
    }
}

/// Standard error, one line at a time.
struct Lines(Written);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.0.safe(&String::from_utf8_lossy(bytes));
        let mut written = Ok(bytes.len());
        let mut write = || written = io::stderr().write_all(line.as_bytes()).map(|()| bytes.len());
        match AROUND.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(around) => around(&mut write),
            None => write(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_about_a_pipeline_is_told() {
        let (told, all) = std::sync::mpsc::channel();
        tell(move |pipeline, level, text| told.send(format!("{pipeline} {level} {text}")).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Told), || {
            let name = String::from("p");
            tracing::warn!(pipeline = name, plugin = "x", rows = 3, "slow {}", "today");
            tracing::info!(pipeline = %name, "fine");
            tracing::error!("nobody's");
        });
        *TELL.lock().unwrap() = None;
        assert_eq!(all.iter().collect::<Vec<_>>(), ["p warn slow today plugin=x rows=3", "p info fine"]);
    }

    #[test]
    fn a_log_line_misleads_no_terminal() {
        let line = "\u{1b}[33m WARN\u{1b}[0m a\rb \u{202e}c\u{9b}2J\n";
        assert_eq!(Written::Coloured.safe(line), "\u{1b}[33m WARN\u{1b}[0m a\\rb \\u{202e}c\\u{9b}2J\n");
        assert_eq!(Written::Plain.safe("a\u{1b}[2J\n"), "a\\u{1b}[2J\n");
        assert_eq!(Written::Json.safe("{\"a\":\"\u{202e}\"}\n"), "{\"a\":\"\\u202e\"}\n");
    }
}
