use std::{collections::BTreeMap, sync::Arc};

use agentx_core::{Effort, ErrorKind, ModelSettings, Result, Thinking, ToolChoice, ToolDefinition};
use agentx_resource::{ApiSupply, ExecRequest, OutputLimit, Secret, Stdin};
use serde_json::{Value, json};

use super::{BuiltinTools, ClaudeCodeSettings, failure, mcp};

/// The hook of the CLI by which each call of its own tools is put to the permission.
pub(super) const GATE: &str = "gate";

/// How long the CLI waits for an answer of the gate, in seconds: a week. It is given at once where the turn is polled; where
/// that takes its time, the CLI must not go on without it.
const GATE_TIMEOUT: u32 = 7 * 24 * 60 * 60;

/// How a process of the CLI is started. Two turns can share a process only if these are equal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Launch {
    system: Option<String>,
    pub(super) tools: Arc<[ToolDefinition]>,
    pub(super) model: Option<String>,
    args: Vec<String>,
    env: BTreeMap<String, Secret>,
}

impl Launch {
    /// For such a conversation.
    ///
    /// # Errors
    /// `Unsupported` for a setting of the model that the CLI has no place for.
    pub(super) fn new(
        settings: &ClaudeCodeSettings,
        supply: Option<&ApiSupply>,
        system: Option<&str>,
        tools: Arc<[ToolDefinition]>,
        model: &ModelSettings,
    ) -> Result<Self> {
        refuse(model)?;
        let (mut args, mut env) = (arguments(settings), environment(settings, supply));
        match model.thinking {
            Some(Thinking::Budget(tokens)) => put(&mut env, "MAX_THINKING_TOKENS", tokens.to_string()),
            Some(Thinking::Off) => put(&mut env, "MAX_THINKING_TOKENS", "0"),
            _ => {}
        }
        if let Some(tokens) = model.max_tokens {
            put(&mut env, "CLAUDE_CODE_MAX_OUTPUT_TOKENS", tokens.to_string());
        }
        if !tools.is_empty() {
            let servers = json!({"mcpServers": {mcp::SERVER: {"type": "sdk", "name": mcp::SERVER}}});
            args.push(format!("--mcp-config={servers}"));
        }
        if let Some(effort) = model.effort.and_then(effort) {
            args.extend(["--effort", effort].map(str::to_owned));
        }
        let (system, model) = (system.map(str::to_owned), model.model.clone());
        Ok(Self { system, tools, model, args, env })
    }

    /// Whether a process that was started so can serve a turn that would start one like `other`, perhaps after it was
    /// told of another model.
    pub(super) fn serves(&self, other: &Self) -> bool {
        let model = self.model == other.model || other.model.is_some();
        let Self { system, tools, args, env, .. } = self;
        model && (system, tools, args, env) == (&other.system, &other.tools, &other.args, &other.env)
    }

    /// The command; with the history in this file, where there is one.
    pub(super) fn request(&self, settings: &ClaudeCodeSettings, history: Option<&str>) -> ExecRequest {
        let mut args = settings.program_args.clone();
        args.extend(self.args.iter().cloned());
        args.extend(self.model.iter().map(|model| format!("--model={model}")));
        args.extend(history.map(|file| format!("--resume={file}")));
        ExecRequest::program(&settings.program, args)
            .with_cwd(settings.cwd.clone())
            .with_envs(self.env.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())))
            .with_stdin(Stdin::Piped)
            .with_output_limit(OutputLimit::none())
    }

    /// The first request to the process.
    pub(super) fn initialize(&self, settings: &ClaudeCodeSettings) -> Value {
        let hooks = match settings.builtin_tools {
            BuiltinTools::None => json!({}),
            _ => {
                let gate = json!({"matcher": null, "hookCallbackIds": [GATE], "timeout": GATE_TIMEOUT});
                json!({"PreToolUse": [gate]})
            }
        };
        let system = self.system.as_deref().unwrap_or_default();
        json!({"subtype": "initialize", "systemPrompt": system, "hooks": hooks})
    }

    /// The values that must not be told to anybody.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.env.values()
    }
}

/// The command that tells the version.
pub(super) fn version(settings: &ClaudeCodeSettings) -> ExecRequest {
    let mut args = settings.program_args.clone();
    args.push("--version".to_owned());
    let env = environment(settings, None).into_iter();
    ExecRequest::program(&settings.program, args)
        .with_envs(env.map(|(key, value)| (key, value.expose().to_owned())))
        .with_output_limit(OutputLimit::truncate(4 << 10))
}

fn arguments(settings: &ClaudeCodeSettings) -> Vec<String> {
    let mut args: Vec<String> = [
        "-p",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--permission-prompt-tool=stdio",
        "--setting-sources=",
        "--no-session-persistence",
        "--disable-slash-commands",
        "--strict-mcp-config",
    ]
    .map(str::to_owned)
    .into();
    match &settings.builtin_tools {
        // It also switches hooks off, and so must not be there where the CLI runs tools of its own.
        BuiltinTools::None => args.extend(["--bare", "--tools="].map(str::to_owned)),
        BuiltinTools::Only(names) => args.push(format!("--tools={}", names.join(","))),
        BuiltinTools::All => args.push("--tools=default".to_owned()),
    }
    args.push("--disallowedTools=Task,Agent".to_owned());
    args
}

