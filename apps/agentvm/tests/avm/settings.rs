//! What a server goes by: flags, variables and a file.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{Served, avm, complained, image, said};

#[test]
fn the_doctor_tells_who_said_what() {
    let data = TempDir::new().unwrap();
    fs::write(data.path().join("config.toml"), "port = 1\nhost = \"127.0.0.2\"\ndrain = 7\n").unwrap();
    let mut doctor = avm(data.path());
    let told = doctor.args(["doctor", "--port", "3"]).env("AVM_HOST", "127.0.0.1").env("AVM_PORT", "2");
    let told = said(&told.output().unwrap());
    for line in ["port = 3  (flag)", "host = 127.0.0.1  (AVM_HOST)", "drain = 7  (file)", "config.toml"] {
        assert!(told.contains(line), "{line} in {told}");
    }
    for what in ["store", "model", "isolation", "disk", "limits"] {
        assert!(told.lines().any(|line| line.starts_with(what)), "{what} in {told}");
    }
    assert!(told.contains("SQLite opens") && told.contains("scripted model"), "{told}");
}

#[test]
fn a_model_that_can_not_be_reached_is_told_by_the_doctor() {
    let data = TempDir::new().unwrap();
    // Nobody listens at a port that was free a moment ago, and whoever does is no model.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut doctor = avm(data.path());
    doctor.arg("doctor").env("LLM_API_KEY", "sk-hush").env("LLM_BASE_URL", format!("http://{free}"));
    let told = doctor.output().unwrap();
    let line = said(&told).lines().find(|line| line.starts_with("model")).unwrap().to_owned();
    assert!(!told.status.success() && line.contains("FAILED"), "{line}");
    assert!(!said(&told).contains("sk-hush") && !complained(&told).contains("sk-hush"));
}

#[test]
fn a_file_that_is_not_understood_is_no_server() {
    let data = TempDir::new().unwrap();
    fs::write(data.path().join("config.toml"), "prot = 80\n").unwrap();
    let refused = avm(data.path()).args(["serve", "--port", "0"]).output().unwrap();
    let told = complained(&refused);
    assert!(!refused.status.success() && told.contains("unknown field `prot`"), "{told}");
}

#[test]
fn a_filter_of_the_log_that_is_not_understood_is_no_server() {
    let data = TempDir::new().unwrap();
    let refused =
        avm(data.path()).args(["serve", "--port", "0"]).env("AVM_LOG", "avm=loud").output().unwrap();
    let told = complained(&refused);
    assert!(!refused.status.success() && told.contains("AVM_LOG=avm=loud: "), "{told}");
}

#[test]
fn the_full_driver_says_what_it_lacks() {
    let data = TempDir::new().unwrap();
    let serve = |program: &str, key: &str| {
        let mut command = avm(data.path());
        command
            .args(["serve", "--port", "0", "--driver", "full", "--claude", program])
            .env("LLM_API_KEY", key);
        complained(&command.output().unwrap())
    };
    assert!(serve("claude", "").contains("needs a key"));
    assert!(serve("no-such-program", "sk").contains("there is no `no-such-program` on the PATH"));
    assert!(serve("/dev/null", "sk").contains("/dev/null is no program"));
    // One that is something else.
    assert!(serve("/bin/true", "sk").contains("--driver full: /bin/true: "));
}

#[test]
fn a_directory_that_others_could_read_is_closed() {
    let data = TempDir::new().unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(Served::start(data.path(), &[]));
    let mode = fs::metadata(data.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_chat_answers_what_it_is_asked() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &["--ask", "bash"]);
    let url = format!("ws://{}/ws", served.address);
    let answer = |answer: &str| {
        let mut chat = avm(data.path());
        chat.args(["chat", "--url", &url, "please run `echo made`"]);
        let mut chat =
            chat.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It is read when it is asked for.
        chat.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        chat.wait_with_output().unwrap()
    };
    let allowed = answer("y\n");
    assert!(said(&allowed).contains("made"), "{} {}", said(&allowed), complained(&allowed));
    let denied = answer("not on a Sunday\n");
    assert!(complained(&denied).contains("asks for a permission"), "{}", complained(&denied));
    assert!(said(&denied).contains("not on a Sunday"), "{} {}", said(&denied), complained(&denied));
}

