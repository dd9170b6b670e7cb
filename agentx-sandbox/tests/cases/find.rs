use agentx_core::ErrorKind;
use serde_json::json;

use super::Pair;

async fn tree(pair: &Pair) {
    for (file, content) in [
        ("/src/main.rs", "fn main() {\n    helper();\n}\n"),
        ("/src/lib/helper.rs", "pub fn helper() {}\n"),
        ("/src/lib/data.json", "{\"helper\": 1}\n"),
        ("/README.md", "# A Helper\n"),
        ("/.git/objects/helper.rs", "helper\n"),
    ] {
        pair.put(file, content).await;
    }
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

pub async fn glob_by_name(pair: Pair) {
    tree(&pair).await;
    let (main, helper) = (pair.shown("/src/main.rs"), pair.shown("/src/lib/helper.rs"));
    let rust = pair.call("glob", json!({"pattern": "**/*.rs"})).await;
    assert_eq!(lines(&rust), [&helper, &main], ".git is left out");
    assert_eq!(pair.call("glob", json!({"pattern": "*.rs", "path": "src"})).await, main);
    assert_eq!(pair.call("glob", json!({"pattern": "src/*.rs"})).await, main);
    assert_eq!(pair.call("glob", json!({"pattern": pair.shown("/src/**/h*.rs")})).await, helper);
    assert_eq!(pair.call("glob", json!({"pattern": "../src/*.rs", "path": "src"})).await, main);
    assert_eq!(pair.call("glob", json!({"pattern": "src/main.rs"})).await, main);
    // An absolute pattern needs no directory.
    let absolute = json!({"pattern": pair.shown("/src/*.rs"), "path": "src/lib"});
    assert_eq!(pair.call("glob", absolute).await, main);
    assert_eq!(pair.call("glob", json!({"pattern": "nowhere/*.rs"})).await, "No files found.");
    assert_eq!(
        pair.call("glob", json!({"pattern": "src"})).await,
        "No files found.",
        "directories are no files"
    );

    let missing = pair.refused("glob", json!({"pattern": "*", "path": "nowhere"})).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let file = pair.refused("glob", json!({"pattern": "*", "path": "README.md"})).await;
    assert_eq!(file.kind(), ErrorKind::NotADirectory);
    for (pattern, kind) in [
        ("", ErrorKind::InvalidInput),
        ("a[", ErrorKind::InvalidInput),
        ("/*", ErrorKind::Escapes),
        ("../../../../../../../../../../*", ErrorKind::Escapes),
    ] {
        assert_eq!(pair.refused("glob", json!({"pattern": pattern})).await.kind(), kind, "{pattern}");
    }
}

pub async fn glob_bounds(pair: Pair) {
    for number in 0..1003 {
        pair.put(&format!("/many/{number}"), "").await;
    }
    let found = pair.call("glob", json!({"pattern": "many/*"})).await;
    assert_eq!(found.lines().count(), 1001);
    assert!(found.ends_with("(3 more files; use a narrower pattern)"));
    let listed = pair.call("ls", json!({"path": "many"})).await;
    assert_eq!(listed.lines().count(), 1002);
    assert!(listed.ends_with("(3 more entries; use glob to find some of them)"));
}

pub async fn grep_modes(pair: Pair) {
    tree(&pair).await;
    let (main, helper, data) =
        (pair.shown("/src/main.rs"), pair.shown("/src/lib/helper.rs"), pair.shown("/src/lib/data.json"));
    let files = pair.call("grep", json!({"pattern": "helper"})).await;
    assert_eq!(lines(&files), lines(&format!("{main}\n{helper}\n{data}")));
    let counts = pair.call("grep", json!({"pattern": "h", "output_mode": "count", "glob": "*.rs"})).await;
    assert_eq!(lines(&counts), lines(&format!("{main}:1\n{helper}:1")));
    let content =
        json!({"pattern": "HELPER", "-i": true, "output_mode": "content", "path": "src/main.rs", "-C": 1});
    assert_eq!(
        pair.call("grep", content).await,
        format!("{main}-1-fn main() {{\n{main}:2:    helper();\n{main}-3-}}")
    );
    let bare = json!({"pattern": "helper", "output_mode": "content", "-n": false, "path": "src/main.rs"});
    assert_eq!(pair.call("grep", bare).await, format!("{main}:    helper();"));
    let across = json!({"pattern": "main.*helper", "multiline": true, "output_mode": "content"});
    assert_eq!(pair.call("grep", across).await, format!("{main}:1:fn main() {{\n{main}:2:    helper();"));
    let first = pair.call("grep", json!({"pattern": "helper", "head_limit": 1})).await;
    assert!(first.contains("there is more") && first.lines().count() == 2, "{first}");
    assert_eq!(pair.call("grep", json!({"pattern": "nothing"})).await, "No matches in 4 files.");

    pair.put("/ctx", "a\nx\na\na\na\nx\n").await;
    let gaps =
        json!({"pattern": "x", "path": "ctx", "output_mode": "content", "-n": false, "-A": 1, "-B": 0});
    let ctx = pair.shown("/ctx");
    assert_eq!(pair.call("grep", gaps).await, format!("{ctx}:x\n{ctx}-a\n--\n{ctx}:x"));

    let bad = pair.refused("grep", json!({"pattern": "(?=x)"})).await;
    assert_eq!(bad.kind(), ErrorKind::InvalidInput);
    assert_eq!(pair.refused("grep", json!({"pattern": "x", "path": "no"})).await.kind(), ErrorKind::NotFound);
}

pub async fn grep_leaves_out(pair: Pair) {
    pair.put("/binary", b"needle\0").await;
    pair.put("/large", "needle\n".repeat(700_000)).await;
    pair.put("/latin1", b"needle \xfc").await;
    let found = pair.call("grep", json!({"pattern": "needle", "output_mode": "content"})).await;
    let expected =
        format!("{}:1:needle \u{fffd}\n1 files above 4 MiB were not searched.", pair.shown("/latin1"));
    assert_eq!(found, expected);

    let binary = pair.call("grep", json!({"pattern": "needle", "path": "binary"})).await;
    assert_eq!(binary, "No matches in 0 files.\nThe file is binary, and was not searched.");

    pair.put("/lines", "needle in a haystack\n".repeat(3000)).await;
    let bounded =
        pair.call("grep", json!({"pattern": "needle", "output_mode": "content", "path": "lines"})).await;
    assert!(bounded.len() < 30_100 && bounded.ends_with("narrow the pattern, the path or the glob]"));
}

pub async fn ls_order(pair: Pair) {
    pair.put("/b.txt", "12345").await;
    pair.put("/a\nb", "").await;
    pair.put("/z/x", "").await;
    pair.put("/z-z/x", "").await;
    pair.put("/.hidden/x", "").await;
    let root = pair.shown("/");
    assert_eq!(
        pair.call("ls", json!({})).await,
        format!("{root}:\n.hidden/\nz/\nz-z/\na\\nb (0 bytes)\nb.txt (5 bytes)")
    );
    assert_eq!(pair.call("ls", json!({"path": "z/"})).await, format!("{root}/z:\nx (0 bytes)"));
    assert_eq!(pair.refused("ls", json!({"path": "b.txt"})).await.kind(), ErrorKind::NotADirectory);
    assert_eq!(pair.refused("ls", json!({"path": "no"})).await.kind(), ErrorKind::NotFound);
}
