//! What the Watch service asks of the rest: who may watch what, and what headers say.

use api::etcdserverpb::{ResponseHeader, WatchCreateRequest};
use store::Access;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::Context;
use super::errors::Error;
use super::watch::Gate;

impl Gate for Context {
    /// `hasleader` was judged by the gate before all services.
    fn admit(&self, _: &MetadataMap) -> Result<(), Status> {
        Ok(())
    }

    fn permit(&self, metadata: &MetadataMap, request: &WatchCreateRequest) -> Result<(), Status> {
        let principal = self.authenticate(metadata)?;
        // As the hub takes them: no key means the first one.
        let key: &[u8] = if request.key.is_empty() { b"\0" } else { &request.key };
        let auth = self.node().reader().auth();
        auth.check_range(principal.as_ref(), key, &request.range_end, Access::Read)
            .map_err(|error| Error::from(error).into())
    }

    fn fill(&self, header: &mut ResponseHeader) {
        self.fill_without_revision(header);
    }

    fn sent(&self, events: usize) {
        self.metrics().sent_events(events);
    }
}