#[test]
fn containers_are_listed_shown_and_removed() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    let url = format!("ws://{}/ws", served.address);
    let container =
        |args: &[&str]| avm(data.path()).args(["container", "--url", &url]).args(args).output().unwrap();
    assert_eq!(said(&container(&["list"])), "chat\n");
    assert!(said(&container(&["show", "chat"])).starts_with(&image));
    assert_eq!(said(&container(&["remove", "chat"])), "removed: chat\n");
    assert_eq!(said(&container(&["list"])), "");
    assert!(complained(&container(&["remove", "chat"])).contains("there is no container chat"));
    assert!(
        !Command::new("test")
            .arg("-e")
            .arg(data.path().join("workspaces/local:chat").join(&image))
            .status()
            .unwrap()
            .success()
    );
}

/// A reader that has enough, such as `head`, is no fault.
#[test]
fn whoever_stops_reading_ends_the_program_quietly() {
    let data = TempDir::new().unwrap();
    let mut doctor = avm(data.path());
    let mut doctor = doctor.arg("doctor").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(doctor.stdout.take());
    let told = doctor.wait_with_output().unwrap();
    assert_eq!((told.status.code(), complained(&told)), (Some(1), String::new()));
}

#[test]
fn the_first_tenant_gets_what_was_said_before_there_was_one_where_that_is_wanted() {
    let data = TempDir::new().unwrap();
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    drop(served);
    let run = |args: &[&str]| avm(data.path()).args(args).output().unwrap();
    let asked = run(&["key", "create", "ann"]);
    let told = complained(&asked);
    assert!(!asked.status.success() && told.contains("in chat: say whether ann gets them"), "{told}");
    assert_eq!(said(&run(&["key", "list"])), "");

    let ann = said(&run(&["key", "create", "ann", "--adopt"])).trim().to_owned();
    assert_eq!(said(&run(&["tenant", "list"])), "local  ann\n");
    let served = Served::start(data.path(), &["--isolation", "none"]);
    let again = served.chat(data.path(), &["--key", &ann, "--image", &image, "again"]);
    assert_eq!(said(&again), "You said: again\n", "{}", complained(&again));

    // By the name that it was given, it is known from now on.
    assert_eq!(said(&run(&["tenant", "suspend", "ann"])), "suspended: local\n");
    // The server looks once a second.
    while served.chat(data.path(), &["--key", &ann, "--image", &image, "again"]).status.success() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(said(&run(&["tenant", "resume", "ann"])), "resumed: local\n");
    while !served.chat(data.path(), &["--key", &ann, "--image", &image, "again"]).status.success() {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let shown = said(&run(&["tenant", "show", "ann"]));
    assert!(shown.contains("containers  chat\n") && shown.contains("keys        1\n"), "{shown}");
    let workspace = data.path().join("workspaces/local:chat").join(&image);
    fs::write(workspace.join("large"), vec![1; 64 << 10]).unwrap();
    let shown = said(&run(&["tenant", "show", "ann"]));
    let line = shown.lines().find_map(|line| line.strip_prefix("disk        ")).unwrap();
    let bytes: u64 = line.split_once(" bytes, ").unwrap().0.parse().unwrap();
    assert!((64 << 10..1 << 20).contains(&bytes), "{shown}");
    assert!(complained(&run(&["tenant", "remove", "ann"])).contains("has containers (chat)"));
    assert_eq!(said(&run(&["tenant", "create", "bob"])), "bob\n");
    assert_eq!(said(&run(&["tenant", "remove", "bob"])), "removed: bob\n");
}

#[test]
fn tokens_need_to_be_somebodys() {
    let data = TempDir::new().unwrap();
    let serve = |flags: &[&str]| {
        complained(&avm(data.path()).args(["serve", "--port", "0"]).args(flags).output().unwrap())
    };
    assert!(serve(&["--jwks", "keys.json"]).contains("needs --jwt-issuer and --jwt-audience"));
    let whole = ["--jwt-issuer", "i", "--jwt-audience", "a", "--jwks"];
    assert!(serve(&[&whole[..], &["/nowhere/keys.json"]].concat()).contains("neither a URL nor a file"));
}
