//! misanthropic is a client: the loop around it is written here.

use std::num::NonZeroU32;

use agentx_benches::{Result, measure::Variant, rows::turn::Turns};
use futures::StreamExt;
use misanthropic::{
    Client, Prompt,
    prompt::message::{Role, UserMessage},
    stream::{Delta, Event, FilterExt},
    tool::{self, CustomMethodDef},
};

use super::{MAX_TOKENS, MODEL, QUESTION, count_files, schema};

pub(super) fn variant(turns: &Turns) -> Result<Variant> {
    // It takes keys of this length alone.
    let client = Client::new("x".repeat(108))?.base_url(turns.base_url())?;
    Ok(turns.variant("misanthropic, loop by hand", move || turn(client.clone())))
}

async fn turn(client: Client) -> Result<String> {
    let tool = CustomMethodDef::builder("count_files")
        .description("Counts the files in a directory.")
        .schema(schema())
        .build()?;
    let mut prompt = Prompt::default()
        .model(MODEL.to_owned())
        .max_tokens(NonZeroU32::new(MAX_TOKENS).ok_or("no tokens")?)
        .add_tool(tool)
        .add_message((Role::User, QUESTION))?;
    loop {
        let mut events = std::pin::pin!(client.stream(&prompt).await?.with_message());
        let (mut text, mut message) = (String::new(), None);
        while let Some(event) = events.next().await {
            match event? {
                Event::ContentBlockDelta { delta: Delta::Text { text: piece }, .. } => text.push_str(&piece),
                Event::Message { message: whole } => message = Some(whole),
                _ => {}
            }
        }
        let message = message.ok_or("no end")?;
        let results: Vec<_> = message
            .tool_uses()
            .map(|call| tool::Result::new(call.id.clone(), count_files(&call.input)))
            .collect();
        if results.is_empty() {
            return Ok(text);
        }
        prompt.push_message(message)?;
        prompt.push_message(results.into_iter().collect::<UserMessage>())?;
    }
}
