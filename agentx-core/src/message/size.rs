use serde_json::Value;

/// The bytes of a value as JSON, roughly: what would be escaped counts as it is. Nothing is written for it, so that a
/// large value is looked at and not copied.
pub(crate) fn json_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(values) => 2 + values.iter().map(|value| json_size(value) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields.iter().map(|(name, value)| name.len() + json_size(value) + 4).sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_about_what_would_be_written() {
        for value in [
            json!({}),
            json!([]),
            json!({"path": "src/main.rs", "limit": 12_345_678, "all": true, "none": null}),
            json!([["a", "b"], {"c": {"d": ["e".repeat(10_000)]}}]),
        ] {
            let written = value.to_string().len();
            assert!(json_size(&value).abs_diff(written) <= 2 + written / 10, "{value}");
        }
    }
}
