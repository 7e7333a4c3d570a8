//! What people read of a pod in `kubectl describe`, beside its status.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::objects::events::{Recorder, Severity, reference};

/// Records events about one pod, without anybody waiting for it.
#[derive(Clone)]
pub(in crate::agent) struct Events {
    recorder: Arc<Recorder>,
    about: ObjectReference,
}

impl Events {
    pub(in crate::agent) fn new(recorder: Arc<Recorder>, pod: &Pod) -> Self {
        // Of another revision it is about the same pod, and counts up.
        let about = ObjectReference { resource_version: None, ..reference(pod) };
        Self { recorder, about }
    }

    pub(in crate::agent) fn normal(&self, container: &str, reason: &'static str, message: String) {
        self.record(container, Severity::Normal, reason, message);
    }

    pub(in crate::agent) fn warning(&self, container: &str, reason: &'static str, message: String) {
        self.record(container, Severity::Warning, reason, message);
    }

    /// `container`: empty if it is about the whole pod.
    fn record(&self, container: &str, severity: Severity, reason: &'static str, message: String) {
        let mut about = self.about.clone();
        if !container.is_empty() {
            about.field_path = Some(format!("spec.containers{{{container}}}"));
        }
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            recorder.record(&about, severity, reason, &message).await;
        });
    }
}
