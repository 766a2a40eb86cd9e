//! Commands: their words, who runs them, and whether they can and may be run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use crate::diagnostic::{Class, Place};
use crate::model::{Script, ScriptOwner};
use crate::security;
use crate::syntax::{Line, Word, command_words};
use crate::system::FileStatus;

/// A command as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    argv: Vec<String>,
    owner: Option<NamedOwner>,
    place: Place,
}

/// The account that a command names, or why there is none.
pub(crate) type NamedOwner = Result<Owner, String>;

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(pub(crate) ScriptOwner);

/// Where bare names are searched when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Context<'_> {
    /// The command of a line that names its user too: word 1 is all of it, 2 and 3 are user and group.
    ///
    /// Without such an account the command is never run, as under keepalived; `class` is what it calls
    /// that.
    pub(crate) fn command(&mut self, line: &Line, class: Class) -> Option<Box<Command>> {
        let (words, argv) = self.command_words(line, class)?;
        let owner = match words.get(2) {
            Some(user) => {
                let hint = "a command with arguments must be one quoted word";
                let group = words.get(3).map(String::as_str);
                Some(Ok(self.owner(user, group, line.place_from(1), hint, class).ok()?))
            }
            None => self.default_owner(),
        };
        Some(Box::new(Command { argv, owner, place: line.place_from(1) }))
    }

    /// The command of a line unless there is one already: the first counts.
    pub(crate) fn first_command(
        &mut self,
        line: &Line,
        slot: &mut Option<Box<Command>>,
        class: Class,
    ) {
        let Some(first) = slot else {
            *slot = self.command(line, class);
            return;
        };
        let place = first.place;
        self.given_before(line).label(place, "the first");
    }

    /// The command of a line whose user has a keyword of its own: word 1 is all of it.
    pub(crate) fn command_alone(&mut self, line: &Line) -> Option<Box<Command>> {
        let (words, argv) = self.command_words(line, Class::General)?;
        if let Some(second) = words.get(2) {
            let message =
                format!("`{second}` and what follows it is ignored: the command is `{}`", words[1]);
            self.diags
                .note("command-words", line.place_from(1), message)
                .hint("quote a command with arguments: `\"COMMAND ARGUMENT\"`");
        }
        let owner = self.default_owner();
        Some(Box::new(Command { argv, owner, place: line.place_from(1) }))
    }

    /// The words of a line of the second grammar, and those of the command in the first of them.
    fn command_words(&mut self, line: &Line, class: Class) -> Option<(Vec<String>, Vec<String>)> {
        let words = line.command(&mut self.diags);
        let text = words.get(1).map(String::as_str).unwrap_or_default();
        let argv = command_words(text, true).unwrap_or_else(|words| {
            let message = format!("a quote in the command `{text}` is not closed");
            self.diags
                .warn("unterminated-quote", line.place_from(1), message)
                .class(Class::UnmatchedQuote);
            words
        });
        if argv.first().is_none_or(String::is_empty) {
            let message = format!("`{}` has no command", line.str(0));
            self.diags.warn("script-empty", line.place(), message).class(class);
            return None;
        }
        Some((words, argv))
    }

    /// The account of a user and perhaps a group, or the complaint that has been made.
    pub(crate) fn owner(
        &mut self,
        user: &str,
        group: Option<&str>,
        place: Place,
        hint: &str,
        class: Class,
    ) -> NamedOwner {
        let Some(account) = self.system.user(user) else {
            let message = format!("there is no user `{user}`");
            self.diags.warn("unknown-user", place, message.clone()).class(class).hint(hint);
            return Err(message);
        };
        let Some(group) = group else { return Ok(Owner(account)) };
        // A leading colon asks for the user's supplementary groups as well.
        let name = group.strip_prefix(':').unwrap_or(group);
        let Some(gid) = self.system.group(name) else {
            let message = format!("there is no group `{name}`");
            self.diags.warn("unknown-group", place, message.clone()).class(class).hint(hint);
            return Err(message);
        };
        Ok(Owner(ScriptOwner { gid, ..account }))
    }

    /// `script_user`, else the account `keepalived_script`, else the daemon's own.
    pub(crate) fn default_owner(&self) -> Option<NamedOwner> {
        let usual = || self.system.user("keepalived_script").map(|owner| Ok(Owner(owner)));
        self.script_user.clone().or_else(usual)
    }

    /// The script of a `notify*` or `quorum_*`, of whose absence keepalived says nothing.
    pub(crate) fn notify_script(&mut self, command: Option<Box<Command>>) -> Option<Arc<Script>> {
        let script = self.check(Some(command?), Class::Note)?;
        Some(Arc::new(script))
    }

    /// Finds the program and checks that it can be run, and by whom it could be replaced. `None` for
    /// one that cannot or must not run: it is disabled.
    ///
    /// `missing` says what keepalived calls a script that is missing.
    pub(crate) fn check(
        &mut self,
        command: Option<Box<Command>>,
        missing: Class,
    ) -> Option<Script> {
        let (script, able) = self.examine(*command?, missing, "is disabled");
        able.then_some(script)
    }

    /// The same for a script whose result decides something. One that cannot run is kept: it fails at
    /// every run, and tells why, so that nothing counts as healthy for want of a check.
    pub(crate) fn check_tracked(
        &mut self,
        command: Option<Box<Command>>,
        missing: Class,
    ) -> Option<Script> {
        Some(self.examine(*command?, missing, "counts as failed").0)
    }

    /// Whether a command can and may run; `consequence` is what becomes of one that cannot.
    fn examine(&mut self, command: Command, missing: Class, consequence: &str) -> (Script, bool) {
        let Command { argv, owner, place } = command;
        let mut script = Script { secure: self.globals.script_security, ..Script::new(argv) };
        let owner = match owner.transpose() {
            Ok(owner) => owner,
            // The complaint has been made.
            Err(reason) => {
                script.unusable = Some(reason);
                return (script, false);
            }
        };
        script.owner = owner.map(|Owner(owner)| owner);
        if let Some(path) = script.argv[0].strip_prefix('<') {
            script.argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), format!("<{path}")];
            return (script, true);
        }
        let name = script.argv[0].clone();
        if self.globals.script_security && owner.is_none() && self.system.own().uid == 0 {
            let reason = "there is no user `keepalived_script` to run it";
            self.diags
                .warn("script-security", place, format!("`{name}` {consequence}: {reason}"))
                .hint("create the account, or name a user after the command or with `script_user`");
            script.unusable = Some(reason.to_owned());
            return (script, false);
        }
        let runs_as = script.owner.unwrap_or_else(|| self.system.own());
        let Some(path) = self.program(&name, runs_as) else {
            let message = format!("`{name}` is not found or cannot be run by user {}", runs_as.uid);
            self.diags
                .warn("script-missing", place, message)
                .class(missing)
                .hint(format!("the script {consequence}"));
            if name.contains('/') {
                // It may be there when it is to run.
                let path = self.system.current_dir().join(&name);
                script.argv[0] = path.to_string_lossy().into_owned();
            } else {
                script.unusable = Some(format!("`{name}` was not found in PATH"));
            }
            return (script, false);
        };
        script.argv[0] = path.to_string_lossy().into_owned();
        if let Err(problem) = security::check(self.system, &path, runs_as) {
            // keepalived looks at the path without its links only.
            let resolved = self.system.resolve(&path).unwrap_or_default();
            let class = match security::check_directories(self.system, &resolved, runs_as) {
                Ok(()) => Class::Note,
                Err(_) => Class::Security,
            };
            let path = path.display();
            if self.globals.script_security {
                let message = format!("`{path}` {consequence}: {problem}");
                self.diags.warn("script-security", place, message).class(class);
                return (script, false);
            }
            self.diags.warn("script-security", place, format!("`{path}`: {problem}")).class(class);
        }
        self.globals.runs_scripts = true;
        (script, true)
    }

    /// The path of an executable file.
    fn program(&self, name: &str, runs_as: ScriptOwner) -> Option<PathBuf> {
        let runs = |path: &PathBuf| {
            self.system
                .status(path)
                .is_ok_and(|status| status.is_file && is_executable(status, runs_as))
        };
        if name.contains('/') {
            let path = self.system.current_dir().join(name);
            return Some(path).filter(runs);
        }
        let search = self.system.variable("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned());
        search
            .split(':')
            .filter(|dir| dir.starts_with('/'))
            .map(|dir| Path::new(dir).join(name))
            .find(runs)
    }

    /// keepalived says once that scripts run without its checks being binding.
    pub(crate) fn complain_of_security(&mut self) {
        if self.globals.runs_scripts && !self.globals.script_security {
            self.diags
                .warn(
                    "script-security",
                    Place::NOWHERE,
                    "scripts run, and `enable_script_security` is not set",
                )
                .class(Class::Security)
                .hint(
                    "set it in `global_defs`, so that a script that others can change is disabled",
                );
        }
    }

    /// `script_user` and `user`: a user and perhaps a group.
    pub(crate) fn owner_of(&mut self, line: &Line) -> NamedOwner {
        let group = line.word(2).map(|word: Word<'_>| word.text.to_owned());
        self.owner(
            line.str(1),
            group.as_deref(),
            line.place_from(1),
            "create the account first",
            Class::General,
        )
    }
}

impl Command {
    /// The same command, run by somebody else.
    pub(crate) fn owned_by(mut self: Box<Self>, owner: Option<NamedOwner>) -> Box<Self> {
        self.owner = owner.or(self.owner);
        self
    }
}

fn is_executable(status: FileStatus, runs_as: ScriptOwner) -> bool {
    let bit = match runs_as {
        ScriptOwner { uid: 0, .. } => 0o111,
        ScriptOwner { uid, .. } if uid == status.uid => 0o100,
        ScriptOwner { gid, .. } if gid == status.gid => 0o010,
        _ => 0o001,
    };
    status.mode & bit != 0
}
