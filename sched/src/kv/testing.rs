//! Stores for tests: one that cannot be reached, one that fails, and an etcd.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use super::*;

/// A store that takes its time to say that it cannot be reached, or what else is wrong.
pub(crate) struct Fake {
    takes: Duration,
    kind: watch::Receiver<Kind>,
}

impl Fake {
    pub(crate) fn refusing(takes: Duration) -> Store {
        let (_, kind) = watch::channel(Kind::Unreachable);
        Arc::new(Self { takes, kind })
    }

    /// Fails at once, in a way that may change.
    pub(crate) fn failing(kind: Kind) -> (Store, watch::Sender<Kind>) {
        let (change, kind) = watch::channel(kind);
        (Arc::new(Self { takes: Duration::ZERO, kind }), change)
    }

    fn fail<T: Send>(&self) -> Answer<'_, T> {
        let failing = async {
            tokio::time::sleep(self.takes).await;
            Err(Error::new(*self.kind.borrow(), "nobody is there"))
        };
        failing.boxed()
    }
}

impl Kv for Fake {
    fn range(&self, _: RangeRequest) -> Answer<'_, RangeResponse> {
        self.fail()
    }

    fn put(&self, _: PutRequest) -> Answer<'_, PutResponse> {
        self.fail()
    }

    fn delete_range(&self, _: DeleteRangeRequest) -> Answer<'_, DeleteRangeResponse> {
        self.fail()
    }

    fn txn(&self, _: TxnRequest) -> Answer<'_, TxnResponse> {
        self.fail()
    }

    fn lease_grant(&self, _: LeaseGrantRequest) -> Answer<'_, LeaseGrantResponse> {
        self.fail()
    }

    fn lease_keep_alive(&self, _: i64) -> Answer<'_, i64> {
        self.fail()
    }

    fn lease_revoke(&self, _: i64) -> Answer<'_, ()> {
        self.fail()
    }

    fn lease_time_to_live(&self, _: LeaseTimeToLiveRequest) -> Answer<'_, LeaseTimeToLiveResponse> {
        self.fail()
    }

    fn watch(&self, _: WatchCreateRequest) -> Answer<'_, Watch> {
        self.fail()
    }
}

/// An etcd of a test's own; it ends with this.
pub(crate) struct Etcd {
    _process: tokio::process::Child,
    _directory: tempfile::TempDir,
}

impl Etcd {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> (Self, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        // Held until the server is about to bind them, so that they differ.
        let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [client, peer] = held.each_ref().map(|socket| {
            format!("http://{}", socket.local_addr().expect("a bound socket has an address"))
        });
        drop(held);
        let process = tokio::process::Command::new("etcd")
            .args(["--logger=zap", "--log-level=error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .arg("--data-dir")
            .arg(directory.path())
            .kill_on_drop(true)
            .spawn()
            .expect("etcd is installed (Debian: etcd-server)");
        let target = tonic::transport::Endpoint::from_shared(client.clone()).expect("a URL");
        let endpoint = grpc::Endpoint::new(client, move || target.connect_lazy());
        let store: Store = Arc::new(grpc::GrpcKv::new(vec![endpoint], None).expect("an endpoint"));
        let mut pause = Pause::default();
        while let Err(error) = store.range(range(b"")).await {
            assert!(pause.failures() < 60, "etcd does not answer: {error}");
            pause.wait().await;
        }
        (Self { _process: process, _directory: directory }, store)
    }
}
