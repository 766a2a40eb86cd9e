//! What the types of a topology do not say: names and references.

use std::collections::BTreeSet;

use super::play::MASTER;
use super::{HostSpec, Topology, TopologyError};
use crate::error::list;

/// A complaint and the place in the tree it is about.
pub(super) struct Fault {
    pub(super) path: Vec<Step>,
    pub(super) message: String,
}

/// One step from the root of the tree towards a place in it.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

impl Topology {
    /// Checks what the types do not say: names and references.
    ///
    /// # Errors
    /// The first thing that is wrong, without a line.
    pub fn check(&self) -> Result<(), TopologyError> {
        self.validate().map_err(|fault| TopologyError {
            file: None,
            line: None,
            message: fault.message,
        })
    }

    pub(super) fn validate(&self) -> Result<(), Fault> {
        let mut switches = BTreeSet::new();
        for (n, name) in self.switches.iter().enumerate() {
            let at = || vec![Step::Key("switches"), Step::Index(n)];
            check_name("switch", name, 15).map_err(|message| Fault { path: at(), message })?;
            if !switches.insert(name.as_str()) {
                return Err(Fault {
                    path: at(),
                    message: format!("switch `{name}` is declared twice; drop one"),
                });
            }
        }
        let mut hosts = BTreeSet::new();
        for (n, host) in self.hosts.iter().enumerate() {
            let host_at = [Step::Key("host"), Step::Index(n)];
            let fault = |rest: &[Step], message: String| Fault {
                path: host_at.iter().chain(rest).copied().collect(),
                message,
            };
            let name = [Step::Key("name")];
            check_name("host", &host.name, 63).map_err(|message| fault(&name, message))?;
            if !hosts.insert(host.name.as_str()) {
                return Err(fault(
                    &name,
                    format!("two hosts are called `{}`; rename one", host.name),
                ));
            }
            host.validate(&switches).map_err(|inner| {
                fault(&inner.path, format!("host `{}`: {}", host.name, inner.message))
            })?;
        }
        let Some(play) = &self.play else { return Ok(()) };
        let known = |path: Vec<Step>, name: &str| {
            if hosts.contains(name) {
                return Ok(());
            }
            Err(Fault { path, message: format!("no host `{name}`; there are {}", list(&hosts)) })
        };
        known(vec![Step::Key("play"), Step::Key("client")], &play.client)?;
        if play.interval_ms == 0 {
            return Err(Fault {
                path: vec![Step::Key("play"), Step::Key("interval-ms")],
                message: "an interval of 0 ms is no interval; use 1 or more".to_owned(),
            });
        }
        for (n, fault) in play.faults.iter().enumerate() {
            if fault.target != MASTER {
                known(
                    vec![
                        Step::Key("play"),
                        Step::Key("fault"),
                        Step::Index(n),
                        Step::Key("target"),
                    ],
                    &fault.target,
                )?;
            }
        }
        Ok(())
    }
}

impl HostSpec {
    fn validate(&self, switches: &BTreeSet<&str>) -> Result<(), Fault> {
        let mut interfaces = BTreeSet::new();
        for (n, interface) in self.interfaces.iter().enumerate() {
            let at = |key| vec![Step::Key("interface"), Step::Index(n), Step::Key(key)];
            check_name("interface", &interface.name, 15)
                .map_err(|message| Fault { path: at("name"), message })?;
            if interface.name == "lo" || !interfaces.insert(interface.name.as_str()) {
                let message = format!(
                    "there is an interface `{}` already; choose another name",
                    interface.name
                );
                return Err(Fault { path: at("name"), message });
            }
            if !switches.contains(interface.switch.as_str()) {
                let message = format!(
                    "no switch `{}`; declare it in `switches`, which has {}",
                    interface.switch,
                    list(switches)
                );
                return Err(Fault { path: at("switch"), message });
            }
        }
        for (n, file) in self.files.iter().enumerate() {
            let fault = |key, message: &str| Fault {
                path: vec![Step::Key("file"), Step::Index(n), Step::Key(key)],
                message: format!("file `{}`: {message}", file.path.display()),
            };
            if !file.path.is_absolute() {
                return Err(fault("path", "give an absolute path"));
            }
            if file.text.is_some() == file.from.is_some() {
                return Err(fault(
                    "path",
                    "give its content in `text`, or the file that has it in `from`",
                ));
            }
        }
        for (n, program) in self.programs.iter().enumerate() {
            if program.run.is_empty() != program.serve.is_some() {
                return Err(Fault {
                    path: vec![Step::Key("program"), Step::Index(n)],
                    message: "a program needs a command in `run`, or an address in `serve` for the built-in server".to_owned(),
                });
            }
        }
        for (n, dir) in self.private.iter().enumerate() {
            if !dir.is_absolute() {
                return Err(Fault {
                    path: vec![Step::Key("private"), Step::Index(n)],
                    message: format!(
                        "private directory `{}`: give an absolute path",
                        dir.display()
                    ),
                });
            }
        }
        Ok(())
    }
}

