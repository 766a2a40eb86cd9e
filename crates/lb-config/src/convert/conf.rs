//! Statements as keepalived.conf.

use super::{Out, is_plain, meaningless};
use crate::statement::{Statement, What, is_command};
use crate::toml::quote_for_command;

/// Writes a block, four blanks further in for each that it is in.
pub(super) fn write(out: &mut Out, statements: &[Statement], depth: usize) {
    let indent = "    ".repeat(depth);
    for (index, statement) in statements.iter().enumerate() {
        if depth == 0 && index > 0 && statement.block.is_some() {
            out.text += "\n";
        }
        if let Some(why) = meaningless(statement) {
            out.lost(&indent, statement, why);
            continue;
        }
        let Some(line) = line(statement) else {
            out.lost(&indent, statement, "keepalived.conf cannot say this");
            continue;
        };
        statement.before.iter().for_each(|comment| out.comment(&indent, comment));
        out.text += &indent;
        out.text += &line;
        let behind = statement.behind.as_deref();
        let Some(block) = &statement.block else {
            out.end(behind);
            continue;
        };
        out.text += " {";
        out.end(behind);
        write(out, block, depth + 1);
        out.text += &indent;
        out.text += "}\n";
    }
}

/// The words of a line, quoted where they need it; `None` if quotes do not help.
fn line(statement: &Statement) -> Option<String> {
    let (keyword, words, command) = match statement.what {
        What::Keyword { name, kind } if is_command(name, kind) => {
            (name, statement.command.get(1..)?, true)
        }
        What::Keyword { .. } => (&*statement.words[0], statement.words.get(1..)?, false),
        What::Entry | What::Unknown => ("", &*statement.words, false),
    };
    let mut line = keyword.to_owned();
    for word in words {
        // At the start of a line these are no words.
        let taken =
            line.is_empty() && (word.starts_with(['@', '$', '~']) || word.starts_with("include"));
        let quoted = if is_plain(word) && !taken {
            word.clone()
        } else if command {
            // Comments and braces know one kind of quotes only.
            let safe = !word.contains('"') || !word.contains(['#', '!', '{', '}']);
            Some(quote_for_command(word)).filter(|_| safe)?
        } else if word.contains('"') {
            return None;
        } else if word.contains([' ', '\t', '#', '!', '{', '}']) || word.is_empty() || taken {
            format!("\"{word}\"")
        } else {
            word.clone()
        };
        if quoted.contains(['\n', '\r', '\0']) {
            return None;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &quoted;
    }
    Some(line)
}
