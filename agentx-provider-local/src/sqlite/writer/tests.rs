use std::path::Path;

use agentx_resource::Retry;

use super::*;
use crate::sqlite::connection;

fn writer(path: &Path) -> Writer {
    let writer = Writer::new(connection::open(path).unwrap(), "test".into());
    execute(writer, vec![Statement::new("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")])
}

fn execute(mut writer: Writer, batch: Vec<Statement>) -> Writer {
    let (job, mut answer) = job(batch);
    writer.commit(vec![job]);
    answer.try_recv().unwrap().unwrap();
    writer
}

type Answer = oneshot::Receiver<Result<Vec<Rows>>>;

fn job(batch: Vec<Statement>) -> (Job, Answer) {
    let (reply, answer) = oneshot::channel();
    (Job { batch, reply }, answer)
}

fn insert(id: i64) -> Statement {
    Statement::new("INSERT INTO t (id, text) VALUES (?1, 'x')").bind(id)
}

fn ids(writer: &Writer) -> Vec<i64> {
    let mut select = writer.connection.prepare("SELECT id FROM t ORDER BY id").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The transactions in a write-ahead log: the frames that name the size of the database, which only the last frame
/// of a transaction does.
fn commits(database: &Path) -> usize {
    let log = std::fs::read(database.with_extension("db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let page = number(8) as usize;
    (32..log.len()).step_by(24 + page).filter(|frame| number(frame + 4) != 0).count()
}

#[test]
fn batches_that_wait_are_committed_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut writer = writer(&path);
    let before = commits(&path);

    let waiting = MAX_GROUP + 10;
    let (sender, mut queue) = mpsc::channel(waiting);
    let mut answers = Vec::new();
    for id in 1..=waiting {
        let (job, answer) = job(vec![insert(i64::try_from(id).unwrap())]);
        assert!(sender.try_send(job).is_ok());
        answers.push(answer);
    }
    let first = queue.try_recv().unwrap();
    let group = gather(first, &mut queue);
    writer.commit(group);
    assert_eq!(commits(&path) - before, 1, "one transaction for a whole group");
    assert!(answers[..MAX_GROUP].iter_mut().all(|answer| answer.try_recv().unwrap().is_ok()));
    assert!(answers[MAX_GROUP..].iter_mut().all(|answer| answer.try_recv().is_err()), "the group is bounded");

    drop(sender);
    let first = queue.try_recv().unwrap();
    let group = gather(first, &mut queue);
    writer.commit(group);
    assert_eq!(commits(&path) - before, 2);
    assert_eq!(ids(&writer).len(), waiting);
}

#[test]
fn a_group_takes_no_more_bytes_than_it_may() {
    let (sender, mut queue) = mpsc::channel(8);
    for _ in 0..5 {
        let text = "x".repeat(MAX_GROUP_BYTES / 2);
        let (job, answer) = job(vec![Statement::new("SELECT ?1").bind(text)]);
        sender.try_send(job).ok().unwrap();
        drop(answer);
    }
    let first = queue.try_recv().unwrap();
    drop(gather(first, &mut queue));
    assert_eq!(queue.len(), 3, "two of them are as much as a group takes");
}

#[test]
fn a_batch_that_fails_takes_nothing_from_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut writer = writer(&path);
    let before = commits(&path);
    let (first, mut first_answer) = job(vec![insert(1)]);
    let (broken, mut broken_answer) = job(vec![insert(2), insert(1)]);
    let (last, mut last_answer) = job(vec![insert(3), insert(4)]);
    writer.commit(vec![first, broken, last]);
    assert!(first_answer.try_recv().unwrap().is_ok() && last_answer.try_recv().unwrap().is_ok());
    let error = broken_answer.try_recv().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert_eq!(ids(&writer), [1, 3, 4], "the broken batch is undone whole");
    assert_eq!(commits(&path) - before, 1);
    let (alone, mut answer) = job(vec![insert(5), insert(1)]);
    writer.commit(vec![alone]);
    assert_eq!(answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::AlreadyExists);
    let writer = execute(writer, vec![insert(6)]);
    assert_eq!(ids(&writer), [1, 3, 4, 6], "nothing is left of one that was alone");
}

#[test]
fn a_batch_that_breaks_the_commit_takes_nothing_from_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let late = "CREATE TABLE late (id INTEGER REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED)";
    let mut writer = execute(writer(&directory.path().join("a.db")), vec![Statement::new(late)]);
    let (first, mut first_answer) = job(vec![insert(1)]);
    let (broken, mut broken_answer) = job(vec![insert(2), Statement::new("INSERT INTO late VALUES (99)")]);
    let (last, mut last_answer) = job(vec![insert(3)]);
    writer.commit(vec![first, broken, last]);
    assert!(first_answer.try_recv().unwrap().is_ok() && last_answer.try_recv().unwrap().is_ok());
    assert_eq!(broken_answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ids(&writer), [1, 3]);
}