fn environment(settings: &ClaudeCodeSettings, supply: Option<&ApiSupply>) -> BTreeMap<String, Secret> {
    let mut env = BTreeMap::new();
    put(&mut env, "HOME", settings.home.as_str());
    put(&mut env, "CLAUDE_CONFIG_DIR", format!("{}/.claude", settings.home.trim_end_matches('/')));
    let switches = [
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        // A text with @name would be answered with that file's content, whatever the permission says.
        ("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"),
        // Else the turn's tools are hidden behind a search.
        ("ENABLE_TOOL_SEARCH", "false"),
        // The tools bound their outputs themselves.
        ("MAX_MCP_OUTPUT_TOKENS", "10000000"),
    ];
    for (key, value) in switches {
        put(&mut env, key, value);
    }
    if let Some(supply) = supply {
        env.insert("ANTHROPIC_API_KEY".to_owned(), supply.key.clone());
        if let Some(url) = &supply.base_url {
            put(&mut env, "ANTHROPIC_BASE_URL", url.as_str());
        }
    }
    env.extend(settings.env.clone());
    env
}

fn put(env: &mut BTreeMap<String, Secret>, key: &str, value: impl Into<Secret>) {
    env.insert(key.to_owned(), value.into());
}

/// A setting that would have no effect is not taken.
fn refuse(model: &ModelSettings) -> Result<()> {
    let free = |choice: &ToolChoice| *choice == ToolChoice::Auto;
    let refused = [
        (!model.stop_sequences.is_empty(), "stop_sequences"),
        (!model.tool_choice.as_ref().is_none_or(free), "tool_choice"),
        (model.parallel_tool_calls == Some(false), "parallel_tool_calls"),
        (model.output_schema.is_some(), "output_schema"),
        (!model.server_tools.is_empty(), "server_tools"),
        (model.thinking_display.is_some(), "thinking_display"),
        (model.thinking == Some(Thinking::BetweenTools), "thinking"),
    ];
    match refused.iter().find(|(is_set, _)| *is_set) {
        Some((_, setting)) => Err(failure(ErrorKind::Unsupported, "start claude")
            .with_path(setting)
            .with_message("the claude CLI has no place for this setting of the model")),
        None => Ok(()),
    }
}

fn effort(effort: Effort) -> Option<&'static str> {
    match effort {
        Effort::Low => Some("low"),
        Effort::Medium => Some("medium"),
        Effort::High => Some("high"),
        Effort::XHigh => Some("xhigh"),
        Effort::Max => Some("max"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use agentx_resource::Invocation;

    use super::*;

    fn launch(settings: &ClaudeCodeSettings, model: &ModelSettings) -> Launch {
        let supply = ApiSupply::new("sk-ant-planted").with_base_url("http://127.0.0.1:1");
        Launch::new(settings, Some(&supply), Some("Be terse."), [].into(), model).unwrap()
    }

    #[test]
    fn the_command_has_its_own_home_and_no_secret_is_shown() {
        let settings = ClaudeCodeSettings::new("/agent/").with_env("PROXY_TOKEN", "planted-token");
        let launch = launch(&settings, &ModelSettings::default().with_model("m"));
        let request = launch.request(&settings, Some("/agent/x.jsonl"));
        assert_eq!(
            (&*request.env["HOME"], &*request.env["CLAUDE_CONFIG_DIR"]),
            ("/agent/", "/agent/.claude")
        );
        assert_eq!(&*request.env["ANTHROPIC_API_KEY"], "sk-ant-planted");
        let Invocation::Program { program, args } = &request.invocation else { panic!("{request:?}") };
        assert_eq!(program, "claude");
        assert!(
            args.contains(&"--model=m".to_owned()) && args.contains(&"--resume=/agent/x.jsonl".to_owned())
        );
        assert!(args.contains(&"--bare".to_owned()));
        let shown = format!("{launch:?} {request:?} {settings:?}");
        assert!(!shown.contains("planted"), "{shown}");
    }

    #[test]
    fn the_clis_own_tools_come_with_the_gate_and_never_without() {
        for tools in [BuiltinTools::All, BuiltinTools::Only(vec!["Bash".into()])] {
            let settings = ClaudeCodeSettings::new("/agent").with_builtin_tools(tools);
            let launch = launch(&settings, &ModelSettings::default());
            assert!(!launch.args.iter().any(|arg| arg == "--bare"), "it switches the gate off");
            assert_eq!(launch.initialize(&settings)["hooks"]["PreToolUse"][0]["hookCallbackIds"][0], GATE);
        }
    }

    #[test]
    fn what_the_cli_has_no_place_for_is_refused() {
        let settings = ClaudeCodeSettings::new("/agent");
        for model in [
            ModelSettings::default().with_stop_sequences(["x"]),
            ModelSettings::default().with_tool_choice(ToolChoice::Any),
            ModelSettings::default().with_output_schema(json!({})),
            ModelSettings::default().with_thinking(Thinking::BetweenTools),
        ] {
            let error = Launch::new(&settings, None, None, [].into(), &model).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{model:?}");
        }
    }

    #[test]
    fn a_process_serves_another_model_and_nothing_else_that_differs() {
        let settings = ClaudeCodeSettings::new("/agent");
        let of = |model: ModelSettings| launch(&settings, &model);
        let plain = of(ModelSettings::default());
        let named = of(ModelSettings::default().with_model("m"));
        assert!(plain.serves(&plain) && plain.serves(&named) && named.serves(&named));
        assert!(!named.serves(&plain), "nobody knows the CLI's own choice any more");
        assert!(!plain.serves(&of(ModelSettings::default().with_max_tokens(5))));
    }
}
