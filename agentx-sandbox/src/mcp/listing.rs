//! Which of a server's tools are offered, and as what.

use std::collections::{BTreeMap, BTreeSet};

use agentx_core::{Error, ErrorKind, Result, ToolDefinition};
use rmcp::model::{JsonObject, Tool};
use serde_json::Value;

use super::{McpServer, failure::cut};

/// The longest name of a tool that model APIs take.
const MAX_NAME: usize = 128;
/// The longest name of a parameter that model APIs take.
const MAX_KEY: usize = 64;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 4096;
/// The largest schema, in bytes of JSON.
const MAX_SCHEMA: usize = 64 << 10;
/// What model APIs do not take at the top of a tool's schema.
const COMBINED: &[&str] = &["oneOf", "anyOf", "allOf"];

/// What a server says of one of its tools.
///
/// The hints are the server's word and nothing else: they may help a person to decide, and never make a call run that
/// was not allowed. One that is missing is taken for the more dangerous.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "the four hints of the protocol, each by itself")]
pub struct McpToolInfo {
    /// The name under which an agent has it: `mcp__{server}__{tool}`.
    pub name: String,
    /// The server's own name of it.
    pub tool: String,
    /// What a person is to see as its name.
    pub title: Option<String>,
    /// It is said to change nothing. False where nothing is said.
    pub read_only: bool,
    /// It is said that it may destroy something. True where nothing is said.
    pub destructive: bool,
    /// It is said that a second call with the same input changes nothing more. False where nothing is said.
    pub idempotent: bool,
    /// It is said to reach beyond its own domain, as a search of the web does. True where nothing is said.
    pub open_world: bool,
}

/// A tool that is not offered, since no model could use it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The server's own name of it.
    pub tool: String,
    /// Why.
    pub why: String,
}

/// One tool as it is offered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) definition: ToolDefinition,
    pub(super) info: McpToolInfo,
}

/// A server's list of tools, looked through.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) offers: Vec<Offer>,
    pub(super) left_out: Vec<LeftOut>,
    /// The server's names of all its tools.
    pub(super) known: BTreeSet<String>,
}

impl Listing {
    pub(super) fn new(server: &McpServer, tools: Vec<Tool>) -> Self {
        let mut listing = Self::default();
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        for tool in &tools {
            listing.known.insert(tool.name.to_string());
            *names.entry(name(server, tool)).or_default() += 1;
        }
        for tool in tools {
            let own = tool.name.to_string();
            if server.denied.contains(&own)
                || server.allowed.as_ref().is_some_and(|some| !some.contains(&own))
            {
                continue;
            }
            let name = name(server, &tool);
            let offer = match names.get(&name) {
                // Which of them a model means could not be told.
                Some(2..) => Err(format!("there are several tools that would be called {name}")),
                _ => offer(name, tool),
            };
            match offer {
                Ok(offer) => listing.offers.push(offer),
                Err(why) => listing.left_out.push(LeftOut { tool: cut(&own), why }),
            }
        }
        listing
    }

    /// Whether the server has all tools that were allowed and denied by name: a name that is misspelt would else deny
    /// nothing.
    pub(super) fn check(&self, server: &McpServer) -> Result<()> {
        let named = server.allowed.iter().flatten().chain(&server.denied);
        let missing: Vec<_> = named.filter(|name| !self.known.contains(*name)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let known: Vec<_> = self.known.iter().map(String::as_str).collect();
        let message =
            format!("the server has no tool {}; it has {}", missing.join(", "), cut(&known.join(", ")));
        Err(Error::new(ErrorKind::NotFound, "connect").with_path(&server.name).with_message(message))
    }
}

/// The name under which a tool is offered. What no model API takes in a name becomes `_`.
fn name(server: &McpServer, tool: &Tool) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("mcp__{}__{}", server.name, tool.name.chars().map(plain).collect::<String>())
}

fn offer(name: String, tool: Tool) -> Result<Offer, String> {
    if tool.name.is_empty() || name.len() > MAX_NAME {
        return Err(format!(
            "its name would have {} characters, and 1 to {MAX_NAME} are allowed",
            name.len()
        ));
    }
    let schema = schema(&tool.input_schema)?;
    let description = tool.description.as_deref().unwrap_or_default();
    let description = match description.char_indices().nth(MAX_DESCRIPTION) {
        Some((end, _)) => format!("{}…", description.get(..end).unwrap_or_default()),
        None => description.to_owned(),
    };
    let hints = tool.annotations.unwrap_or_default();
    let info = McpToolInfo {
        name: name.clone(),
        tool: tool.name.into_owned(),
        title: tool.title.or(hints.title).map(|title| cut(&title)),
        read_only: hints.read_only_hint.unwrap_or(false),
        destructive: hints.destructive_hint.unwrap_or(true),
        idempotent: hints.idempotent_hint.unwrap_or(false),
        open_world: hints.open_world_hint.unwrap_or(true),
    };
    Ok(Offer { definition: ToolDefinition::new(name, description, schema), info })
}

