//! Builds the helper program (`helper/`), which the library carries.
//!
//! It is compiled by a direct call of the compiler: it has no dependencies, so that no second run of cargo is needed,
//! and takes about a second. cargo sees it as a program of this package, too, for its checks and for who installs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the helper's declarations of the C library and numbers of system calls hold.
const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=helper");
    println!("cargo::rerun-if-changed=src/process/helper/wire.rs");
    println!("cargo::rerun-if-changed=src/process/isolation/decode.rs");
    println!("cargo::rerun-if-changed=src/process/isolation/plan.rs");
    println!("cargo::rustc-check-cfg=cfg(helper)");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system == "linux" && ARCHITECTURES.contains(&architecture.as_str()) {
        match build() {
            Ok(()) => println!("cargo::rustc-cfg=helper"),
            Err(error) => {
                println!("cargo::error=the helper program can't be built: {error}");
            }
        }
    }
}

/// Without dynamic libraries where the C library can be had so: it starts faster, and needs nothing at run time.
fn build() -> Result<(), String> {
    let output = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?).join("helper");
    // A build that failed half way must not be taken for this one.
    if output.exists() {
        fs::remove_file(&output).map_err(|error| error.to_string())?;
    }
    compile(&output, true).or_else(|_| compile(&output, false))
}

fn compile(output: &Path, is_static: bool) -> Result<(), String> {
    let variable = |name| env::var_os(name).ok_or(format!("no {name}"));
    let mut compiler = Command::new(variable("RUSTC")?);
    compiler.arg("helper/main.rs").arg("-o").arg(output).arg("--target").arg(variable("TARGET")?);
    compiler.args(["--crate-name", "agentx_helper", "--crate-type", "bin", "--edition", "2024"]);
    compiler.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "codegen-units=1"]);
    compiler.args(["--cap-lints", "allow"]);
    compiler.arg("-C").arg(if is_static {
        "target-feature=+crt-static"
    } else {
        "target-feature=-crt-static"
    });
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        compiler.arg("-C").arg(option);
    }
    let done = compiler.output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}
