//! `lbctl lab` as its user sees it. Where labs are not possible each test says so and passes.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

type Test = Result<(), Box<dyn Error>>;

const WEB: &str = r#"
switches = ["lan"]

[[host]]
name = "client"
interface = [{ name = "eth0", switch = "lan", addresses = ["192.0.2.1/24"] }]

[[host]]
name = "web"
interface = [{ name = "eth0", switch = "lan", addresses = ["192.0.2.2/24"] }]
program = [{ serve = "192.0.2.2:80" }]

[[host]]
name = "idle"
interface = [{ name = "eth0", switch = "lan", addresses = ["192.0.2.3/24"] }]
"#;

const PLAY: &str = r#"
[play]
client = "client"
vip = "192.0.2.2:80"

[[play.fault]]
kind = "kill"
target = "idle"
"#;

fn lbctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    command.arg("lab").args(arguments);
    command
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Whether the machine refused, with a message.
fn refused(output: &Output) -> bool {
    let said = text(&output.stderr);
    let refused = said.contains("cannot make network namespaces");
    if refused {
        lb_skip::skip(said.trim());
    }
    refused
}

fn topology(dir: &Path, content: &str) -> Result<String, std::io::Error> {
    let file = dir.join("lab.toml");
    fs::write(&file, content)?;
    Ok(file.display().to_string())
}

#[test]
fn the_report_is_one_json_object() -> Test {
    let dir = tempfile::tempdir()?;
    let output = lbctl(&[&topology(dir.path(), &format!("{WEB}{PLAY}"))?, "--json"]).output()?;
    if refused(&output) {
        return Ok(());
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(report["version"], 1);
    assert_eq!((&report["url"], &report["lost"]), (&"http://192.0.2.2:80/".into(), &0.into()));
    assert_eq!(report["sent"], report["answered_by"]["web"]);
    let fault = &report["faults"][0];
    assert_eq!(
        (&fault["kind"], &fault["target"], &fault["lost"]),
        (&"kill".into(), &"idle".into(), &0.into())
    );
    assert_eq!((&fault["outage_ms"], &fault["recovered"]), (&0.0.into(), &true.into()));
    assert_eq!((&fault["master_before"], &fault["master_after"]), (&"web".into(), &"web".into()));
    assert!(fault["served_before"]["web"].as_u64() > Some(10), "{fault}");
    assert!(fault["served_after"]["web"].as_u64() > Some(10), "{fault}");
    Ok(())
}

#[test]
fn the_terminal_shows_the_same_within_80_columns() -> Test {
    let dir = tempfile::tempdir()?;
    let output = lbctl(&[&topology(dir.path(), &format!("{WEB}{PLAY}"))?]).output()?;
    if refused(&output) {
        return Ok(());
    }
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for part in [
        "web     192.0.2.2",
        "web server",
        "web holds the VIP",
        "kill idle",
        "outage 0 ms",
        "0 lost",
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    let wide = said.lines().skip(1).find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    assert!(!said.contains('\u{1b}'), "no colour without a terminal");
    Ok(())
}

#[test]
fn a_program_that_fails_is_shown_with_its_last_words() -> Test {
    let dir = tempfile::tempdir()?;
    let broken = r#"program = [{ run = ["sh", "-c", "echo I give up; exit 9"] }]"#;
    let output = lbctl(&[&topology(
        dir.path(),
        &format!("{WEB}{broken}{PLAY}").replace("2.2:80\"\n\n[[p", "2.9:80\"\n\n[[p"),
    )?])
    .output()?;
    if refused(&output) {
        return Ok(());
    }
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("on `idle` has failed (exit status: 9)"), "{said}");
    assert!(said.ends_with("I give up\n"), "{said}");
    Ok(())
}

#[test]
fn mistakes_are_answered_with_the_remedy() -> Test {
    let dir = tempfile::tempdir()?;
    let file = topology(
        dir.path(),
        &WEB.replace(
            "switch = \"lan\", addresses = [\"192.0.2.3",
            "switch = \"wan\", addresses = [\"192.0.2.3",
        ),
    )?;
    let output = lbctl(&[&file]).output()?;
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "lbctl: {file}:15: host `idle`: no switch `wan`; declare it in `switches`, which has `lan`\n"
    );
    assert_eq!(text(&output.stderr), expected);

    let name = format!("none-{}", std::process::id());
    let output = lbctl(&["list", "--name", &name]).output()?;
    assert_eq!(output.status.code(), Some(1));
    let remedy = format!("is held; start one with `lbctl lab --hold --name {name}`\n");
    assert!(text(&output.stderr).ends_with(&remedy));
    Ok(())
}