/// The schema as it is, where a model API takes it: one that it refuses would end every turn of the agent.
fn schema(object: &JsonObject) -> Result<Value, String> {
    let mut schema = object.clone();
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {}
        None if !schema.contains_key("type") => {
            schema.insert("type".to_owned(), "object".into());
        }
        _ => return Err("its input is no object".to_owned()),
    }
    if let Some(key) = COMBINED.iter().find(|key| schema.contains_key(**key)) {
        return Err(format!("its schema has {key} at its top"));
    }
    match schema.get("properties") {
        None => {}
        Some(Value::Object(properties)) => {
            if let Some(key) = properties.keys().find(|key| !valid_key(key)) {
                return Err(format!("no model can be told of its parameter {:?}", cut(key)));
            }
        }
        Some(_) => return Err("the properties of its schema are no object".to_owned()),
    }
    let is_list =
        |required: &Value| required.as_array().is_some_and(|names| names.iter().all(Value::is_string));
    if !schema.get("required").is_none_or(is_list) {
        return Err("what its schema requires is no list of names".to_owned());
    }
    let schema = Value::Object(schema);
    match schema.to_string().len() {
        0..=MAX_SCHEMA => Ok(schema),
        size => Err(format!("its schema has {size} bytes, and {MAX_SCHEMA} are allowed")),
    }
}

fn valid_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> McpServer {
        McpServer::stdio("files", "server", [""; 0])
    }

    fn tools(tools: &Value) -> Vec<Tool> {
        serde_json::from_value(tools.clone()).unwrap()
    }

    fn left_out(tool: &Value) -> String {
        let listing = Listing::new(&server(), tools(&json!([tool])));
        assert!(listing.offers.is_empty(), "{tool}");
        listing.left_out[0].why.clone()
    }

    #[test]
    fn names_are_those_that_model_apis_take() {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let list = json!([tool("read"), tool("fs.list/all grüße"), tool(&"x".repeat(116))]);
        let listing = Listing::new(&server(), tools(&list));
        let names: Vec<_> = listing.offers.iter().map(|offer| offer.definition.name.as_str()).collect();
        assert_eq!(names[..2], ["mcp__files__read", "mcp__files__fs_list_all_gr__e"]);
        assert_eq!(names[2].len(), 128);
        assert_eq!(listing.offers[1].info.tool, "fs.list/all grüße");
        assert!(left_out(&tool(&"x".repeat(117))).contains("129 characters"));
        assert!(left_out(&tool("")).contains("allowed"));
    }

    #[test]
    fn of_tools_that_would_have_one_name_none_is_offered() {
        let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
        let listing = Listing::new(
            &server(),
            tools(&json!([tool("a.b"), tool("a/b"), tool("c"), tool("d"), tool("d")])),
        );
        let names: Vec<_> = listing.offers.iter().map(|offer| offer.info.tool.as_str()).collect();
        assert_eq!(names, ["c"]);
        assert_eq!(listing.left_out.len(), 4);
        assert!(listing.left_out[0].why.contains("mcp__files__a_b"));
        // Nor is one that is denied made room for the other.
        let denied = server().with_denied_tools(["a/b"]);
        let listing = Listing::new(&denied, tools(&json!([tool("a.b"), tool("a/b")])));
        assert!(listing.offers.is_empty());
    }

    #[test]
    fn schemas_that_no_model_api_takes_are_left_out() {
        let tool = |schema: Value| json!({"name": "t", "inputSchema": schema});
        assert!(left_out(&tool(json!({"type": "string"}))).contains("no object"));
        assert!(left_out(&tool(json!({"type": ["object", "null"]}))).contains("no object"));
        assert!(left_out(&tool(json!({"type": "object", "anyOf": []}))).contains("anyOf"));
        assert!(left_out(&tool(json!({"type": "object", "properties": []}))).contains("properties"));
        assert!(left_out(&tool(json!({"type": "object", "properties": {"a b": {}}}))).contains("a b"));
        for required in [json!(null), json!("a"), json!([7])] {
            let schema = json!({"type": "object", "required": required});
            assert!(left_out(&tool(schema)).contains("requires"));
        }
        let large = json!({"type": "object", "description": "x".repeat(MAX_SCHEMA)});
        assert!(left_out(&tool(large)).contains("bytes"));
    }

    #[test]
    fn a_schema_is_passed_on_as_it_is() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"a.b-c_1": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]}},
            "$defs": {"x": {"type": "integer"}},
        });
        let list = json!([{"name": "a", "inputSchema": schema}, {"name": "b", "inputSchema": {}}]);
        let listing = Listing::new(&server(), tools(&list));
        assert_eq!(listing.offers[0].definition.input_schema, schema);
        assert_eq!(listing.offers[1].definition.input_schema, json!({"type": "object"}));
    }

    #[test]
    fn a_description_is_bounded_and_a_hint_that_is_missing_is_the_dangerous_one() {
        let list = json!([
            {"name": "a", "description": "ü".repeat(5000), "inputSchema": {"type": "object"}},
            {"name": "b", "inputSchema": {"type": "object"},
             "annotations": {"readOnlyHint": true, "destructiveHint": false, "openWorldHint": false, "title": "B"}},
        ]);
        let listing = Listing::new(&server(), tools(&list));
        assert_eq!(listing.offers[0].definition.description.chars().count(), MAX_DESCRIPTION + 1);
        let hints = |index: usize| {
            let info = &listing.offers[index].info;
            (info.read_only, info.destructive, info.idempotent, info.open_world)
        };
        assert_eq!(hints(0), (false, true, false, true));
        assert_eq!(hints(1), (true, false, false, false));
        assert_eq!(listing.offers[1].info.title.as_deref(), Some("B"));
    }

    #[test]
    fn a_name_that_is_misspelt_is_told() {
        let listing = Listing::new(&server(), tools(&json!([{"name": "read", "inputSchema": {}}])));
        assert!(listing.check(&server().with_allowed_tools(["read"])).is_ok());
        for server in [server().with_allowed_tools(["raed"]), server().with_denied_tools(["raed"])] {
            let error = listing.check(&server).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.message().contains("raed") && error.message().contains("it has read"), "{error}");
        }
    }
}
