//! Who put what into maintenance, and the file that remembers it over a restart.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lb_control::status::Maintenance;
use serde::{Deserialize, Serialize};

use super::pidfile::make_directory;

/// Name of the file in the state directory.
const FILE: &str = "maintenance.json";
/// Version of its shape.
const VERSION: u32 = 1;
/// The longest file that is read, in octets: a state for every instance there can be.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What is in maintenance.
#[derive(Debug)]
pub struct Register {
    directory: PathBuf,
    state: State,
}

/// Shape of the file, which holds the persistent part only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    version: u32,
    /// All instances, those to come included.
    all: Option<Maintenance>,
    /// By name.
    instances: BTreeMap<String, Maintenance>,
}

impl State {
    fn persistent(&self) -> Self {
        let persistent = |(_, maintenance): &(&String, &Maintenance)| maintenance.persistent;
        let instances = self.instances.iter().filter(persistent);
        Self {
            version: VERSION,
            all: self.all.clone().filter(|maintenance| maintenance.persistent),
            instances: instances.map(|(name, m)| (name.clone(), m.clone())).collect(),
        }
    }
}

impl Register {
    /// Reads what outlived the last run from a state directory. A file that cannot be read counts
    /// as none; the complaint says so.
    pub fn open(directory: &Path) -> (Self, Option<String>) {
        let path = directory.join(FILE);
        let (state, complaint) = match read(&path) {
            Ok(state) => (state, None),
            Err(reason) => {
                let complaint = format!(
                    "cannot use {}: {reason}; nothing is in maintenance. `lbctl maintenance on \
                     --persist` writes it anew",
                    path.display()
                );
                (State::default(), Some(complaint))
            }
        };
        (Self { directory: directory.to_owned(), state }, complaint)
    }

    /// Everything that is in maintenance, all instances (`None`) before single ones.
    pub fn entries(&self) -> Vec<(Option<String>, Maintenance)> {
        let all = self.state.all.iter().map(|maintenance| (None, maintenance.clone()));
        let single = self.state.instances.iter();
        all.chain(single.map(|(name, m)| (Some(name.clone()), m.clone()))).collect()
    }

    /// What was said of all instances (`None`), or of one by its name.
    pub fn of(&self, name: Option<&str>) -> Option<&Maintenance> {
        match name {
            None => self.state.all.as_ref(),
            Some(name) => self.state.instances.get(name),
        }
    }

    /// Begins or ends the maintenance of all instances (`None`) or of one. When it ends for all, it
    /// ends for single ones too.
    ///
    /// # Errors
    /// The file cannot be written; nothing has changed then.
    pub fn set(&mut self, name: Option<&str>, to: Option<Maintenance>) -> io::Result<()> {
        let mut state = self.state.clone();
        match (name, to) {
            (None, Some(maintenance)) => state.all = Some(maintenance),
            (None, None) => state = State::default(),
            (Some(name), Some(maintenance)) => {
                state.instances.insert(name.to_owned(), maintenance);
            }
            (Some(name), None) => {
                state.instances.remove(name);
            }
        }
        let (before, after) = (self.state.persistent(), state.persistent());
        if before != after {
            write(&self.directory, &after)?;
        }
        self.state = state;
        Ok(())
    }
}

fn read(path: &Path) -> Result<State, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(error) => return Err(error.to_string()),
    };
    let state: State = serde_json::from_reader(io::BufReader::new(io::Read::take(file, LONGEST)))
        .map_err(|error| error.to_string())?;
    match state.version {
        VERSION => Ok(state),
        version => Err(format!("its version is {version}, this daemon knows {VERSION}")),
    }
}

/// Writes the file so that there is a whole one at every moment, power cuts included.
fn write(directory: &Path, state: &State) -> io::Result<()> {
    make_directory(directory)?;
    let temporary = directory.join(format!("{FILE}.new"));
    let mut text = serde_json::to_vec_pretty(state)?;
    text.push(b'\n');
    // One that a power cut left behind is in the way of nobody, and may belong to nobody else.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&temporary, directory.join(FILE))).inspect_err(|_| {
        let _ = fs::remove_file(&temporary); // the first error is the one to tell
    })?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn by(who: &str, persistent: bool) -> Option<Maintenance> {
        let since = "2026-11-21T08:00:00Z".parse().unwrap();
        Some(Maintenance { by: who.to_owned(), since, persistent })
    }

    #[test]
    fn only_what_is_persistent_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("lib/lbd");
        let (mut register, complaint) = Register::open(&state);
        assert_eq!((register.entries(), complaint), (Vec::new(), None));
        register.set(Some("VI_1"), by("anna", true)).unwrap();
        register.set(Some("VI_2"), by("bert", false)).unwrap();
        assert_eq!(register.entries().len(), 2);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o755);
        let (mut register, complaint) = Register::open(&state);
        assert_eq!(complaint, None);
        assert_eq!(register.entries(), [(Some("VI_1".to_owned()), by("anna", true).unwrap())]);
        register.set(None, by("anna", true)).unwrap();
        register.set(None, None).unwrap();
        assert_eq!(Register::open(&state).0.entries(), []);
    }

    #[test]
    fn what_is_temporary_needs_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("none");
        Register::open(&state).0.set(None, by("anna", false)).unwrap();
        assert!(!state.exists());
    }

    #[test]
    fn a_broken_file_is_told_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        for broken in ["", "{", "[]", "\"\\u0000\"", r#"{"version":7,"all":null,"instances":{}}"#] {
            fs::write(dir.path().join(FILE), broken).unwrap();
            let (mut register, complaint) = Register::open(dir.path());
            assert!(complaint.unwrap().contains("nothing is in maintenance"), "{broken}");
            register.set(None, by("anna", true)).unwrap();
            assert_eq!(Register::open(dir.path()).1, None);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let occupied = dir.path().join("file");
        fs::write(&occupied, "").unwrap();
        let (mut register, _) = Register::open(&occupied);
        assert!(register.set(None, by("anna", true)).is_err());
        assert_eq!(register.entries(), []);
        register.set(None, by("anna", false)).unwrap();
        assert!(register.set(Some("VI_1"), by("anna", true)).is_err());
        assert_eq!(register.of(Some("VI_1")), None);
    }
}
