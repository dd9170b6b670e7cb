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

pub async fn what_git_ignores_is_left_out(pair: Pair) {
    for file in [
        "/.git/HEAD",
        "/a.log",
        "/keep.log",
        "/src/a.log",
        "/src/deep/keep.log",
        "/src/deep/b.txt",
        "/target/out.txt",
        "/src/target/out.txt",
        "/build/x.txt",
        "/src/build/x.txt",
        "/notes/private.txt",
        "/vendor/a.txt",
        "/vendor/.git/HEAD",
        "/vendor/b.log",
    ] {
        pair.put(file, "needle\n").await;
    }
    let patterns = "\u{feff}# comment\n*.log\n!keep.log\ntarget/\r\n/build\nsrc/**/b.txt\n[\n";
    pair.put("/.gitignore", patterns).await;
    pair.put("/src/deep/.gitignore", "keep.log\n!b.txt\n").await;
    pair.put("/.git/info/exclude", "private.txt\n").await;
    let shown = |files: &[&str]| {
        let mut shown: Vec<_> = files.iter().map(|file| pair.shown(file)).collect();
        shown.sort_unstable();
        shown
    };

    let all = ["/keep.log", "/src/deep/b.txt", "/src/build/x.txt", "/vendor/a.txt", "/vendor/b.log"];
    let found = pair.call("grep", json!({"pattern": "needle"})).await;
    assert_eq!(lines(&found), shown(&all));
    let found = pair.call("glob", json!({"pattern": "**/*.{log,txt}"})).await;
    assert_eq!(lines(&found), shown(&all));
    // The rules of the directories above hold too.
    let below = pair.call("grep", json!({"pattern": "needle", "path": "src"})).await;
    assert_eq!(lines(&below), shown(&["/src/deep/b.txt", "/src/build/x.txt"]));
    let below = pair.call("glob", json!({"pattern": "src/deep/*"})).await;
    assert_eq!(lines(&below), shown(&["/src/deep/.gitignore", "/src/deep/b.txt"]));
    // What is named is looked at.
    assert_eq!(lines(&pair.call("glob", json!({"pattern": "target/*"})).await), shown(&["/target/out.txt"]));
    let named = pair.call("grep", json!({"pattern": "needle", "path": "a.log"})).await;
    assert_eq!(lines(&named), shown(&["/a.log"]));
    // Who finds nothing is told why.
    let nothing = pair.call("glob", json!({"pattern": "*.md", "path": "vendor"})).await;
    assert_eq!(nothing, "No files found.");
    let nothing = pair.call("glob", json!({"pattern": "**/out.txt", "path": "src"})).await;
    assert!(nothing.contains("that git ignores were left out"), "{nothing}");
    let nothing = pair.call("grep", json!({"pattern": "needle", "path": "notes"})).await;
    assert!(
        nothing.starts_with("No matches in 0 files.\n1 files or directories that git ignores"),
        "{nothing}"
    );

    // A file of patterns without end is not taken in.
    pair.put("/.gitignore", format!("*.txt\n{}", "x\n".repeat(40_000))).await;
    let found = pair.call("grep", json!({"pattern": "needle", "path": "build"})).await;
    assert!(found.starts_with(&pair.shown("/build/x.txt")) && found.contains("too large, and had no effect"));
}

pub async fn gitignore_means_nothing_outside_a_repository(pair: Pair) {
    pair.put("/.gitignore", "*.txt\n").await;
    pair.put("/a.txt", "needle").await;
    pair.put("/repo/.git/HEAD", "").await;
    pair.put("/repo/.gitignore", "b.*\n").await;
    pair.put("/repo/b.txt", "needle").await;
    pair.put("/repo/c.txt", "needle").await;
    let found = pair.call("grep", json!({"pattern": "needle"})).await;
    assert_eq!(lines(&found), [pair.shown("/a.txt"), pair.shown("/repo/c.txt")]);
}
