//! Messages from and to JSON, as etcd writes it: names of the `.proto` files, bytes in base64, 64-bit
//! numbers as text, enums by name, defaults left out.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;

/// Values in one message: each takes some 70 bytes of memory, however short it is.
const VALUES_MAX: usize = 1 << 18;

/// The encoded message that the first JSON value of `text` stands for; one without fields if there
/// is none. Fields that the message does not have are dropped.
///
/// # Errors
/// For people: not JSON, or not of this message.
pub(super) fn decode(message: &MessageDescriptor, text: &[u8]) -> Result<Bytes, String> {
    // Most of them stand behind a comma; a comma inside of a text counts as well.
    let values = text.iter().filter(|byte| **byte == b',').count();
    if values > VALUES_MAX {
        return Err(format!("more than {VALUES_MAX} values in one message"));
    }
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let value = match values.next() {
        None | Some(Ok(Value::Null)) => return Ok(Bytes::new()),
        Some(value) => value.map_err(|error| error.to_string())?,
    };
    check_enums(message, &value)?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(message.clone(), value, &options)
        .map(|message| message.encode_to_vec().into())
        .map_err(|error| error.to_string())
}

/// Appends the JSON of an encoded message to `out`.
///
/// # Errors
/// It is no such message.
pub(super) fn encode(
    message: &MessageDescriptor,
    encoded: Bytes,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let options = SerializeOptions::new().use_proto_field_name(true);
    let message = DynamicMessage::decode(message.clone(), encoded);
    message
        .map_err(|error| error.to_string())?
        .serialize_with_options(&mut serde_json::Serializer::new(out), &options)
        .map_err(|error| error.to_string())
}

/// A name that an enum does not have must not pass for a field that is not there: the call would
/// mean something else.
fn check_enums(message: &MessageDescriptor, value: &Value) -> Result<(), String> {
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, value) in fields {
        let by_json = || message.get_field_by_json_name(name);
        let Some(field) = message.get_field_by_name(name).or_else(by_json) else { continue };
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match field.kind() {
                Kind::Enum(kind) => check_enum(&kind, value)?,
                Kind::Message(inner) => check_enums(&inner, value)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_enum(kind: &EnumDescriptor, value: &Value) -> Result<(), String> {
    match value {
        Value::String(name) if kind.get_value_by_name(name).is_none() => {
            Err(format!("unknown value {name:?} for enum {}", kind.full_name()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{RangeRequest, range_request::SortOrder};
    use prost::Message;

    use super::super::table::Table;
    use super::*;

    fn range(text: &str) -> Result<RangeRequest, String> {
        let table = Table::new();
        let encoded = decode(&table.method("/v3/kv/range").unwrap().input, text.as_bytes())?;
        Ok(RangeRequest::decode(encoded).unwrap())
    }

    #[test]
    fn what_etcd_takes_is_taken() {
        // Shows both spellings of names, numbers as text or not, enums by name or number, what is
        // not known, null, and what follows the first value.
        let expected = RangeRequest {
            key: b"foo".as_slice().into(),
            limit: 7,
            keys_only: true,
            sort_order: SortOrder::Descend as i32,
            ..Default::default()
        };
        for text in [
            r#"{"key":"Zm9v","limit":"7","keys_only":true,"sort_order":"DESCEND"}"#,
            r#"{"key":"Zm9v","limit":7,"keysOnly":true,"sortOrder":2} {"#,
            r#"{"key":"Zm9v","limit":7,"keys_only":true,"sort_order":2,"else":{"a":[1]},"revision":null}"#,
        ] {
            assert_eq!(range(text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(range(""), Ok(RangeRequest::default()));
        assert_eq!(range("null"), Ok(RangeRequest::default()));
    }

    #[test]
    fn what_etcd_refuses_is_refused() {
        // Shows wrong JSON, types, base64, ranges, and names of enums.
        for text in [
            "{",
            "[]",
            "5",
            "{bad",
            r#"{"key":5}"#,
            r#"{"key":"!!"}"#,
            r#"{"limit":1.5}"#,
            r#"{"limit":"x"}"#,
            r#"{"limit":99999999999999999999}"#,
            r#"{"keys_only":"true"}"#,
            r#"{"sort_order":"nope"}"#,
        ] {
            assert!(range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_message_of_very_many_values_is_refused_before_it_is_read() {
        // Shows the bound, which keeps what is in memory in proportion to what came.
        let table = Table::new();
        let method = table.method("/v3/kv/range").unwrap();
        let many = |count: usize| format!("{{\"x\":[{}0]}}", "0,".repeat(count));
        assert!(decode(&method.input, many(VALUES_MAX).as_bytes()).is_ok());
        let refused = decode(&method.input, many(VALUES_MAX + 1).as_bytes()).unwrap_err();
        assert!(refused.contains("values"), "{refused}");
    }
}
