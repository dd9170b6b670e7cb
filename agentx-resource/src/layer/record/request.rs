//! Questions, as they are compared.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    ExecRequest, Invocation, ListOptions, MkdirOptions, OnExceed, OutputLimit, ReadOptions, ReadRange,
    RemoveOptions, ResourceLimits, ResourcePath, Signal, StatOptions, Stdin, TerminalSize, TransferOptions,
    WriteMode, WriteOptions, cassette::Recordable,
};

/// What a value reads that was not recorded.
pub(super) const WITHHELD: &str = "[withheld]";

/// A question about `path`, with what is not as usual.
fn about<const N: usize>(path: &ResourcePath, options: [(&str, Value); N]) -> Value {
    let mut fields = Map::new();
    fields.insert("path".to_owned(), Value::from(path.as_str()));
    fields.extend(unusual(options));
    Value::Object(fields)
}

fn unusual<const N: usize>(options: [(&str, Value); N]) -> impl Iterator<Item = (String, Value)> {
    let there = options.into_iter().filter(|(_, value)| !value.is_null() && *value != false);
    there.map(|(key, value)| (key.to_owned(), value))
}

pub(super) fn read(path: &ResourcePath, options: &ReadOptions) -> Value {
    let ReadOptions { range, if_match } = options;
    let range = match range {
        None => Value::Null,
        Some(ReadRange::Bounded(range)) => json!([range.start, range.end]),
        Some(ReadRange::From(start)) => json!({"from": start}),
        Some(ReadRange::Last(count)) => json!({"last": count}),
    };
    let version = if_match.as_ref().map_or(Value::Null, |version| Value::from(version.as_str()));
    about(path, [("range", range), ("if_match", version)])
}

pub(super) fn write(path: &ResourcePath, options: &WriteOptions, data: Value) -> Value {
    let WriteOptions { mode, create_parents } = options;
    let mode = match mode {
        WriteMode::Overwrite => Value::Null,
        WriteMode::CreateNew => Value::from("create new"),
        WriteMode::Append => Value::from("append"),
        WriteMode::IfMatch(version) => json!({"if_match": version.as_str()}),
    };
    about(path, [("mode", mode), ("create_parents", Value::from(*create_parents)), ("data", data)])
}

pub(super) fn stat(path: &ResourcePath, options: &StatOptions) -> Value {
    about(path, [("no_follow", Value::from(!options.follow))])
}

pub(super) fn list(path: &ResourcePath, options: &ListOptions) -> Value {
    about(path, [("recursive", Value::from(options.recursive))])
}

pub(super) fn mkdir(path: &ResourcePath, options: &MkdirOptions) -> Value {
    about(path, [("recursive", Value::from(options.recursive))])
}

pub(super) fn rm(path: &ResourcePath, options: &RemoveOptions) -> Value {
    let RemoveOptions { recursive, force } = options;
    about(path, [("recursive", Value::from(*recursive)), ("force", Value::from(*force))])
}

pub(super) fn transfer(from: &ResourcePath, to: &ResourcePath, options: &TransferOptions) -> Value {
    let mut fields = Map::new();
    fields.insert("from".to_owned(), Value::from(from.as_str()));
    fields.insert("to".to_owned(), Value::from(to.as_str()));
    fields.extend(unusual([("create_new", Value::from(options.create_new))]));
    Value::Object(fields)
}

/// A command. The values of variables that are not among `shown` may be secrets.
pub(super) fn exec(request: &ExecRequest, shown: &BTreeSet<String>) -> Value {
    let ExecRequest { invocation, cwd, env, stdin, timeout, idle_timeout, limits, terminal, output_limit } =
        request;
    let (script, program, args) = match invocation {
        Invocation::Shell { script } => (Value::from(script.as_str()), Value::Null, Value::Null),
        Invocation::Program { program, args } => {
            (Value::Null, Value::from(program.as_str()), Value::from(args.clone()))
        }
    };
    let env: Map<_, _> = env
        .iter()
        .map(|(key, value)| {
            (key.clone(), Value::from(if shown.contains(key) { value.as_str() } else { WITHHELD }))
        })
        .collect();
    let stdin = match stdin {
        Stdin::Null => Value::Null,
        Stdin::Piped => json!({"piped": true}),
        Stdin::Bytes(bytes) => bytes.to_record(),
    };
    let OutputLimit { head, tail, on_exceed } = output_limit;
    let output = match on_exceed {
        _ if *output_limit == OutputLimit::default() => Value::Null,
        OnExceed::Truncate => json!({"head": head, "tail": tail}),
        OnExceed::Kill => json!({"head": head, "tail": tail, "kill": true}),
    };
    let fields = [
        ("script", script),
        ("program", program),
        ("args", args),
        ("cwd", Value::from(cwd.as_str())),
        ("env", if env.is_empty() { Value::Null } else { Value::Object(env) }),
        ("stdin", stdin),
        ("timeout", time(*timeout)),
        ("idle_timeout", time(*idle_timeout)),
        ("limits", resource_limits(limits)),
        ("terminal", terminal.map_or(Value::Null, size)),
        ("output", output),
    ];
    Value::Object(unusual(fields).collect())
}

/// Nanoseconds.
fn time(duration: Option<Duration>) -> Value {
    duration.map_or(Value::Null, |time| Value::from(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

fn resource_limits(limits: &ResourceLimits) -> Value {
    let ResourceLimits { memory, cpu_time, file_size, open_files, processes } = *limits;
    if limits.is_none() {
        return Value::Null;
    }
    json!({
        "memory": memory, "cpu_time": time(cpu_time), "file_size": file_size, "open_files": open_files,
        "processes": processes,
    })
}

pub(super) fn size(size: TerminalSize) -> Value {
    json!({"columns": size.columns, "rows": size.rows})
}

pub(super) fn signal(signal: Signal) -> &'static str {
    match signal {
        Signal::Hangup => "hangup",
        Signal::Interrupt => "interrupt",
        Signal::Quit => "quit",
        Signal::Kill => "kill",
        Signal::Terminate => "terminate",
        Signal::User1 => "user 1",
        Signal::User2 => "user 2",
        Signal::Stop => "stop",
        Signal::Continue => "continue",
    }
}
