//! A copy of everything, made while it is used.

use std::{fs, process::Stdio};

use tempfile::TempDir;

use crate::support::{Served, avm, complained, image, said};

#[test]
fn a_backup_of_a_server_at_work_is_a_server_that_goes_on() {
    let data = TempDir::new().unwrap();
    let place = TempDir::new().unwrap();
    let file = place.path().join("backup.tar.gz");
    let served = Served::start(data.path(), &[]);
    let image = image(&served.chat(data.path(), &["hello"]));
    assert!(served.chat(data.path(), &["--image", &image, "$ echo made > made.txt"]).status.success());
    // Another conversation goes on meanwhile.
    let url = format!("ws://{}/ws", served.address);
    let mut busy = avm(data.path());
    busy.args(["chat", "--url", &url, "$ while [ ! -e over ]; do date >> log.txt; done"]);
    let mut busy = busy.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let backup = avm(data.path()).arg("backup").arg(&file).output().unwrap();
    busy.kill().unwrap();
    busy.wait().unwrap();
    assert!(said(&backup).contains(" files, "), "{} {}", said(&backup), complained(&backup));

    let restored = place.path().join("restored");
    let restore = |from: &str| avm(&restored).arg("restore").arg(place.path().join(from)).output().unwrap();
    fs::write(place.path().join("half"), &fs::read(&file).unwrap()[..1000]).unwrap();
    let half = complained(&restore("half"));
    assert!(half.contains("nothing was restored"), "{half}");
    let whole = restore("backup.tar.gz");
    assert!(whole.status.success(), "{}", complained(&whole));
    let again = complained(&restore("backup.tar.gz"));
    assert!(again.contains("is not empty"), "{again}");
    let used = avm(data.path()).arg("restore").arg(&file).output().unwrap();
    assert!(complained(&used).contains("is in use by process"), "{}", complained(&used));

    let other = Served::start(&restored, &[]);
    assert_eq!(said(&other.chat(data.path(), &["--image", &image, "again"])), "You said: again\n");
    let shown = said(&other.chat(data.path(), &["--image", &image, "$ cat made.txt"]));
    assert!(shown.contains("made"), "{shown}");
}
