//! That the measurement of scheduling runs through: what it finds is judged by nobody here.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::process::Command;

#[test]
fn pods_are_placed_and_run_by_agents_beside_the_store() {
    // Proves on a small scale that nodes register, pods are placed with the store in the process, and
    // all of them come to run; and the same without agents.
    let run = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_benches"))
            .args(["schedule", "--nodes", "20", "--pods", "60", "--workloads", "spread"])
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complaints}");
        said
    };
    let said = run(&[]);
    assert!(said.contains("pods/s placed") && said.contains("all Running after"), "{said}");
    assert!(run(&["--without-agents"]).contains("no agents"));
}
