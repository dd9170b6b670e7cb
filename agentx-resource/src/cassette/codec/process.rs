use serde_json::{Value, json};

use super::{Fields, Recordable, unreadable};
use crate::{ExecEvent, ExitStatus, OutputStream, ProcessCapabilities, Result};

impl Recordable for ExitStatus {
    fn to_record(&self) -> Value {
        match self {
            Self::Code(code) => json!({"code": code}),
            Self::Signal(signal) => json!({"signal": signal}),
            Self::TimedOut => Value::from("timed out"),
            Self::Killed => Value::from("killed"),
            Self::OutputLimit => Value::from("output limit"),
            Self::OutOfMemory => Value::from("out of memory"),
            Self::Lost => Value::from("lost"),
        }
    }

    fn from_record(record: Value) -> Result<Self> {
        let number = |key: &str| i32::try_from(record.get(key)?.as_i64()?).ok();
        match record.as_str() {
            Some("timed out") => Ok(Self::TimedOut),
            Some("killed") => Ok(Self::Killed),
            Some("output limit") => Ok(Self::OutputLimit),
            Some("out of memory") => Ok(Self::OutOfMemory),
            Some("lost") => Ok(Self::Lost),
            _ => (number("code").map(Self::Code))
                .or_else(|| number("signal").map(Self::Signal))
                .ok_or_else(|| unreadable("exit status")),
        }
    }
}

impl Recordable for ExecEvent {
    fn to_record(&self) -> Value {
        match self {
            Self::Stdout(bytes) => json!({"stdout": bytes.to_record()}),
            Self::Stderr(bytes) => json!({"stderr": bytes.to_record()}),
            Self::Truncated { stream: OutputStream::Stdout, dropped } => json!({"stdout_dropped": dropped}),
            Self::Truncated { stream: OutputStream::Stderr, dropped } => json!({"stderr_dropped": dropped}),
            Self::Exited(status) => json!({"exited": status.to_record()}),
        }
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("event of a command", record);
        if let Some(bytes) = fields.read_if("stdout")? {
            return Ok(Self::Stdout(bytes));
        }
        if let Some(bytes) = fields.read_if("stderr")? {
            return Ok(Self::Stderr(bytes));
        }
        if let Some(dropped) = fields.number_if("stdout_dropped")? {
            return Ok(Self::Truncated { stream: OutputStream::Stdout, dropped });
        }
        if let Some(dropped) = fields.number_if("stderr_dropped")? {
            return Ok(Self::Truncated { stream: OutputStream::Stderr, dropped });
        }
        Ok(Self::Exited(fields.read("exited")?))
    }
}

impl Recordable for ProcessCapabilities {
    fn to_record(&self) -> Value {
        let Self { root, shell, live_stdin, signals, limits, terminal } = self;
        json!({
            "root": root, "shell": shell, "live_stdin": live_stdin, "signals": signals, "limits": limits,
            "terminal": terminal,
        })
    }

    fn from_record(record: Value) -> Result<Self> {
        let mut fields = Fields::of("description of a process", record);
        Ok(Self {
            root: fields.text("root")?,
            shell: fields.is("shell"),
            live_stdin: fields.is("live_stdin"),
            signals: fields.is("signals"),
            limits: fields.is("limits"),
            terminal: fields.is("terminal"),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_a_command_tells_comes_back_as_it_was() {
        let ends = [
            ExitStatus::Code(-3),
            ExitStatus::Signal(9),
            ExitStatus::TimedOut,
            ExitStatus::Killed,
            ExitStatus::OutputLimit,
            ExitStatus::OutOfMemory,
            ExitStatus::Lost,
        ];
        let dropped = |stream| ExecEvent::Truncated { stream, dropped: 5 };
        let events = [
            ExecEvent::Stdout(Bytes::from_static(b"a\xff")),
            ExecEvent::Stderr(Bytes::from_static(b"")),
            dropped(OutputStream::Stdout),
            dropped(OutputStream::Stderr),
        ];
        for event in events.into_iter().chain(ends.map(ExecEvent::Exited)) {
            assert_eq!(ExecEvent::from_record(event.to_record()).unwrap(), event);
        }
        let capabilities = ProcessCapabilities::new("/w").with_shell().with_signals();
        assert_eq!(ProcessCapabilities::from_record(capabilities.to_record()).unwrap(), capabilities);
    }
}
