//! Command lines of ucarp.

use super::Import;
use super::output::{Instance, Vip};
use super::words::{self, Args, Word};
use crate::source::{FileId, Source, Span};

/// An option: its letter, its name, and whether it has a value.
type Known = (char, &'static str, bool);

const OPTIONS: [Known; 23] = [
    ('i', "interface", true),
    ('s', "srcip", true),
    ('m', "mcastip", true),
    ('v', "vhid", true),
    ('p', "pass", true),
    ('o', "passfile", true),
    ('P', "preempt", false),
    ('n', "neutral", false),
    ('a', "addr", true),
    ('b', "advbase", true),
    ('k', "advskew", true),
    ('u', "upscript", true),
    ('d', "downscript", true),
    ('r', "deadratio", true),
    ('z', "shutdown", false),
    ('B', "daemonize", false),
    ('D', "debug", false),
    ('f', "facility", true),
    ('x', "xparam", true),
    ('S', "ignoreifstate", false),
    ('M', "nomcast", false),
    ('h', "help", false),
    ('V', "version", false),
];

/// Reads a file with a command on each line.
pub(super) fn read(import: &mut Import<'_>, file: FileId, source: &Source) {
    for line in words::lines(file, source.text(), 0) {
        let is_ucarp = |word: &Word| word.text.rsplit('/').next() == Some("ucarp");
        let after = line.iter().position(is_ucarp).map(|at| at + 1);
        match after.or(line[0].text.starts_with('-').then_some(0)) {
            Some(start) => {
                let span = line[0].span.to(line[line.len() - 1].span);
                command(import, &line[start..], span);
            }
            None => import.dropped(&line[0], "the line is no command of ucarp"),
        }
    }
}

/// An option as it is given.
struct Given<'w> {
    word: &'w Word,
    option: char,
    value: String,
}

/// The options of a command, in their order; what is none is said.
fn options<'w>(import: &mut Import<'_>, words: &'w [Word]) -> Vec<Given<'w>> {
    let mut given = Vec::new();
    let mut args = Args::new(words);
    while let Some(word) = args.next() {
        let mut take = |import: &mut Import<'_>, known: Option<&Known>, glued: Option<&str>| {
            let Some((option, _, has_value)) = known else {
                import.dropped(word, "ucarp has no such option");
                return;
            };
            let value = match (has_value, glued) {
                (false, _) => Some(String::new()),
                (true, Some(glued)) => Some(glued.to_owned()),
                (true, None) => args.next().map(|value| value.text.clone()),
            };
            match value {
                Some(value) => given.push(Given { word, option: *option, value }),
                None => import.dropped(word, "it lacks its value"),
            }
        };
        if let Some(long) = word.text.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            // The start of a name is enough, if it is that of one only.
            let mut known = OPTIONS.iter().filter(|(_, known, _)| known.starts_with(name));
            let exact = OPTIONS.iter().find(|(_, known, _)| *known == name);
            let only = known.next().filter(|_| known.next().is_none());
            take(import, exact.or(only), value);
        } else if let Some(letters) = word.text.strip_prefix('-') {
            for (at, letter) in letters.char_indices() {
                let known = OPTIONS.iter().find(|(option, ..)| *option == letter);
                let rest = &letters[at + letter.len_utf8()..];
                take(import, known, Some(rest).filter(|rest| !rest.is_empty()));
                if known.is_none_or(|(_, _, has_value)| *has_value) {
                    break;
                }
            }
        } else if word.text != "&" {
            import.dropped(word, "it is no option");
        }
    }
    given
}

/// What runs when the state changes.
#[derive(Default)]
struct Scripts {
    up: Option<String>,
    down: Option<String>,
    parameter: Option<String>,
    at_shutdown: bool,
}

fn command(import: &mut Import<'_>, words: &[Word], span: Span) {
    let mut instance = Instance::new(String::new(), span);
    let mut scripts = Scripts::default();
    let mut interface = None;
    for Given { word, option, value } in options(import, words) {
        let number = |import: &mut Import<'_>, least, most| {
            let value = Word { text: value.clone(), span: word.span };
            import.number(word, Some(&value), least, most).map(|number| number.to_string())
        };
        match option {
            'i' => interface = Some(value),
            's' => instance.set("mcast_src_ip", value),
            'm' => instance.set("mcast_dst_ip", value),
            'v' => instance.set_some("vhid", number(import, 1, 255)),
            'b' => instance.set_some("advbase", number(import, 0, 254)),
            'k' => instance.set_some("advskew", number(import, 0, 254)),
            'p' => instance.set("pass", value),
            'o' => {
                let message = format!("the passphrase is the first line of `{value}`");
                import
                    .diags
                    .note("import-incomplete", word.span, message)
                    .hint("add `pass` with it");
            }
            'P' => instance.set_flag("preempt"),
            'a' => match value.parse() {
                Ok(address) => instance.vips.push(Vip { address, prefix: None, broadcast: None }),
                Err(_) => import.dropped(word, "its value is no address"),
            },
            'u' => scripts.up = Some(value),
            'd' => scripts.down = Some(value),
            'x' => scripts.parameter = Some(value),
            'z' => scripts.at_shutdown = true,
            'S' => instance.set_flag("dont_track_primary"),
            'r' if value == "3" => {}
            'r' => import.dropped(word, "three advertisements must be missing, as with the BSDs"),
            'n' => import.dropped(word, "scripts are told of every change, the first included"),
            'M' => import.dropped(word, "advertisements go to the group, never to everybody"),
            'B' | 'D' | 'f' => import.dropped(word, "lbd has options of its own for that"),
            _ => import.dropped(word, "it is not about an instance"),
        }
    }
    let vhid = instance.get("vhid").unwrap_or_default().to_owned();
    match interface {
        Some(interface) => {
            instance.name = format!("{interface}-vhid{vhid}");
            let renamed = import.interfaces.get(&interface).cloned().unwrap_or(interface);
            set_scripts(import, &mut instance, &scripts, &renamed);
            instance.set("interface", renamed);
        }
        None => instance.name = format!("vhid{vhid}"),
    }
    import.finish(instance);
}

/// ucarp only calls its scripts, with interface, address and parameter; they set the address.
fn set_scripts(
    import: &mut Import<'_>,
    instance: &mut Instance,
    scripts: &Scripts,
    interface: &str,
) {
    let Some(vip) = instance.vips.first().map(|vip| vip.address) else { return };
    let command = |script: &String| {
        let mut command = format!("{script} {interface} {vip}");
        if let Some(parameter) = &scripts.parameter {
            command.push(' ');
            command += parameter;
        }
        command
    };
    instance.set_some("notify_master", scripts.up.as_ref().map(command));
    let down = scripts.down.as_ref().map(command);
    if scripts.at_shutdown {
        instance.set_some("notify_stop", down.clone());
    }
    instance.set_some("notify_fault", down.clone());
    instance.set_some("notify_backup", down);
    if scripts.up.is_some() || scripts.down.is_some() {
        let message = "lbd sets the address itself; its scripts are for what else must change";
        import
            .diags
            .remark("import-scripts", instance.span, message)
            .hint("leave out scripts that only add and remove the address");
    }
}
