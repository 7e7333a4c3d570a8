//! Who did what: one JSON line for each request. Bodies are never in it, so no secret is.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
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

/// Of a request whose client went away before its answer: it may have been carried out.
const GONE: u16 = 499;

/// A request that is being answered. Its line is written when this is dropped.
pub(super) struct Entry {
    log: Arc<AuditLog>,
    line: serde_json::Value,
    began: Instant,
}

impl Entry {
    pub(super) fn end(mut self, status: StatusCode) {
        self.line["code"] = status.as_u16().into();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.line["latency_ms"] = millis.into();
        let line = format!("{}\n", self.line);
        if let Err(error) = self.log.file.lock().write_all(line.as_bytes()) {
            tracing::error!("a request is missing in the audit log: {error}");
        }
    }
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

    pub(super) fn begin<B>(self: &Arc<Self>, user: &User, request: &Request<B>) -> Entry {
        let line = json!({
            "time": clock::now().to_string(), "user": user.name, "groups": user.groups,
            "method": request.method().as_str(), "uri": request.uri().to_string(), "code": GONE,
        });
        Entry { log: self.clone(), line, began: Instant::now() }
    }
}
