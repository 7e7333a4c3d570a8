//! The file: `profile.proto` of google/pprof, as far as a CPU profile needs it.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use pprof::{Frames, Report, Symbol};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    /// The first is empty; all other texts of the file are places in it.
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    /// Nanoseconds between two samples.
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    /// What was inlined there, the innermost first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// The file of a report.
pub(super) fn encode(report: &Report) -> Vec<u8> {
    let mut file = File::default();
    file.text(String::new());
    let period = 1_000_000_000 / i64::from(report.timing.frequency.max(1));
    let samples = ValueType { kind: file.text("samples".into()), unit: file.text("count".into()) };
    let time = ValueType { kind: file.text("cpu".into()), unit: file.text("nanoseconds".into()) };
    for (frames, count) in &report.data {
        file.sample(frames, i64::try_from(*count).unwrap_or(i64::MAX), period);
    }
    let nanos = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let start = report.timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let profile = Profile {
        sample_type: vec![samples, time],
        time_nanos: nanos(start),
        duration_nanos: nanos(report.timing.duration),
        period_type: Some(time),
        period,
        ..file.profile
    };
    profile.encode_to_vec()
}

/// A file as it grows.
#[derive(Default)]
struct File {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<(String, String), u64>,
    locations: HashMap<Vec<At>, u64>,
}

/// A place in the source: function and line.
type At = (u64, i64);

impl File {
    fn text(&mut self, text: String) -> i64 {
        if let Some(place) = self.texts.get(&text) {
            return *place;
        }
        let place = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.profile.string_table.push(text.clone());
        self.texts.insert(text, place);
        place
    }

    fn sample(&mut self, frames: &Frames, count: i64, period: i64) {
        let location_id = frames.frames.iter().map(|symbols| self.location(symbols)).collect();
        let thread =
            Label { key: self.text("thread".into()), str: self.text(frames.thread_name_or_id()) };
        let value = vec![count, count.saturating_mul(period)];
        self.profile.sample.push(Sample { location_id, value, label: vec![thread] });
    }

    fn location(&mut self, symbols: &[Symbol]) -> u64 {
        let lines: Vec<At> = symbols
            .iter()
            .map(|symbol| (self.function(symbol), i64::from(symbol.lineno())))
            .collect();
        let id = self.locations.len() as u64 + 1;
        if let Some(known) = self.locations.get(&lines) {
            return *known;
        }
        let line =
            lines.iter().map(|(function_id, line)| Line { function_id: *function_id, line: *line });
        self.profile.location.push(Location { id, line: line.collect() });
        self.locations.insert(lines, id);
        id
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let key = (symbol.sys_name().into_owned(), symbol.filename().into_owned());
        if let Some(known) = self.functions.get(&key) {
            return *known;
        }
        let id = self.functions.len() as u64 + 1;
        let function = Function {
            id,
            name: self.text(symbol.name()),
            system_name: self.text(key.0.clone()),
            filename: self.text(key.1.clone()),
        };
        self.profile.function.push(function);
        self.functions.insert(key, id);
        id
    }
}
