//! make-mirror: copies keys to another cluster and follows, as etcdctl does. Nothing remembers how
//! far it came: started again, it copies everything again. `berth mirror` goes on where it was.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::etcdserverpb::kv_client::KvClient;
use api::etcdserverpb::request_op::Request;
use api::etcdserverpb::watch_request::RequestUnion;
use api::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest,
};
use api::mvccpb::Event;
use api::mvccpb::event::EventType;
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, stream};

use super::args::Global;
use super::connect::{Connection, Session};
use super::failure::{Failure, Outcome};
use super::range;
use crate::serve::signals::Signals;

/// Keys read at a time.
const PAGE_KEYS: i64 = 1000;
/// Writes that are under way while everything is copied.
const PUTS_AT_ONCE: usize = 32;
/// How often the count of copied keys is printed.
const REPORT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct MakeMirror {
    /// endpoint of the cluster to copy to
    #[arg(value_name = "destination")]
    destination: Vec<String>,
    /// Key-value prefix to mirror
    #[arg(long, default_value = "")]
    prefix: OsString,
    /// Destination prefix to mirror a prefix to a different prefix in the destination cluster
    #[arg(long, default_value = "")]
    dest_prefix: OsString,
    /// Mirror key-values to the root of the destination cluster
    #[arg(long)]
    no_dest_prefix: bool,
    /// Specify the kv revision to start to mirror
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Maximum number of operations permitted in a transaction during syncing updates
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    max_txn_ops: u32,
    /// Destination username[:password] for authentication
    #[arg(long)]
    dest_user: Option<String>,
    /// Destination password for authentication (then --dest-user holds the name alone)
    #[arg(long)]
    dest_password: Option<String>,
    /// Verify certificates of TLS enabled secure servers using this CA bundle
    #[arg(long)]
    dest_cacert: Option<PathBuf>,
    /// Identify secure client using this TLS certificate file for the destination cluster
    #[arg(long)]
    dest_cert: Option<PathBuf>,
    /// Identify secure client using this TLS key file
    #[arg(long)]
    dest_key: Option<PathBuf>,
    /// Disable transport security for client connections
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    dest_insecure_transport: bool,
}

pub(super) async fn make_mirror(flags: MakeMirror, global: &Global, session: &Session) -> Outcome {
    let [destination] = flags.destination.as_slice() else {
        return Err(Failure::bad_args("make-mirror takes one destination argument"));
    };
    if flags.no_dest_prefix && !flags.dest_prefix.is_empty() {
        return Err(Failure::bad_args(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ));
    }
    let there = Session::new(Global {
        endpoints: vec![destination.clone()],
        user: flags.dest_user.clone(),
        password: flags.dest_password.clone(),
        cacert: flags.dest_cacert.clone(),
        cert: flags.dest_cert.clone(),
        key: flags.dest_key.clone(),
        insecure_skip_tls_verify: false,
        insecure_transport: flags.dest_insecure_transport,
        ..global.clone()
    })?;
    let copied = AtomicU64::new(0);
    let copy = Copy {
        there: there.kv().await?,
        from: Bytes::from(flags.prefix.clone().into_vec()),
        to: flags.to(),
        ops_max: flags.max_txn_ops as usize,
        copied: &copied,
    };
    let mut signals = Signals::install().map_err(Failure::error)?;
    tokio::select! {
        outcome = copy.run(session, flags.rev) => outcome,
        never = report(&copied) => match never {},
        () = signals.next() => Ok(()),
    }
}

impl MakeMirror {
    /// What stands in the place of the prefix.
    fn to(&self) -> Bytes {
        if self.no_dest_prefix {
            return Bytes::new();
        }
        let chosen = if self.dest_prefix.is_empty() { &self.prefix } else { &self.dest_prefix };
        Bytes::from(chosen.clone().into_vec())
    }
}

async fn report(copied: &AtomicU64) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(REPORT).await;
        println!("{}", copied.load(Ordering::Relaxed));
    }
}

struct Copy<'a> {
    there: KvClient<Connection>,
    from: Bytes,
    to: Bytes,
    ops_max: usize,
    copied: &'a AtomicU64,
}

impl Copy<'_> {
    async fn run(mut self, session: &Session, rev: i64) -> Outcome {
        let next = if rev > 0 { rev } else { self.copy_all(session).await? + 1 };
        self.follow(session, next).await
    }

    /// Copies what there is, and returns the revision that it was all read at.
    async fn copy_all(&mut self, session: &Session) -> Result<i64, Failure> {
        let mut here = session.kv().await?;
        let (key, range_end) = range::prefix(self.from.clone());
        let mut page = RangeRequest { key, range_end, limit: PAGE_KEYS, ..RangeRequest::default() };
        loop {
            let found = here.range(page.clone()).await?.into_inner();
            if page.revision == 0 {
                page.revision = found.header.as_ref().map_or(0, |header| header.revision);
            }
            let last = found.kvs.last().map(|kv| kv.key.clone());
            let puts = found.kvs.into_iter().map(|kv| {
                let (key, value, mut there) = (self.renamed(&kv.key), kv.value, self.there.clone());
                async move { there.put(PutRequest { key, value, ..Default::default() }).await }
            });
            // Each is another key: their order is of no account.
            let mut puts = stream::iter(puts).buffer_unordered(PUTS_AT_ONCE);
            while let Some(done) = puts.next().await {
                done?;
                self.copied.fetch_add(1, Ordering::Relaxed);
            }
            drop(puts);
            match last.filter(|_| found.more) {
                // The next key that there can be.
                Some(last) => page.key = [&last[..], &[0]].concat().into(),
                None => return Ok(page.revision),
            }
        }
    }

    /// Copies every change from revision `next` on, until something goes wrong.
    async fn follow(&mut self, session: &Session, next: i64) -> Outcome {
        let (key, range_end) = range::prefix(self.from.clone());
        let create =
            WatchCreateRequest { key, range_end, start_revision: next, ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        // Held open: the end of the requests would be the end of the watch.
        let requests = stream::once(async { create }).chain(stream::pending());
        let mut answers = session.watch().await?.watch(requests).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if answer.compact_revision != 0 {
                return Err(Failure::error(
                    "etcdserver: mvcc: required revision has been compacted",
                ));
            }
            if answer.canceled {
                return Err(Failure::error(answer.cancel_reason));
            }
            for events in answer.events.chunk_by(|a, b| revision(a) == revision(b)) {
                self.apply(events).await?;
            }
        }
        Err(Failure::error("the watch was closed by the server"))
    }

    /// What one revision did, in one transaction if it fits.
    async fn apply(&mut self, events: &[Event]) -> Outcome {
        for events in events.chunks(self.ops_max) {
            let success = events.iter().filter_map(|event| self.operation(event)).collect();
            self.there.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
            self.copied.fetch_add(events.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn operation(&self, event: &Event) -> Option<RequestOp> {
        let kv = event.kv.as_ref()?;
        let key = self.renamed(&kv.key);
        let request = match event.r#type() {
            EventType::Put => {
                let value = kv.value.clone();
                Request::RequestPut(PutRequest { key, value, ..PutRequest::default() })
            }
            EventType::Delete => {
                let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
                Request::RequestDeleteRange(delete)
            }
        };
        Some(RequestOp { request: Some(request) })
    }

    fn renamed(&self, key: &Bytes) -> Bytes {
        match key.strip_prefix(&self.from[..]) {
            Some(rest) if self.from != self.to => [&self.to[..], rest].concat().into(),
            _ => key.clone(),
        }
    }
}

fn revision(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}
