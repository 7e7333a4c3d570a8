//! The header of answers.

use api::etcdserverpb::ResponseHeader;

use super::Context;

impl Context {
    /// Adds what the state machine does not know: ids and term. The revision stays if the header
    /// has one, and is the present one otherwise, as etcd fills it.
    pub fn fill(&self, header: &mut Option<ResponseHeader>) {
        let header = header.get_or_insert_default();
        self.fill_without_revision(header);
        if header.revision == 0 {
            header.revision = self.node().reader().revision();
        }
    }

    /// The same for answers whose revision, 0 included, means something.
    pub fn fill_without_revision(&self, header: &mut ResponseHeader) {
        header.cluster_id = self.cluster_id();
        header.member_id = self.member_id();
        header.raft_term = self.node().term();
    }

    /// A header at the present revision.
    pub fn header(&self) -> Option<ResponseHeader> {
        let mut header = None;
        self.fill(&mut header);
        header
    }
}
