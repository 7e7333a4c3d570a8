//! Where log lines go and what they look like: as etcd's, so that what collects and greps them
//! need not change. One JSON object per line (`level`, `ts`, `caller`, `msg`, then fields), or the
//! same in columns.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogSettings;

/// Installs the log for the rest of the process.
///
/// # Errors
/// One line when a file cannot be opened for appending.
pub fn install(settings: &LogSettings) -> Result<(), String> {
    let outputs = Outputs::open(&settings.outputs)?;
    let layer = tracing_subscriber::fmt::layer()
        .event_format(Lines { console: settings.console })
        .with_writer(outputs);
    let subscriber = tracing_subscriber::registry().with(filter(&settings.level)).with(layer);
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())
}

/// Berth's own lines from the asked level up; libraries only when something is wrong, since etcd's
/// operators did not ask for openraft's or hyper's stories.
fn filter(level: &str) -> Targets {
    let own = match level {
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" => LevelFilter::WARN,
        _ => LevelFilter::ERROR,
    };
    let libraries = if own == LevelFilter::DEBUG { LevelFilter::WARN } else { LevelFilter::ERROR };
    ["berth", "raft", "sched", "store", "watch"]
        .iter()
        .fold(Targets::new().with_default(libraries), |targets, room| {
            targets.with_target(*room, own)
        })
}

/// The shape of a line.
struct Lines {
    console: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = level_name(*event.metadata().level());
        let caller = caller(event);
        if self.console {
            write!(writer, "{time}\t{level}\t{caller}\t{}", fields.message)?;
            if !fields.rest.is_empty() {
                write!(writer, "\t{}", Value::Object(fields.rest))?;
            }
            return writeln!(writer);
        }
        // Written by hand to keep zap's order of keys; serde_json escapes the values.
        write!(writer, "{{\"level\":\"{level}\",\"ts\":\"{time}\",\"caller\":")?;
        write!(writer, "{},\"msg\":{}", Value::from(caller), Value::from(fields.message))?;
        for (key, value) in fields.rest {
            write!(writer, ",{}:{value}", Value::from(key))?;
        }
        writeln!(writer, "}}")
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::TRACE | Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// `room/file.rs:line`, as zap's short caller: the last folder and the file.
fn caller(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let file = metadata.file().unwrap_or("?");
    let short = match file.rmatch_indices('/').nth(1) {
        Some((at, _)) => &file[at + 1..],
        None => file,
    };
    format!("{short}:{}", metadata.line().unwrap_or(0))
}

/// The message and the other fields of an event; underscores become zap's dashes.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name.replace('_', "-"), value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::from(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

/// Every line goes to each of these.
#[derive(Clone)]
struct Outputs(Arc<Vec<Output>>);

enum Output {
    Stderr,
    Stdout,
    File(Mutex<File>),
}

impl Outputs {
    fn open(names: &[String]) -> Result<Self, String> {
        let open = |name: &String| match name.as_str() {
            "stderr" => Ok(Output::Stderr),
            "stdout" => Ok(Output::Stdout),
            path => OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map(|file| Output::File(Mutex::new(file)))
                .map_err(|error| format!("cannot open log output {path}: {error}")),
        };
        let outputs: Result<Vec<Output>, String> = names.iter().map(open).collect();
        Ok(Self(Arc::new(outputs?)))
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Outputs {
    /// Takes the whole line. A full disk or a closed pipe must not stop the store, so a line that
    /// cannot be written is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        for output in self.0.iter() {
            let _lost = match output {
                Output::Stderr => io::stderr().write_all(line),
                Output::Stdout => io::stdout().write_all(line),
                Output::File(file) => match file.lock() {
                    Ok(mut file) => file.write_all(line),
                    Err(_) => Ok(()),
                },
            };
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(console: bool, level: &str, emit: impl FnOnce()) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log").to_str().unwrap().to_owned();
        let outputs = Outputs::open(std::slice::from_ref(&path)).unwrap();
        let layer =
            tracing_subscriber::fmt::layer().event_format(Lines { console }).with_writer(outputs);
        let subscriber = tracing_subscriber::registry().with(filter(level)).with(layer);
        tracing::subscriber::with_default(subscriber, emit);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_json_line_has_zaps_keys() {
        // Shows key order, escaping and field types of the default format.
        let text = logged(false, "info", || {
            tracing::info!(member_id = "8e9e", count = 3, "ready \"now\"");
            tracing::debug!("not written");
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "ready \"now\"");
        assert_eq!((&line["member-id"], &line["count"]), (&"8e9e".into(), &3.into()));
        assert!(line["caller"].as_str().unwrap().starts_with("src/log.rs:"));
        assert!(text.starts_with("{\"level\":\"info\",\"ts\":\""), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_console_line_has_columns() {
        // Shows the other format, and that the level cuts off what is less severe.
        let text = logged(true, "error", || {
            tracing::error!(code = 7, "broken");
            tracing::warn!("not written");
        });
        let columns: Vec<&str> = text.trim_end().split('\t').collect();
        assert_eq!((columns[1], columns[3], columns[4]), ("error", "broken", "{\"code\":7}"));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        // Shows that the server is told before it starts.
        assert!(Outputs::open(&["/none/x.log".to_owned()]).is_err());
    }
}
