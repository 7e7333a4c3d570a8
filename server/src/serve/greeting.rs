//! What a person sees who just typed `berth`.

use crate::config::{Settings, join_urls};

/// `beside`: what else runs in the server.
pub(super) fn text(settings: &Settings, beside: Option<&str>) -> String {
    format!(
        "berth {} serves etcd's v3 API on {}; its data is in {}.\n\
         Try, in another terminal:\n  \
           berth ctl put greeting hello\n  \
           berth ctl get greeting\n  \
           berth ctl watch greeting\n\
         Any etcd client does as well.\n\
         {}Ctrl-C stops the server.",
        crate::VERSION,
        join_urls(&settings.addresses.listen_client),
        settings.data_dir.display(),
        beside.unwrap_or_default(),
    )
}