#[test]
fn a_full_database_stops_only_the_batch_that_is_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(&directory.path().join("a.db"));
    writer.connection.pragma_update(None, "max_page_count", 20).unwrap();
    let large = Statement::new("INSERT INTO t (id, text) VALUES (2, ?1)").bind("x".repeat(1 << 20));
    let (first, mut first_answer) = job(vec![insert(1)]);
    let (broken, mut broken_answer) = job(vec![large]);
    let (last, mut last_answer) = job(vec![insert(3)]);
    writer.commit(vec![first, broken, last]);
    assert!(first_answer.try_recv().unwrap().is_ok() && last_answer.try_recv().unwrap().is_ok());
    assert_eq!(broken_answer.try_recv().unwrap().unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(ids(&writer), [1, 3]);
}

#[test]
fn a_batch_that_nobody_waits_for_never_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = writer(&directory.path().join("a.db"));
    let (sender, mut queue) = mpsc::channel(4);
    let (dropped, answer) = job(vec![insert(1)]);
    drop(answer);
    let (kept, mut answer) = job(vec![insert(2)]);
    assert!(sender.try_send(dropped).is_ok() && sender.try_send(kept).is_ok());
    let first = queue.try_recv().unwrap();
    let group = gather(first, &mut queue);
    writer.commit(group);
    assert!(answer.try_recv().unwrap().is_ok());
    assert_eq!(ids(&writer), [2]);
}

#[test]
fn all_that_was_accepted_is_done_before_the_thread_ends() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory.path().join("a.db"));
    let (sender, mut queue) = mpsc::channel(4);
    let (first, mut first_answer) = job(vec![insert(1)]);
    let (last, mut last_answer) = job(vec![insert(2)]);
    assert!(sender.try_send(first).is_ok() && sender.try_send(last).is_ok());
    drop(sender);
    writer.run(&mut queue);
    assert!(first_answer.try_recv().unwrap().is_ok() && last_answer.try_recv().unwrap().is_ok());
}

#[test]
fn a_transaction_that_could_not_be_undone_is_undone_before_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory.path().join("a.db"));
    writer.connection.execute_batch("BEGIN; INSERT INTO t (id, text) VALUES (1, 'x')").unwrap();
    let writer = execute(writer, vec![insert(2)]);
    assert_eq!(ids(&writer), [2]);
}

#[test]
fn a_lock_that_another_holds_is_told_to_the_whole_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let mut writer = writer(&path);
    writer.connection.busy_timeout(Duration::ZERO).unwrap();
    let other = connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (first, mut first_answer) = job(vec![insert(1)]);
    let (last, mut last_answer) = job(vec![insert(2)]);
    writer.commit(vec![first, last]);
    for answer in [&mut first_answer, &mut last_answer] {
        let error = answer.try_recv().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::After(None)));
    }
    other.execute_batch("ROLLBACK").unwrap();
    let writer = execute(writer, vec![insert(1)]);
    assert_eq!(ids(&writer), [1]);
}