/// A lab that is held, killed with SIGKILL at the end.
struct Held(Child);

impl Held {
    /// Waits until it can be played with; `None` where labs are not possible.
    fn start(file: &str, name: &str) -> Result<Option<Self>, std::io::Error> {
        let mut child = lbctl(&[file, "--hold", "--name", name])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or(std::io::ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        let held = loop {
            line.clear();
            if said.read_line(&mut line)? == 0 || line.starts_with("lbctl: ") {
                lb_skip::skip(line.trim());
                break None;
            }
            if line.contains(" start ") {
                break Some(());
            }
        };
        Ok(held.map(|()| Self(child)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_held_lab_is_played_with_and_dies_with_its_owner() -> Test {
    let dir = tempfile::tempdir()?;
    let name = format!("test-{}", std::process::id());
    let file = topology(dir.path(), WEB)?;
    let Some(held) = Held::start(&file, &name)? else { return Ok(()) };
    let ask = |words: &[&str]| -> Result<(Option<i32>, String), std::io::Error> {
        let output = lbctl(&[&["--name", name.as_str()], words].concat()).output()?;
        Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
    };
    let (code, listed) = ask(&["list"])?;
    assert_eq!(code, Some(0), "{listed}");
    assert!(listed.contains("192.0.2.3") && listed.contains("web server"), "{listed}");

    assert_eq!(
        ask(&["exec", "web", "sh", "-c", "hostname; exit 7"])?,
        (Some(7), "web\n".to_owned())
    );
    let carrier = || ask(&["exec", "web", "cat", "/sys/class/net/eth0/carrier"]);
    assert_eq!(carrier()?.1, "1\n");
    assert_eq!(ask(&["cut", "web", "eth0"])?.0, Some(0));
    assert_eq!(carrier()?.1, "0\n");
    assert_eq!(ask(&["mend", "web", "eth0"])?.0, Some(0));
    assert_eq!(carrier()?.1, "1\n");

    assert_eq!(ask(&["kill", "idle"])?.0, Some(0));
    assert!(ask(&["list"])?.1.contains("idle    down"));
    assert_eq!(ask(&["exec", "idle", "true"])?.1, "lbctl: host `idle` is down; start it first\n");
    assert_eq!(ask(&["mend"])?.0, Some(0));
    assert_eq!(ask(&["exec", "idle", "true"])?, (Some(0), String::new()));
    assert!(
        ask(&["kill", "nobody"])?.1.starts_with("lbctl: no host `nobody` in this lab; there are ")
    );

    let again = lbctl(&[&file, "--hold", "--name", &name]).output()?;
    assert!(text(&again.stderr).contains("is held already"));

    let mut sleeper =
        lbctl(&["--name", &name, "exec", "web", "sh", "-c", "echo up; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()?;
    let mut line = String::new();
    BufReader::new(sleeper.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(line, "up\n");
    drop(held);
    // The command in the host was killed with it, whatever its owner's end was.
    lb_lab::wait_until("the end of the command", Duration::from_secs(10), || {
        sleeper.try_wait().is_ok_and(|status| status.is_some())
    })?;
    assert!(ask(&["list"])?.1.contains("is held; start one"));
    Ok(())
}
