//! Who did what: one JSON line for each request. Bodies are never in it, so no secret is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use http::{Request, StatusCode};
use parking_lot::Mutex;
use serde_json::json;

use super::User;
use crate::objects::clock;

/// A file that grows by a line for each request.
pub struct AuditLog {
    file: Mutex<File>,
}

/// A request that is being answered.
pub(super) struct Entry {
    line: serde_json::Value,
    began: Instant,
}

impl AuditLog {
    /// Opens the file, or makes it, for its owner alone.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    pub(super) fn begin<B>(&self, user: &User, request: &Request<B>) -> Entry {
        let line = json!({
            "time": clock::now().to_string(), "user": user.name, "groups": user.groups,
            "method": request.method().as_str(), "uri": request.uri().to_string(),
        });
        Entry { line, began: Instant::now() }
    }

    pub(super) fn end(&self, entry: Entry, status: StatusCode) {
        let Entry { mut line, began } = entry;
        line["code"] = status.as_u16().into();
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        line["latency_ms"] = millis.into();
        if let Err(error) = self.file.lock().write_all(format!("{line}\n").as_bytes()) {
            tracing::error!("a request is missing in the audit log: {error}");
        }
    }
}
