//! Where log lines go: standard error, as text or as JSON, filtered by `SPOUT_LOG`.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use spout_base::{counted::counted, owner, terminal, trace::Context};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::RecordFields,
    fmt::{
        FmtContext,
        format::{DefaultFields, FormatEvent, FormatFields, Writer},
    },
    layer::{self, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::pipes::stderr;

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
        lines.json().map_event_format(Owned).finish().with(Told).try_init()
    } else {
        lines.compact().fmt_fields(Owned(DefaultFields::new())).finish().with(Told).try_init()
    });
}

/// Lines or their fields, with the pipeline that the task works for where the event does not say one.
#[derive(Debug)]
struct Owned<F>(F);

impl<'w, F: for<'a> FormatFields<'a>> FormatFields<'w> for Owned<F> {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut said = Fields::default();
        fields.record(&mut said);
        self.0.format_fields(writer.by_ref(), fields)?;
        said.unsaid().map_or(Ok(()), |owner| write!(writer, " pipeline={owner:?}"))
    }
}

impl<S, N, F> FormatEvent<S, N> for Owned<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    /// The line that is one object, with fields more: whose it is, and the span that it belongs to.
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Fields::default();
        event.record(&mut said);
        let mut more = String::new();
        if let Some(owner) = said.unsaid() {
            let name = serde_json::to_string(&*owner).map_err(|_| fmt::Error)?;
            more += &format!("\"pipeline\":{name},");
        }
        if let Some(Context { trace, span }) = owner::doing() {
            more += &format!("\"trace_id\":\"{trace:032x}\",\"span_id\":\"{span:016x}\",");
        }
        if more.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // An event has a message at least, so another field follows.
        write!(writer, "{}", line.replacen(FIELDS, &format!("{FIELDS}{more}"), 1))
    }
}

/// How the fields of an event begin, in JSON.
const FIELDS: &str = "\"fields\":{";

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
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let tell = TELL.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tell) = tell.as_ref() else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let owner = fields.unsaid();
        if let Some(pipeline) = fields.pipeline.as_deref().or(owner.as_deref()) {
            let level = event.metadata().level().as_str().to_ascii_lowercase();
            tell(pipeline, &level, &format!("{}{}", fields.message, fields.rest));
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

impl Fields {
    /// The pipeline that the task works for, where nothing is said of one.
    fn unsaid(&self) -> Option<Arc<str>> {
        owner::pipeline().filter(|_| self.pipeline.is_none())
    }
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

/// The line of a log that stands where `lines` are missing.
pub(super) fn left_out(lines: u64, json: bool) -> String {
    let text = format!("{} left out here: nobody read standard error", counted(lines, "line"));
    let time = format!("{:.6}", Timestamp::now());
    if json {
        format!("{}\n", serde_json::json!({"timestamp": time, "level": "WARN", "fields": {"message": text}}))
    } else {
        format!("{time}  WARN {text}\n")
    }
}

/// Standard error, one line at a time.
struct Lines(Written);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = self.0.safe(&String::from_utf8_lossy(bytes));
        let mut written = Ok(bytes.len());
        let mut write = || {
            written =
                stderr::write(&line, |lines| left_out(lines, matches!(self.0, Written::Json))).map(|()| bytes.len())
        };
        match AROUND.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(around) => around(&mut write),
            None => write(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    /// What is written of two events, one of which says its pipeline, by a task that works for `p`.
    fn written(json: bool) -> String {
        #[derive(Clone, Default)]
        struct Into(Arc<Mutex<Vec<u8>>>);
        impl Write for Into {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let into = Into::default();
        let to = into.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || to.clone()).with_target(false).without_time();
        let lines: tracing::Dispatch = if json {
            lines.json().map_event_format(Owned).finish().into()
        } else {
            lines.compact().fmt_fields(Owned(DefaultFields::new())).with_ansi(false).finish().into()
        };
        let say = async {
            tracing::warn!(plugin = "x", "slow {}", "today");
            tracing::info!(pipeline = "q", "fine");
        };
        tracing::dispatcher::with_default(&lines, || {
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                owner::work_for("p", say).await;
                tracing::warn!("nobody's");
            });
        });
        let bytes = into.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_line_of_a_pipeline_names_it_once() {
        let text = written(false);
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            [r#"WARN slow today plugin="x" pipeline="p""#, r#"INFO fine pipeline="q""#, "WARN nobody's",]
        );
        let pipelines: Vec<Option<String>> = written(true)
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(line["fields"]["message"].is_string(), "{line}");
                Some(line["fields"]["pipeline"].as_str()?.to_owned())
            })
            .collect();
        assert_eq!(pipelines, [Some("p".into()), Some("q".into()), None]);
    }

    #[test]
    fn a_log_line_misleads_no_terminal() {
        let line = "\u{1b}[33m WARN\u{1b}[0m a\rb \u{202e}c\u{9b}2J\n";
        assert_eq!(Written::Coloured.safe(line), "\u{1b}[33m WARN\u{1b}[0m a\\rb \\u{202e}c\\u{9b}2J\n");
        assert_eq!(Written::Plain.safe("a\u{1b}[2J\n"), "a\\u{1b}[2J\n");
        assert_eq!(Written::Json.safe("{\"a\":\"\u{202e}\"}\n"), "{\"a\":\"\\u202e\"}\n");
    }
}
