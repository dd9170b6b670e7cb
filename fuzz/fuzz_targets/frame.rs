//! A text frame of a client of the server, in each form of the protocol: it is understood, or answered with what is wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // A WebSocket gives nothing else.
    let Ok(text) = std::str::from_utf8(input) else { return };
    agentx_server::fuzz::frame(text);
});
