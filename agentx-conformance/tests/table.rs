//! The rows of `docs/semantics.md` and the cases of the kit are the same.

use std::collections::BTreeSet;

use agentx_conformance::{
    Case,
    faulty::{
        DiskFault, EnvFault, FileSystemFault, LimitsFault, LlmProviderFault, PairFault, PlantedFault,
        ProcessFault, RepositoryFault,
    },
};

const TABLE: &str = include_str!("../../docs/semantics.md");

/// The ids of the rows below `## heading`, up to the next heading of that rank.
fn rows(heading: &str) -> Vec<String> {
    let start = format!("## {heading}");
    TABLE
        .lines()
        .skip_while(|line| *line != start)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(id, _)| id.to_owned()))
        .collect()
}

fn assert_same(heading: &str, cases: impl Iterator<Item = String>) {
    let (rows, cases): (Vec<String>, Vec<String>) = (rows(heading), cases.collect());
    let (row_set, case_set): (BTreeSet<_>, BTreeSet<_>) = (rows.iter().collect(), cases.iter().collect());
    let (no_case, no_row): (Vec<_>, Vec<_>) =
        (row_set.difference(&case_set).collect(), case_set.difference(&row_set).collect());
    assert!(
        no_case.is_empty() && no_row.is_empty(),
        "rows without a case {no_case:?}, cases without a row {no_row:?}"
    );
    assert_eq!(rows, cases, "the order, or an id that stands twice");
    assert!(!rows.is_empty(), "no rows below {heading}");
}

#[test]
fn file_system() {
    assert_same("FileSystem", agentx_conformance::file_system::CASES.iter().map(Case::id));
}

#[test]
fn limits() {
    assert_same("Limits", agentx_conformance::limits::CASES.iter().map(Case::id));
}

#[test]
fn planted() {
    assert_same("Planted", agentx_conformance::planted::CASES.iter().map(Case::id));
}

#[test]
fn process() {
    assert_same("Process", agentx_conformance::process::CASES.iter().map(Case::id));
}

#[test]
fn process_session() {
    assert_same("Process in a session", agentx_conformance::process::session::CASES.iter().map(Case::id));
}

#[test]
fn process_background() {
    assert_same(
        "Process in the background",
        agentx_conformance::process::background::CASES.iter().map(Case::id),
    );
}

#[test]
fn pair() {
    assert_same("Pair", agentx_conformance::pair::CASES.iter().map(Case::id));
}

#[test]
fn env() {
    assert_same("Env", agentx_conformance::env::CASES.iter().map(Case::id));
}

#[test]
fn disk() {
    assert_same("Disk", agentx_conformance::disk::CASES.iter().map(Case::id));
}

#[test]
fn llm_provider() {
    assert_same("LLMProvider", agentx_conformance::llm::CASES.iter().map(Case::id));
}

#[test]
fn repository() {
    assert_same("Repositories", agentx_conformance::repository::CASES.iter().map(Case::id));
}

/// The guide's table of mistakes names broken providers by what catches them.
#[test]
fn every_mistake_of_the_guide_is_one_that_a_fault_makes() {
    let guide = include_str!("../../docs/writing-a-provider.md");
    let mistakes = guide.split_once("| the mistake | the case |").unwrap().1;
    let told = mistakes.split('`').skip(1).step_by(2);
    let caught: BTreeSet<&str> = (FileSystemFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(PlantedFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(LimitsFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(ProcessFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(PairFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(EnvFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(DiskFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(LlmProviderFault::ALL.iter().map(|fault| fault.caught_by()))
        .chain(RepositoryFault::ALL.iter().map(|fault| fault.caught_by()))
        .collect();
    let ids: Vec<&str> = told.filter(|text| text.contains('-') && !text.contains('/')).collect();
    assert!(ids.len() > 30, "{ids:?}");
    for id in ids {
        assert!(caught.contains(id), "no fault is caught by {id}");
    }
}

#[test]
fn every_row_has_a_situation_and_a_result() {
    for line in TABLE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let result = cells.last().map(|cell| cell.trim_end_matches('|').trim()).unwrap_or_default();
        assert!(cells.len() >= 3 || line.contains("| |"), "{line}");
        assert!(!result.is_empty(), "{line}");
    }
}
