//! Keys of the orchestrator's own that are no objects. The API serves none of them: only who has
//! access to the store reads or writes them.

use serde_json::{Value, json};

use super::REGISTRY;

/// The key that every binding to a node writes, so that no two schedulers fill the same room.
pub fn allocation(node: &str) -> String {
    format!("{REGISTRY}/berth/allocations/{node}")
}

/// The key of what the agent of a node says of itself: an [`AgentNote`].
pub fn agent(node: &str) -> String {
    format!("{REGISTRY}/berth/agents/{node}")
}

/// The prefix of the claims of ranges of pods' addresses: a number follows.
pub fn pod_ranges() -> String {
    format!("{REGISTRY}/berth/podcidrs/")
}

/// Where the agent of a node serves logs and commands, and what must be shown there.
///
/// The address is the agent's own word. The node's object says it too, but whoever may write a
/// node's status could have the token sent anywhere by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentNote {
    /// `IP:PORT`.
    pub address: String,
    pub token: String,
}

impl AgentNote {
    pub fn to_bytes(&self) -> Vec<u8> {
        json!({"address": self.address, "token": self.token}).to_string().into_bytes()
    }

    /// `None`: it does not say both.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text =
            |field: &str| value[field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self { address: text("address")?, token: text("token")? })
    }
}
