//! Printing of answers in the four formats. One file per format; [`Printer`] chooses.
//!
//! Only answers are printed here, never errors, and always to standard output.

pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod simple;
pub(crate) mod table;

use api::etcdserverpb::ResponseHeader;
use serde_json::Value;

use super::args::Format;
use super::failure::{Failure, Outcome};

/// The chosen output format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    pub(super) format: Format,
    pub(super) hex: bool,
}

impl Printer {
    pub(super) fn new(format: Format, hex: bool) -> Self {
        Self { format, hex }
    }

    /// Prints an answer that has a form in three formats; `table` is refused as etcdctl does.
    pub(super) fn print(
        self,
        simple: impl FnOnce(),
        fields: impl FnOnce(),
        json: impl FnOnce() -> Value,
    ) -> Outcome {
        match self.format {
            Format::Simple => simple(),
            Format::Fields => fields(),
            Format::Json => json::print(&json()),
            Format::Table => return Err(unsupported(self.format)),
        }
        Ok(())
    }

    /// Prints an answer that is a header and nothing more: `simple` is a sentence about it.
    pub(super) fn done(self, simple: &str, header: Option<&ResponseHeader>) -> Outcome {
        self.print(
            || println!("{simple}"),
            || fields::header(header),
            || json::object([("header", json::header(header))]),
        )
    }
}

/// The refusal of an answer that has no such form.
pub(super) fn unsupported(format: Format) -> Failure {
    let format = format!("{format:?}").to_lowercase();
    Failure::bad_feature(format!("{format} not supported as output format"))
}
