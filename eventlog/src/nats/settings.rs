//! How a JetStream stream must be set up so that our promises hold, and what is otherwise in the one
//! that is there.

use serde_json::{Map, Value, json};

use crate::nats::Options;
use crate::nats::names::Names;
use crate::stream::Log;

/// How long JetStream knows the ids of messages. It reads them all again at each start, and it may not
/// be longer than messages are kept.
const DUPLICATE_WINDOW_SECONDS: u64 = 120;

/// What an operator may choose: it touches no promise.
const FREE: [&str; 4] = ["description", "metadata", "placement", "compression"];

/// Returns the configuration that a log needs, as JetStream spells it. What is not named must be off.
pub(super) fn needed(names: &Names, options: &Options) -> Value {
    let (discard, max_age, max_bytes) = match names.log {
        Log::Ledger => ("new", 0, -1),
        Log::Market => (
            "old",
            u64::try_from(options.market_age.as_nanos()).unwrap_or(u64::MAX),
            i64::try_from(options.market_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(-1),
        ),
    };
    let window = DUPLICATE_WINDOW_SECONDS * 1_000_000_000;
    json!({
        "name": names.stream,
        "subjects": [names.all()],
        "retention": "limits",
        "storage": "file",
        "num_replicas": options.replicas,
        "discard": discard,
        "max_age": max_age,
        "max_bytes": max_bytes,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "duplicate_window": if max_age == 0 { window } else { window.min(max_age) },
        "deny_delete": true,
        "deny_purge": true,
        "allow_direct": true,
    })
}

/// Says where a configuration is otherwise than needed: the field, what it is, what it must be.
pub(super) fn drift(needed: &Value, found: &Value) -> Vec<String> {
    let none = Map::new();
    let (needed, found) = (needed.as_object().unwrap_or(&none), found.as_object().unwrap_or(&none));
    let others = found.keys().filter(|field| !needed.contains_key(*field));
    let fields = needed.keys().chain(others).filter(|field| !FREE.contains(&field.as_str()));
    fields.filter_map(|field| differs(field, needed.get(field), found.get(field))).collect()
}

fn differs(field: &str, needed: Option<&Value>, found: Option<&Value>) -> Option<String> {
    // A server tells some settings also when they are off, and others not.
    let is_off = |value: Option<&Value>| match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) => {
            text.is_empty() || (field, &**text) == ("persist_mode", "default")
        }
        Some(Value::Array(values)) => values.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Bool(true)) => false,
    };
    if needed == found || (is_off(needed) && is_off(found)) {
        return None;
    }
    let told = |value: Option<&Value>| value.map_or_else(|| "off".to_owned(), Value::to_string);
    Some(format!("{field} is {} and must be {}", told(found), told(needed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(log: Log) -> Value {
        needed(&Names::new("entasis", log).unwrap(), &Options::default())
    }

    #[test]
    fn what_is_as_needed_or_off_or_free_is_no_drift() {
        for log in [Log::Ledger, Log::Market] {
            let mut found = of(log);
            for (field, value) in [
                ("sealed", json!(false)),
                ("consumer_limits", json!({})),
                ("persist_mode", json!("default")),
                ("compression", json!("s2")),
                ("metadata", json!({ "_nats.req.level": "0" })),
            ] {
                found[field] = value;
            }
            assert_eq!(drift(&of(log), &found), Vec::<String>::new());
        }
    }

    #[test]
    fn each_field_that_is_otherwise_is_named_with_what_it_is_and_must_be() {
        for (field, value, told) in [
            ("discard", json!("old"), "discard is \"old\" and must be \"new\""),
            ("max_age", json!(5), "max_age is 5 and must be 0"),
            ("max_msgs_per_subject", json!(1), "max_msgs_per_subject is 1 and must be -1"),
            ("deny_delete", json!(false), "deny_delete is false and must be true"),
            ("deny_purge", Value::Null, "deny_purge is null and must be true"),
            ("allow_rollup_hdrs", json!(true), "allow_rollup_hdrs is true and must be off"),
            ("allow_msg_ttl", json!(true), "allow_msg_ttl is true and must be off"),
            ("persist_mode", json!("async"), "persist_mode is \"async\" and must be off"),
            ("storage", json!("memory"), "storage is \"memory\" and must be \"file\""),
            ("num_replicas", json!(3), "num_replicas is 3 and must be 1"),
            ("what_comes_later", json!("on"), "what_comes_later is \"on\" and must be off"),
        ] {
            let mut found = of(Log::Ledger);
            found[field] = value;

            assert_eq!(drift(&of(Log::Ledger), &found), [told]);
        }
    }
}
