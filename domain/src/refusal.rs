//! Facts about what was asked for and refused: beside the account's stream, never in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum RefusalEvent {
    /// Somebody asked for this, and a rule said no. Nothing else happened.
    #[serde(rename = "command_refused.v1")]
    CommandRefused {
        /// The command in its canonical form, a JSON text.
        command: String,
        /// As the client was told: `PORT_001`.
        code: String,
        reason: String,
        /// The figures behind the reason, by name.
        arithmetic: BTreeMap<String, String>,
    },
}
