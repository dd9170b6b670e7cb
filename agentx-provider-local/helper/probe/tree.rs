//! What all commands together may use. The limits that are tried are small ones: much less than is taken here.

use std::{
    fs,
    hint::black_box,
    io::Read,
    time::{Duration, Instant},
};

use super::{
    Attempt, Outcome,
    call::{self, Errno},
    pipe,
};

/// More than the [`Isolation::probe`] of the host allows.
const MEMORY: usize = 128 << 20;
const PROCESSES: usize = 64;
/// A quarter of it is more, which a machine that is busy otherwise may not have to give either.
const BUSY: Duration = Duration::from_millis(500);

pub(super) const ATTEMPTS: &[Attempt] = &[
    ("memory", |_| {
        let taken = black_box(vec![1_u8; MEMORY]);
        Ok(format!("{} bytes", taken.len()))
    }),
    ("processes", |_| many()),
    ("processor", |_| {
        let since = Instant::now();
        while since.elapsed() < BUSY {}
        let used = processor_time()?;
        if used * 4 > BUSY { Ok(format!("{} ms", used.as_millis())) } else { Err(Errno::NOTHING) }
    }),
];

/// Processes that live at the same time, until this one ends.
fn many() -> Outcome {
    let (mut reader, writer) = pipe()?;
    for _ in 0..PROCESSES {
        if call::fork()? == 0 {
            drop(writer);
            // The end comes when nobody else holds the pipe.
            let _ = reader.read(&mut [0]);
            call::exit(0);
        }
    }
    Ok(format!("{PROCESSES} processes"))
}

/// What this process has used, in hundredths of a second.
fn processor_time() -> Result<Duration, Errno> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The program's name may hold anything but a last bracket.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}
