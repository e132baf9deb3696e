// SPDX-License-Identifier: GPL-2.0
//! `tools/steps.sh`, which runs the steps of CI: what it counts, that a failure
//! does not end the run, and that nothing outlives it.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Starts a script that has `steps.sh` and keeps its logs in `dir`.
fn start(dir: &TempDir, script: &str) -> Child {
    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../steps.sh");
    let logs = dir.path().join("logs");
    let script = format!(
        "set -uo pipefail; . {}; steps_begin {}; {script}",
        steps.display(),
        logs.display()
    );
    Command::new("bash")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs it to its end; whether it succeeded, and what it printed.
fn run(script: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let output = start(&dir, script).wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), printed)
}

fn last_line(printed: &str) -> &str {
    printed.lines().last().unwrap()
}

#[test]
fn totals_of_all_steps_add_up() {
    let (succeeded, printed) = run("step a echo '3 passed, 0 failed, 1 skipped'
         step b true
         step c echo '2 passed, 0 failed, 0 skipped'
         steps_end");
    assert_eq!(last_line(&printed), "5 passed, 0 failed, 1 skipped");
    assert!(succeeded);
}

#[test]
fn a_step_that_fails_counts_and_the_rest_runs() {
    let (succeeded, printed) = run("step a false
         step b sh -c 'echo 4 passed, 2 failed, 0 skipped; echo make: Error; exit 2'
         step c sh -c 'echo 1 passed, 0 failed, 0 skipped; exit 1'
         step d echo here
         steps_end");
    assert_eq!(last_line(&printed), "5 passed, 4 failed, 0 skipped");
    assert!(printed.contains("\nhere\n"));
    assert!(!succeeded);
}

#[test]
fn lanes_run_beside_each_other_and_their_output_does_not_mix() {
    // Each waits for the other.
    let (succeeded, printed) = run(
        "one() { step a sh -c \"echo a1; touch $steps/a; until [ -e $steps/b ]; do sleep 0.05; done; echo a2\"; }
         two() { step b sh -c \"echo b1; touch $steps/b; until [ -e $steps/a ]; do sleep 0.05; done; echo b2\"; }
         lanes one two
         steps_end",
    );
    assert!(succeeded);
    assert!(printed.contains("\na1\na2\n"), "{printed}");
    assert!(printed.contains("\nb1\nb2\n"), "{printed}");
}

#[test]
fn lanes_share_what_is_enqueued() {
    // The first lane is busy until the last step of the queue runs in the other.
    let (succeeded, printed) = run("enqueue b sh -c 'echo \"2 passed, 0 failed, 0 skipped\"'
         enqueue c false
         enqueue d touch $steps/d
         one() { step a sh -c \"until [ -e $steps/d ]; do sleep 0.05; done\"; }
         two() { true; }
         lanes one two
         steps_end");
    assert!(!succeeded);
    assert_eq!(last_line(&printed), "2 passed, 1 failed, 0 skipped");
    let ran = |name| {
        printed
            .lines()
            .filter(|line| line.starts_with(name))
            .count()
    };
    assert_eq!(["a ", "b ", "c ", "d "].map(ran), [1; 4], "{printed}");
}

#[test]
fn a_lane_that_breaks_off_fails() {
    let (succeeded, printed) = run("one() { step a true; exit 3; }; lanes one; steps_end");
    assert_eq!(last_line(&printed), "0 passed, 1 failed, 0 skipped");
    assert!(!succeeded);
}

#[test]
fn an_interrupt_ends_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(
        &dir,
        "one() { step a sh -c 'sleep 600 & echo $!; wait'; }; lanes one; steps_end",
    );
    let log = dir.path().join("logs/a.log");
    let sleeper = wait_for(|| fs::read_to_string(&log).ok()?.trim().parse::<u32>().ok());
    let process = PathBuf::from(format!("/proc/{sleeper}"));
    assert!(process.exists());

    let pid = child.id().to_string();
    assert!(Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap()
        .success());
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(143), None));
    wait_for(|| (!process.exists()).then_some(()));
}

/// Waits until there is an answer.
fn wait_for<T>(answer: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(answer) = answer() {
            return answer;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing came of it in 20 seconds");
}
