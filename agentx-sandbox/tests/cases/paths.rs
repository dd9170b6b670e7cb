use agentx_core::ErrorKind;
use agentx_resource::MkdirOptions;
use serde_json::json;

use super::{Pair, path};

pub async fn what_a_command_prints_is_accepted(pair: Pair) {
    pair.put("/src/a b.txt", "content").await;
    let pwd = pair.call("bash", json!({"command": "pwd"})).await;
    assert_eq!(pwd, pair.runtime.root());
    let listed = pair.call("ls", json!({"path": pwd})).await;
    assert_eq!(listed, format!("{pwd}:\nsrc/"));
    for command in ["find . -type f".to_owned(), format!("find {pwd} -type f")] {
        let found = pair.call("bash", json!({"command": command})).await;
        assert_eq!(pair.call("read", json!({"file_path": found})).await, "     1\tcontent\n", "{found}");
    }
    // And the other way round.
    let found = pair.call("glob", json!({"pattern": "**/*"})).await;
    assert_eq!(pair.call("bash", json!({"command": format!("cat '{found}'")})).await, "content");
}

pub async fn what_one_side_writes_the_other_reads(pair: Pair) {
    pair.call("write", json!({"file_path": "a.txt", "content": "from the tool\n"})).await;
    assert_eq!(pair.call("bash", json!({"command": "cat a.txt"})).await, "from the tool");
    pair.call("bash", json!({"command": "echo from a command > a.txt"})).await;
    assert_eq!(pair.call("read", json!({"file_path": "a.txt"})).await, "     1\tfrom a command\n");
    pair.call("edit", json!({"file_path": "a.txt", "old_string": "a command", "new_string": "edit"})).await;
    assert_eq!(pair.call("bash", json!({"command": "cat a.txt"})).await, "from edit");
}

pub async fn relative_paths_begin_at_the_working_directory(pair: Pair) {
    pair.put("/top.txt", "top").await;
    pair.runtime.file_system().mkdir(&path("/src"), MkdirOptions::recursive()).await.unwrap();
    let pair = pair.with(|runtime| runtime.with_cwd(path("/src")));
    assert_eq!(pair.call("bash", json!({"command": "pwd"})).await, pair.shown("/src"));
    pair.call("write", json!({"file_path": "a.txt", "content": "a"})).await;
    assert_eq!(pair.get("/src/a.txt").await, "a");
    assert_eq!(pair.call("read", json!({"file_path": "../top.txt"})).await, "     1\ttop\n");
    assert_eq!(pair.call("glob", json!({"pattern": "*"})).await, pair.shown("/src/a.txt"));
    assert_eq!(pair.call("grep", json!({"pattern": "."})).await, pair.shown("/src/a.txt"));
    assert!(pair.call("ls", json!({})).await.starts_with(&pair.shown("/src")));
}

pub async fn outside_is_refused(pair: Pair) {
    let root = pair.runtime.root().to_owned();
    let beside = format!("{root}-2/x");
    for outside in ["/etc/passwd", "..", "../x", "a/../../x", "/", &beside, "/proc/self/root/etc/passwd"] {
        for (tool, input) in [
            ("read", json!({"file_path": outside})),
            ("write", json!({"file_path": outside, "content": "x"})),
            ("edit", json!({"file_path": outside, "old_string": "a", "new_string": "b"})),
            ("ls", json!({"path": outside})),
            ("glob", json!({"pattern": "*", "path": outside})),
            ("grep", json!({"pattern": "root", "path": outside})),
        ] {
            let error = pair.refused(tool, input).await;
            assert_eq!(error.kind(), ErrorKind::Escapes, "{tool} {outside}");
            assert!(error.to_string().contains(&format!("only paths in {root} can be used")), "{error}");
        }
    }
    let home = pair.refused("write", json!({"file_path": "~/x", "content": "x"})).await;
    assert!(home.to_string().contains("not expanded"), "{home}");
    // These only look as if they led out.
    for inside in ["report..final.md", "[...slug].ts", "...", "a/../b", "..a"] {
        pair.call("write", json!({"file_path": inside, "content": "x"})).await;
        assert_eq!(pair.call("read", json!({"file_path": inside})).await, "     1\tx\n", "{inside}");
    }
}
