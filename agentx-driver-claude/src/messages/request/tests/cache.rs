//! Where the cache ends, and that what was sent is sent again.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const MARK: &str = r#","cache_control":{"type":"ephemeral"}"#;

#[test]
fn the_cache_ends_behind_what_is_constant_and_the_last_three_requests() {
    let mut history = vec![user("1")];
    for id in ["a", "b", "c", "d"] {
        history.extend([says(vec![call(id)]), result(id, ToolOutput::text("r"))]);
    }
    let mut request = ModelRequest::new(history);
    request.tools = tools();
    request.system = Some("Be brief.".into());
    let mark = json!({"type": "ephemeral"});

    let body = written(&request, &MessagesSettings::default());
    assert_eq!(body["system"][0]["cache_control"], mark);
    for index in [4, 6, 8] {
        assert_eq!(body["messages"][index]["content"][0]["cache_control"], mark, "{index}");
    }
    assert_eq!(body.to_string().matches("cache_control").count(), 4);

    request.system = None;
    let body = written(&request, &MessagesSettings::default());
    assert_eq!(body["tools"][0].get("cache_control"), None);
    assert_eq!(body["tools"][1]["cache_control"], mark);
    assert_eq!(body.to_string().matches("cache_control").count(), 4);

    request.tools = Arc::new([]);
    let body = written(&request, &MessagesSettings::default());
    assert_eq!(body["messages"][2]["content"][0]["cache_control"], mark);
    assert_eq!(body.to_string().matches("cache_control").count(), 4);

    let hour = written(&request, &MessagesSettings::default().with_cache(PromptCache::OneHour));
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    assert_eq!(hour["messages"][8]["content"][0]["cache_control"], mark);
    let off = written(&request, &MessagesSettings::default().with_cache(PromptCache::Off));
    assert!(!off.to_string().contains("cache_control"));
}

#[test]
fn marks_of_the_callers_own_count() {
    let mut request =
        ModelRequest::new(vec![user("1"), says(vec![call("a")]), result("a", ToolOutput::text("r"))]);
    let marked = |name: &str| json!({"type": name, "name": name, "cache_control": {"type": "ephemeral"}});
    request.settings = ModelSettings::default().with_server_tools([marked("x"), marked("y"), marked("z")]);
    let body = written(&request, &MessagesSettings::default());
    assert_eq!(body.to_string().matches("cache_control").count(), 4);
}

/// What happens next in a conversation.
#[derive(Clone, Debug)]
enum Step {
    /// The user says so much.
    User(usize),
    /// The model calls so many tools, perhaps after thinking, and they answer.
    Tools(usize, bool),
    /// The model answers.
    Answer,
    /// It answers nothing at all.
    Silence,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..4_usize).prop_map(Step::User),
        (1..45_usize, any::<bool>()).prop_map(|(count, thinks)| Step::Tools(count, thinks)),
        Just(Step::Answer),
        Just(Step::Silence),
    ];
    prop::collection::vec(step, 1..12)
}

fn history(steps: &[Step]) -> Vec<Vec<MessageBody>> {
    let mut history = vec![user("begin")];
    let mut requests = vec![history.clone()];
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::User(parts) => {
                let content = (0..*parts).map(|part| ContentPart::text(format!("{number} {part}"))).collect();
                history.push(MessageBody::User { content });
            }
            Step::Tools(count, thinks) => {
                let thought = thinks.then(|| thinking("t", Some("s")));
                let ids: Vec<_> = (0..*count).map(|call| format!("{number}-{call}")).collect();
                history.push(says(thought.into_iter().chain(ids.iter().map(|id| call(id))).collect()));
                history.extend(ids.iter().map(|id| result(id, ToolOutput::Json(json!({"b": 1, "a": id})))));
            }
            Step::Answer => history.extend([says(vec![AssistantPart::text("y")]), user("go on")]),
            Step::Silence => history.push(user("hello?")),
        }
        requests.push(history.clone());
    }
    requests
}

/// What the API reads in order, without marks, and where the marks are.
fn read(body: &Value) -> (Vec<String>, Vec<usize>) {
    let (mut units, mut marks) = (Vec::new(), Vec::new());
    let mut take = |role: &str, unit: &Value| {
        let mut unit = unit.clone();
        if unit.as_object_mut().unwrap().remove("cache_control").is_some() {
            marks.push(units.len());
        }
        units.push(format!("{role} {unit}"));
    };
    body["tools"].as_array().into_iter().flatten().for_each(|tool| take("tool", tool));
    body["system"].as_array().into_iter().flatten().for_each(|block| take("system", block));
    for message in body["messages"].as_array().unwrap() {
        let role = message["role"].as_str().unwrap();
        message["content"].as_array().unwrap().iter().for_each(|block| take(role, block));
    }
    (units, marks)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The API's cache as it is documented: it keeps what was read up to each mark, and looks for it at each mark and
    /// up to 20 blocks before it.
    #[test]
    fn each_request_finds_all_that_the_one_before_has_left(steps in steps(), system: bool, with_tools: bool) {
        let mut kept: HashSet<Vec<String>> = HashSet::new();
        let mut left = 0;
        for history in history(&steps) {
            let mut request = ModelRequest::new(history);
            request.system = system.then(|| "Be brief.".into());
            if with_tools {
                request.tools = tools();
            }
            let (units, marks) = read(&written(&request, &MessagesSettings::default()));
            prop_assert!(marks.len() <= 4);
            let found = marks.iter().flat_map(|mark| mark.saturating_sub(20)..=*mark)
                .filter(|end| kept.contains(&units[..=*end]))
                .max();
            prop_assert!(found.map_or(0, |end| end + 1) >= left, "{found:?} of {left}");
            left = marks.iter().max().unwrap() + 1;
            kept.extend(marks.iter().map(|mark| units[..=*mark].to_vec()));
        }
    }

    #[test]
    fn what_was_sent_before_is_sent_again_to_the_byte(steps in steps(), cache: bool) {
        let cache = if cache { PromptCache::FiveMinutes } else { PromptCache::Off };
        let settings = MessagesSettings::default().with_cache(cache);
        let mut before = String::new();
        for history in history(&steps) {
            let mut request = ModelRequest::new(history);
            request.tools = tools();
            request.system = Some("Be brief.".into());
            let bytes = body(&request, &settings).unwrap();
            let text = std::str::from_utf8(&bytes).unwrap().replace(MARK, "");
            prop_assert!(text.starts_with(&before), "{before}\n{text}");
            before = text.strip_suffix("]}]}").unwrap().to_owned();
        }
    }
}
