//! Taints of nodes, and the tolerations that pods have of them.

use k8s_openapi::api::core::v1 as core;

pub const CORDONED: &str = "node.kubernetes.io/unschedulable";
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// What keeps pods away from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl Taint {
    /// `None`: an effect that nobody knows.
    pub fn new(taint: &core::Taint) -> Option<Self> {
        let effect = match taint.effect.as_str() {
            "NoSchedule" => Effect::NoSchedule,
            "PreferNoSchedule" => Effect::PreferNoSchedule,
            "NoExecute" => Effect::NoExecute,
            _ => return None,
        };
        let value = taint.value.clone().unwrap_or_default();
        Some(Self { key: taint.key.clone(), value, effect })
    }

    pub fn no_schedule(key: &str) -> Self {
        Self { key: key.to_owned(), value: String::new(), effect: Effect::NoSchedule }
    }

    fn name(&self) -> &'static str {
        match self.effect {
            Effect::NoSchedule => "NoSchedule",
            Effect::PreferNoSchedule => "PreferNoSchedule",
            Effect::NoExecute => "NoExecute",
        }
    }
}

/// A taint that a pod bears.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// Empty: any, if it exists.
    key: String,
    value: Option<String>,
    /// Empty: any.
    effect: String,
}

impl Toleration {
    pub fn new(toleration: &core::Toleration) -> Self {
        let is_exists = toleration.operator.as_deref() == Some("Exists");
        let value = toleration.value.clone().unwrap_or_default();
        Self {
            key: toleration.key.clone().unwrap_or_default(),
            value: (!is_exists).then_some(value),
            effect: toleration.effect.clone().unwrap_or_default(),
        }
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        let is_effect = self.effect.is_empty() || self.effect == taint.name();
        // Any key is tolerated by `Exists` alone.
        let is_key = self.key == taint.key || (self.key.is_empty() && self.value.is_none());
        let is_value = self.value.as_ref().is_none_or(|value| *value == taint.value);
        is_effect && is_key && is_value
    }
}

pub fn is_tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(taint))
}

/// The first taint that keeps such a pod away.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    let mut hard = taints.iter().filter(|taint| taint.effect != Effect::PreferNoSchedule);
    hard.find(|taint| !is_tolerated(taint, tolerations))
}

/// How many taints ask that such a pod stay away if it can.
pub fn dissuading(taints: &[Taint], tolerations: &[Toleration]) -> usize {
    let soft = taints.iter().filter(|taint| taint.effect == Effect::PreferNoSchedule);
    soft.filter(|taint| !is_tolerated(taint, tolerations)).count()
}
