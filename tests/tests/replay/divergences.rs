//! What has changed since a run was recorded is told: where, what, and what has probably changed.

use agentx::{Error, ErrorKind, resource::cassette::Divergence};

use super::*;

async fn recorded() -> Run {
    let (run, directory) = (Run::new(), project());
    run.play(Some(directory.path()), script::model).await.unwrap();
    run.replayed()
}

async fn diverges(run: &Run) -> Divergence {
    told(&run.play(None, no_model).await.unwrap_err())
}

fn told(error: &Error) -> Divergence {
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    Divergence::of(error).unwrap().clone()
}

/// The line of the cassette that an expectation belongs to.
fn line(run: &Run, divergence: &Divergence) -> String {
    let text = fs::read_to_string(run.file()).unwrap();
    text.lines().nth(usize::try_from(divergence.line).unwrap() - 1).unwrap().to_owned()
}

#[tokio::test]
async fn each_change_is_told_with_its_place() {
    let mut run = recorded().await;
    run.system = "You write short reports.";
    let prompt = diverges(&run).await;
    let field = prompt.difference.clone().unwrap();
    assert_eq!((&*field.field, &*field.came), ("system", r#""You write short reports.""#));
    assert_eq!(prompt.hint, "the system prompt changed");
    assert!(line(&run, &prompt).contains(r#""op":"model.call","on":"model""#));
    run.system = "You write reports.";

    run.ask = ["Write a report.", "And another."];
    let words = diverges(&run).await;
    let field = words.difference.clone().unwrap();
    assert_eq!(field.field, "messages[1].content[0].text", "behind the model's last words");
    assert!(field.expected.contains("once more") && field.came.contains("another"), "{words}");
    assert_eq!(words.hint, "what the user says changed");
    run.ask = ["Write a report.", "And once more."];

    run.cwd = "/src";
    let tools = diverges(&run).await;
    assert_eq!(tools.difference.clone().unwrap().field, "tools[0].description", "bash says where it works");
    assert_eq!(tools.hint, "the tools that the model is told of changed");
    run.cwd = "/";

    // What ran at the same time now runs one after another: something else is asked first, or nothing at all.
    run.parallel = 1;
    let order = diverges(&run).await;
    let is_told = order.hint.contains("another order") || order.hint.contains("fewer tools at a time");
    assert!(is_told, "{order}");
    run.parallel = 8;

    run.play(None, no_model).await.unwrap();
}

/// Lines that somebody changed by hand, as a tool's answer would have changed.
#[tokio::test]
async fn an_answer_that_was_changed_is_told_where_it_leads_elsewhere() {
    let run = recorded().await;
    let text = fs::read_to_string(run.file()).unwrap();
    let (from, to) = ("files 3", "files 4");
    assert!(text.contains(from), "{text}");
    fs::write(run.file(), text.replacen(from, to, 1)).unwrap();
    let answer = diverges(&run).await;
    assert_eq!(answer.hint, "a tool answers otherwise, or tools end in another order");
    let field = answer.difference.clone().unwrap();
    assert!(field.expected.contains(from) && field.came.contains(to), "{answer}");

    // A command of the model's that was another.
    fs::write(run.file(), text.replacen("find . -mindepth 1", "find . -mindepth 2", 1)).unwrap();
    let command = diverges(&run).await;
    assert_eq!(
        (&*command.difference.clone().unwrap().field, command.hint),
        ("script", "another command is run")
    );
}

#[tokio::test]
async fn a_run_that_is_shorter_or_longer_is_told() {
    let run = recorded().await;
    let (recording, store) = (run.recording().await, Repositories::memory());
    let agent = run.agent(&recording, &store, None, no_model).await.unwrap();
    agent.ask(run.ask[0]).await.unwrap();
    let shorter = told(&recording.finish().await.unwrap_err());
    assert_eq!(
        (&*shorter.came, shorter.hint),
        ("the end", "the program ended earlier than when it was recorded")
    );

    let (recording, store) = (run.recording().await, Repositories::memory());
    let agent = run.agent(&recording, &store, None, no_model).await.unwrap();
    for ask in run.ask {
        agent.ask(ask).await.unwrap();
    }
    let longer = told(&agent.ask("And now?").await.unwrap_err());
    assert_eq!(longer.expected, "the end");
    assert_eq!(told(&recording.finish().await.unwrap_err()), longer, "the first divergence stays");
}

#[tokio::test]
async fn a_recording_that_was_cut_off_is_told_as_such() {
    let run = recorded().await;
    let text = fs::read_to_string(run.file()).unwrap();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    // Every line is too much for so long a run; the layer's own test cuts a short one at every byte.
    for cut in (0..lines.len()).rev().step_by(lines.len() / 40) {
        fs::write(run.file(), lines[..cut].concat()).unwrap();
        let error = run.play(None, no_model).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {cut}: {error}");
        let events = cut.saturating_sub(1);
        assert!(error.message().contains(&format!("behind event {events}:")), "cut at {cut}: {error}");
    }
}
