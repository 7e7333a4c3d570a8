//! Events: what happened to an object, for people (`kubectl describe`).

use std::time::Duration;

use api::etcdserverpb::{LeaseGrantRequest, RequestOp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::documents::{Beside, put_new};
use super::typed::{Kind, Stored, resource, value};
use super::{ErrorKind, Objects, Result, clock};

/// Events are kept this long.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Events of so much time share one lease.
const SHARED: Duration = Duration::from_secs(10 * 60);
/// How often an event is counted up anew because somebody else was faster.
const TRIES_MAX: u32 = 4;

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of one component.
pub struct Recorder {
    objects: Objects,
    component: String,
    host: Option<String>,
    /// The lease that new events hang on, and when it was taken.
    lease: Mutex<Option<(i64, Instant)>>,
}

/// What an event is about.
pub fn reference<T: Kind>(object: &T) -> ObjectReference {
    let metadata = object.metadata();
    ObjectReference {
        api_version: Some(T::API_VERSION.to_owned()),
        kind: Some(T::KIND.to_owned()),
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        resource_version: metadata.resource_version.clone(),
        uid: metadata.uid.clone(),
        field_path: None,
    }
}

impl Recorder {
    /// `component`: `deployment-controller`, say; `host`: the node, for an agent.
    pub fn new(objects: Objects, component: &str, host: Option<&str>) -> Self {
        let host = host.map(str::to_owned);
        Self { objects, component: component.to_owned(), host, lease: Mutex::new(None) }
    }

    /// Records that something happened to an object, or that it happened once more: the same
    /// reason and message count up. An event is never worth an error: what fails is logged.
    pub async fn record(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        if let Err(error) = self.try_record(about, severity, reason, message).await {
            tracing::warn!(reason, "an event is lost: {error}");
        }
    }

    /// The write of a new event, to go along in somebody's transaction.
    ///
    /// # Errors
    /// The store gives no lease.
    pub async fn beside(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) -> Result<RequestOp> {
        let event = self.event(about, severity, reason, message);
        let lease = self.lease().await?;
        put_new(resource::<Event>()?, value(&event)?, lease)
    }

    /// The lease that events hang on is gone: the next one takes a new one.
    pub async fn forget_lease(&self) {
        *self.lease.lock().await = None;
    }

    async fn try_record(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) -> Result<()> {
        let event = self.event(about, severity, reason, message);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let name = event.metadata.name.clone().unwrap_or_default();
        for _ in 0..TRIES_MAX {
            // Most are new: whether one is there is asked only when it turns out to be.
            let outcome = match self.create(&event).await {
                Err(error) if error.kind == ErrorKind::AlreadyExists => {
                    match self.objects.get::<Event>(Some(&namespace), &name).await? {
                        Some(found) => self.count_up(&found).await,
                        None => continue,
                    }
                }
                outcome => outcome,
            };
            match outcome {
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) if error.kind == ErrorKind::Store(crate::kv::Kind::NoLease) => {
                    *self.lease.lock().await = None;
                }
                outcome => return outcome,
            }
        }
        Ok(())
    }

    async fn count_up(&self, found: &Stored<Event>) -> Result<()> {
        let change = |event: &mut Event| {
            event.count = Some(event.count.unwrap_or(1).saturating_add(1));
            event.last_timestamp = Some(clock::time());
        };
        let beside = Beside { lease: self.lease().await?, ..Beside::default() };
        self.objects.update_with(found, change, &beside).await.map(|_| ())
    }

    async fn create(&self, event: &Event) -> Result<()> {
        let beside = Beside { lease: self.lease().await?, ..Beside::default() };
        self.objects.create_beside(resource::<Event>()?, value(event)?, &beside).await.map(|_| ())
    }

    /// A lease that is young enough for a new event.
    async fn lease(&self) -> Result<i64> {
        let mut lease = self.lease.lock().await;
        if let Some((id, taken)) = *lease
            && taken.elapsed() < SHARED
        {
            return Ok(id);
        }
        let ttl_s = i64::try_from((KEPT + SHARED).as_secs()).unwrap_or(i64::MAX);
        let taken = Instant::now();
        let granted =
            self.objects.store().lease_grant(LeaseGrantRequest { ttl: ttl_s, id: 0 }).await?;
        *lease = Some((granted.id, taken));
        Ok(granted.id)
    }

    fn event(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) -> Event {
        let now = clock::time();
        Event {
            metadata: ObjectMeta {
                name: Some(self.name(about, reason, message)),
                // Events of what has no namespace are looked for here.
                namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".into())),
                ..ObjectMeta::default()
            },
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            involved_object: about.clone(),
            message: Some(message.to_owned()),
            reason: Some(reason.to_owned()),
            reporting_component: Some(self.component.clone()),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: self.host.clone(),
            }),
            type_: Some(severity.name().to_owned()),
            ..Event::default()
        }
    }

    /// The same for what is the same.
    fn name(&self, about: &ObjectReference, reason: &str, message: &str) -> String {
        let uid = about.uid.as_deref().unwrap_or_default();
        let same = [uid, reason, message, &self.component, self.host.as_deref().unwrap_or("")];
        let digest = Sha256::digest(same.join("\n"));
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{hex}", about.name.as_deref().unwrap_or("unknown"))
    }
}
