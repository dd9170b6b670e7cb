//! genai is a client: the loop around it is written here.

use agentx_benches::{Result, measure::Variant, rows::turn::Turns};
use futures::StreamExt;
use genai::{
    Client, ModelIden, ServiceTarget,
    adapter::AdapterKind,
    chat::{ChatMessage, ChatOptions, ChatRequest, ChatStreamEvent, Tool, ToolResponse},
    resolver::{AuthData, Endpoint, ServiceTargetResolver},
};

use super::{MAX_TOKENS, MODEL, QUESTION, schema};

pub(super) fn variant(turns: &Turns) -> Result<Variant> {
    let base_url = format!("{}/v1/", turns.base_url());
    let resolver = ServiceTargetResolver::from_resolver_fn(
        move |target: ServiceTarget| -> std::result::Result<ServiceTarget, genai::resolver::Error> {
            Ok(ServiceTarget {
                endpoint: Endpoint::from_owned(base_url.clone()),
                auth: AuthData::from_single("no-key"),
                model: ModelIden::new(AdapterKind::Anthropic, target.model.model_name),
            })
        },
    );
    let client = Client::builder().with_service_target_resolver(resolver).build()?;
    Ok(turns.variant("genai, loop by hand", move || turn(client.clone())))
}

async fn turn(client: Client) -> Result<String> {
    let tool =
        Tool::new("count_files").with_description("Counts the files in a directory.").with_schema(schema());
    let options = ChatOptions::default()
        .with_capture_tool_calls(true)
        .with_capture_content(true)
        .with_max_tokens(MAX_TOKENS);
    let question = ChatMessage::user(QUESTION);
    let mut request = ChatRequest::new(vec![question]).with_tools(vec![tool]);
    loop {
        let mut answer = client.exec_chat_stream(MODEL, request.clone(), Some(&options)).await?.stream;
        let (mut text, mut end) = (String::new(), None);
        while let Some(event) = answer.next().await {
            match event? {
                ChatStreamEvent::Chunk(chunk) => text.push_str(&chunk.content),
                ChatStreamEvent::End(ended) => end = Some(ended),
                _ => {}
            }
        }
        let calls = end.and_then(|end| end.captured_into_tool_calls()).unwrap_or_default();
        if calls.is_empty() {
            return Ok(text);
        }
        let results: Vec<_> = calls
            .iter()
            .map(|call| {
                let path = call.fn_arguments["path"].as_str().unwrap_or_default();
                ToolResponse::new(call.call_id.clone(), format!("42 files in {path}"))
            })
            .collect();
        request = request.append_message(ChatMessage::from(calls));
        for result in results {
            request = request.append_message(result);
        }
    }
}