fn check_name(what: &str, name: &str, most: usize) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    if name.is_empty()
        || name.len() > most
        || !name.chars().all(good)
        || name.starts_with(['-', '.'])
    {
        return Err(format!(
            "`{name}` cannot name a {what}; use 1 to {most} letters, digits and `-`"
        ));
    }
    if what == "host" && name == MASTER {
        return Err(format!(
            "`{MASTER}` stands for the holder of the VIP; give the host another name"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Topology::parse(text).unwrap_err().to_string()
    }

    const HEAD: &str = "switches = [\"lan\", \"back\"]\n[[host]]\nname = \"a\"\n";

    #[test]
    fn errors_name_the_line_and_the_remedy() {
        for (text, expected) in [
            (
                "interface = [\n  { name = \"eth0\", switch = \"bakc\" },\n]",
                "line 5: host `a`: no switch `bakc`; declare it in `switches`, which has `back` and `lan`",
            ),
            (
                "interface = [{ name = \"eth0\", switch = \"lan\" },\n{ name = \"eth0\", switch = \"lan\" }]",
                "line 5: host `a`: there is an interface `eth0` already; choose another name",
            ),
            ("[[host]]\nname = \"a\"", "line 5: two hosts are called `a`; rename one"),
            (
                "[[host]]\nname = \"a b\"",
                "line 5: `a b` cannot name a host; use 1 to 63 letters, digits and `-`",
            ),
            (
                "[[host.program]]\nenv = { A = \"b\" }",
                "line 4: host `a`: a program needs a command in `run`, or an address in `serve` for the built-in server",
            ),
            (
                "file = [{ path = \"etc/x\", text = \"\" }]",
                "line 4: host `a`: file `etc/x`: give an absolute path",
            ),
            (
                "file = [{ path = \"/etc/x\" }]",
                "line 4: host `a`: file `/etc/x`: give its content in `text`, or the file that has it in `from`",
            ),
            ("[play]\nclient = \"c\"\nvip = \"10.0.0.1:80\"", "line 5: no host `c`; there are `a`"),
            (
                "[play]\nclient = \"a\"\nvip = \"10.0.0.1:80\"\n[[play.fault]]\nkind = \"kill\"\ntarget = \"b\"",
                "line 9: no host `b`; there are `a`",
            ),
            (
                "interface = [{ name = \"eth0\", switch = \"lan\", addresses = [\"10.0.0.1\"] }]",
                "line 4: `10.0.0.1` is not an address with its prefix length, such as 10.0.0.1/24",
            ),
        ] {
            assert_eq!(refusal(&format!("{HEAD}{text}")), expected);
        }
        let unknown = refusal(&format!("{HEAD}adress = 1"));
        assert!(unknown.starts_with("line 4: unknown field `adress`"), "{unknown}");
        assert!(refusal("switches = [").starts_with("line 1: "));
        assert!(
            refusal("switches = [\"lan\",\n\"lan\"]")
                .starts_with("line 2: switch `lan` is declared twice")
        );
    }
}
