//! The syntax stage by itself: texts in, lines of words out.

use std::path::Path;

use super::{Kind, Reader, command_words};
use crate::diagnostic::Diagnostics;
use crate::syntax::Line;
use crate::system::MemorySystem;
use crate::{Sources, Span};

/// Reads to the end: each line as its words in brackets, and the ids of the complaints.
fn read(mut reader: Reader<'_>, mut diags: Diagnostics) -> (Vec<String>, Vec<&'static str>) {
    let mut lines = Vec::new();
    let mut line = Line::empty();
    while reader.next(&mut line, &mut diags) {
        lines.push(match line.kind {
            Kind::Open => "{".to_owned(),
            Kind::Close => "}".to_owned(),
            Kind::Words => line.words_from(0).map(|word| format!("[{}]", word.text)).collect(),
        });
    }
    (lines, diags.iter().map(|diagnostic| diagnostic.id).collect())
}

fn read_as(id: &str, text: &str) -> (Vec<String>, Vec<&'static str>) {
    let mut system = MemorySystem::default();
    system.variables.insert("WHO".into(), "me".into());
    let mut reader = Reader::new(&system, id.to_owned(), false);
    let mut diags = Diagnostics::default();
    reader.open_text("test.conf", text, &mut diags);
    read(reader, diags)
}

fn lines(text: &str) -> Vec<String> {
    let (lines, complaints) = read_as("here", text);
    assert_eq!(complaints, Vec::<&str>::new(), "{text}");
    lines
}

fn read_file(system: &MemorySystem, path: &str) -> (Vec<String>, Vec<&'static str>) {
    let mut reader = Reader::new(system, "here".to_owned(), false);
    let mut diags = Diagnostics::default();
    reader.open(Path::new(path), &mut diags);
    read(reader, diags)
}

#[test]
fn braces_are_lines_wherever_they_stand() {
    let expected = ["[a][b]", "{", "[c]", "}", "[d]"];
    assert_eq!(lines("a b { c }\nd"), expected);
    assert_eq!(lines("a b\n{\n  c\n}\nd\n"), expected);
    assert_eq!(lines("a b{c}d"), expected);
    assert_eq!(lines("\ta b\t{\r\n\r\n c } d\r\n"), expected);
    assert_eq!(lines(r#"a "{b}" '{' c"#), ["[a][{b}][']", "{", "['][c]"]);
}

#[test]
fn comments_start_anywhere_but_in_quotes_or_after_a_backslash() {
    assert_eq!(lines("! all\n # of it\n#\n"), Vec::<String>::new());
    assert_eq!(lines("a 1#one\nb !two\nc \"#3\" d"), ["[a][1]", "[b]", "[c][#3][d]"]);
    assert_eq!(lines("a \\#1 \\!2 \\x # 3"), ["[a][#1][!2][\\x]"]);
    assert_eq!(lines("a '#' b"), ["[a][']"]);
}

#[test]
fn only_the_double_quote_makes_words() {
    assert_eq!(lines(r#"a "b c" d"#), ["[a][b c][d]"]);
    assert_eq!(lines(r#"ab"cd""#), ["[ab][cd]"]);
    assert_eq!(lines(r#"a "" 'b c'"#), ["[a][]['b][c']"]);
    assert_eq!(lines("router_id \\"), ["[router_id][\\]"]);
}

#[test]
fn lines_that_cannot_be_are_dropped_with_a_complaint() {
    let long = format!("a {}\nb", "x".repeat(1100));
    assert_eq!(read_as("", &long), (vec!["[b]".into()], vec!["long-line"]));
    assert_eq!(read_as("", "a\0b\nc"), (vec!["[c]".into()], vec!["nul"]));
    assert_eq!(read_as("", "a \"b c"), (vec!["[a][b c]".into()], vec!["unmatched-quote"]));
    assert_eq!(read_as("", "}"), (vec!["}".into()], vec!["extra-close"]));
}

#[test]
fn conditions_keep_or_drop_one_line() {
    let text = "@here a\n@there b\n@^here c\n@^there d\n@ here e\n@here\nf";
    assert_eq!(lines(text), ["[a]", "[d]", "[f]"]);
    assert_eq!(read_as("there", text).0, ["[b]", "[c]", "[f]"]);
    assert_eq!(lines("@here $A=1\n@there $A=2\n$A"), ["[1]"]);
}

#[test]
fn definitions_are_expanded_where_they_are_used() {
    assert_eq!(
        lines("$A=eth0\ninterface $A\nlabel ${A}:1 \"in $A \" $A,$A)"),
        ["[interface][eth0]", "[label][eth0:1][in eth0 ][eth0,eth0)]"]
    );
    // Stored unexpanded, so a later definition counts.
    assert_eq!(lines("$A=1\n$B=$A\n$A=2\nx $B"), ["[x][2]"]);
    // Unknown names stay, with braces split like any others.
    assert_eq!(lines("x $NO"), ["[x][$NO]"]);
    assert_eq!(lines("x ${NO}"), ["[x][$]", "{", "[NO]", "}"]);
    // A blank before `=` makes it no definition.
    assert_eq!(lines("$A = 1"), ["[$A][=][1]"]);
    assert_eq!(lines("$A=a { b }\n$A"), ["[a]", "{", "[b]", "}"]);
}

#[test]
fn definitions_of_several_lines_are_used_at_the_end_of_a_line() {
    let text = "$A=block { \\\n  one \\\n\n  $B \\\n}\n$B=two\nfirst $A\nsecond $A third";
    let expected = ["[first][block]", "{", "[one]", "[two]", "}", "[second][$A][third]"];
    assert_eq!(lines(text), expected);
}

#[test]
fn predefined_names() {
    assert_eq!(
        lines("a ${_INSTANCE} ${_PWD} ${_ENV WHO} x${_ENV NOBODY}x"),
        ["[a][here][/][me][xx]"]
    );
    assert_eq!(lines("a ${_HASH}1 ${_BANG}2"), ["[a][#1][!2]"]);
    // At the start of a line it comments it out.
    assert_eq!(lines("$OFF=${_HASH}\n${OFF} a\nb"), ["[b]"]);
    let drawn = lines("${_RANDOM 7 9}\n${_RANDOM}");
    assert!(["[7]", "[8]", "[9]"].contains(&drawn[0].as_str()), "{drawn:?}");
    assert_eq!(lines("$_HASH=mine\n${_HASH}"), ["[mine]"]);
}

#[test]
fn definitions_that_never_end_are_refused() {
    assert_eq!(read_as("", "$A=$A\nx $A").1, ["endless-definition"]);
    assert_eq!(read_as("", "$A=x ${B}\n$B=y ${A}\nx $A").1, ["endless-definition"]);
    // Each doubles the one before: 2^40 bytes.
    let mut text = "$A0=x\n".to_owned();
    for n in 1..=40 {
        text += &format!("$A{n}=${{A{0}}}${{A{0}}}\n", n - 1);
    }
    assert_eq!(read_as("", &(text + "x ${A40}")).1, ["endless-definition"]);
    assert_eq!(read_as("", "$A=a \\\n$A\n$A").1, ["too-deep"]);
}

#[test]
fn sequences_repeat_a_line() {
    assert_eq!(lines("~SEQ(N, 3) a $N"), ["[a][1]", "[a][2]", "[a][3]"]);
    assert_eq!(lines("~SEQ(N, -2) a $N"), ["[a][-1]", "[a][-2]"]);
    assert_eq!(lines("~SEQ(N, 0) a $N"), ["[a][1]", "[a][0]"]);
    assert_eq!(lines("~SEQ(N, 0x10, 4, 030) a $N"), ["[a][16]", "[a][20]", "[a][24]"]);
    assert_eq!(lines("~SEQx(N, 9, 11) a${N}"), ["[a9]", "[aa]", "[ab]"]);
    assert_eq!(
        lines("$END=2\n~SEQ(I, $END) ~SEQ(J, 2) $I $J"),
        ["[1][1]", "[1][2]", "[2][1]", "[2][2]"]
    );
    assert_eq!(lines("~LST(V, a, b c) x $V"), ["[x][a]", "[x][b][c]"]);
    assert_eq!(lines("~LST({A,B}, {1, 2}, {3}) $A x${B}"), ["[1][x2]", "[3][x]"]);
    let block = "$B=i $N { \\\n  x \\\n}\n~SEQ(N, 2) $B";
    assert_eq!(lines(block), ["[i][1]", "{", "[x]", "}", "[i][2]", "{", "[x]", "}"]);
}

#[test]
fn sequences_that_make_no_sense_are_ignored() {
    for text in [
        "~SEQ(N, 1, 0, 3) a",
        "~SEQ(N, 1, -1, 3) a",
        "~SEQ(N) a",
        "~SEQ(N, x) a",
        "~SEQ N a",
        "~SEQ(N, 1 a",
    ] {
        assert_eq!(read_as("", text), (vec![], vec!["loop-syntax"]), "{text}");
    }
    assert_eq!(read_as("", "~LST({A}, {1, 2}) a").1, ["loop-syntax"]);
    assert_eq!(read_as("", "~SEQx(N, -1) a").1, ["loop-syntax"]);
}

#[test]
fn a_sequence_without_end_is_refused_and_takes_no_memory() {
    let system = MemorySystem::default();
    let mut reader = Reader::new(&system, String::new(), false);
    let mut diags = Diagnostics::default();
    reader.open_text("test.conf", "~SEQ(N, 4294967295) ~SEQ(M, 4294967295) a", &mut diags);
    let mut count = 0;
    let mut line = Line::empty();
    while reader.next(&mut line, &mut diags) {
        count += 1;
    }
    assert!(count < 1_000_000);
    assert_eq!(
        diags.iter().map(|diagnostic| diagnostic.id).collect::<Vec<_>>(),
        ["too-many-lines"]
    );
}

#[test]
fn includes_are_found_from_the_including_file() {
    let system = MemorySystem::default()
        .with(
            "/etc/k/k.conf",
            "a\ninclude conf.d/*.conf\nb { include one.inc\n}\ninclude sub/{x,y}.c",
        )
        .with("/etc/k/conf.d/2.conf", "two ${_PWD}")
        .with("/etc/k/conf.d/1.conf", "one\ninclude more\n")
        .with("/etc/k/conf.d/more", "more")
        .with("/etc/k/one.inc", "wrong: not at the start of a line")
        .with("/etc/k/sub/x.c", "x")
        .with("/etc/k/sub/y.c", "y");
    let (lines, complaints) = read_file(&system, "/etc/k/k.conf");
    assert_eq!(complaints, Vec::<&str>::new());
    let expected = [
        "[a]",
        "[one]",
        "[more]",
        "[two][/etc/k/conf.d]",
        "[b]",
        "{",
        "[include][one.inc]",
        "}",
        "[x]",
        "[y]",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn failures_of_includes_are_errors_when_the_directive_says_so() {
    let base =
        MemorySystem::default().with_mode("/script", "#!/bin/sh", 0o755).with("/there", "there");
    for (text, refused) in [
        ("include missing", false),
        ("include *.none", false),
        ("include /script", false),
        ("includer missing", false),
        ("includer /script", true),
        ("includem missing", true),
        ("includem *.none", false),
        ("includew *.none", true),
        ("includeb /{there,missing}", true),
        ("includem /{there,missing}", false),
        ("includea missing", true),
        ("includea /{there,missing}", true),
    ] {
        let system = base.clone().with("/main", text);
        let mut reader = Reader::new(&system, String::new(), false);
        let mut diags = Diagnostics::default();
        reader.open(Path::new("/main"), &mut diags);
        let mut line = Line::empty();
        while reader.next(&mut line, &mut diags) {}
        assert_eq!(diags.errors() > 0, refused, "{text}");
        assert!(!diags.is_empty(), "{text}");
        assert_eq!(diags.exit_code_of_check(), if refused { 6 } else { 0 }, "{text}");
    }
}

#[test]
fn include_loops_end() {
    let system = MemorySystem::default().with("/a", "x\ninclude b").with("/b", "include a\ny");
    assert_eq!(read_file(&system, "/a"), (vec!["[x]".into()], vec!["include-loop"]));
}

#[test]
fn the_main_file_must_be_an_ordinary_file_that_is_there() {
    let system = MemorySystem::default()
        .with("/d/a.conf", "a")
        .with("/d/b.conf", "b")
        .with_mode("/x", "", 0o755);
    assert_eq!(read_file(&system, "/none"), (vec![], vec!["configuration-file"]));
    assert_eq!(read_file(&system, "/d"), (vec![], vec!["configuration-file"]));
    assert_eq!(read_file(&system, "/x"), (vec![], vec!["configuration-file"]));
    assert_eq!(read_file(&system, "/d/*.conf"), (vec!["[a]".into(), "[b]".into()], vec![]));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let system = MemorySystem::default().with("/a", "\u{feff}global_defs {\n}\n");
    let (lines, complaints) = read_file(&system, "/a");
    assert_eq!((lines.len(), complaints), (3, vec!["byte-order-mark"]));
}

#[test]
fn commands_have_a_grammar_of_their_own() {
    let words = |text: &str, escapes| command_words(text, escapes);
    assert_eq!(
        words(r#"script "/bin/x -a 'b c'" root"#, false).unwrap(),
        ["script", "/bin/x -a 'b c'", "root"]
    );
    assert_eq!(words("/bin/x -a 'b c'", true).unwrap(), ["/bin/x", "-a", "b c"]);
    assert_eq!(words(r#"ab"c d"e"#, false).unwrap(), ["abc de"]);
    assert_eq!(words(r"a\x41\102\n\\\ b", true).unwrap(), ["aAB\n\\ b"]);
    assert_eq!(words("a 'b", false).unwrap_err(), ["a", "b"]);
    assert_eq!(words("''", true).unwrap(), [""]);
}

/// The text of a span.
fn under(sources: &Sources, span: Option<Span>) -> &str {
    let span = span.expect("a place");
    &sources.file(span.file).text()[span.start as usize..span.end as usize]
}

#[test]
fn places_survive_definitions_loops_and_includes() {
    let system = MemorySystem::default()
        .with("/main", "$IF=eth0\ninclude inner\n~SEQ(N, 2) seq x${N}y\n")
        .with("/inner", "a \\# interface $IF tail\n");
    let mut reader = Reader::new(&system, String::new(), false);
    let mut diags = Diagnostics::default();
    reader.open(Path::new("/main"), &mut diags);
    let mut found = Vec::new();
    let mut line = Line::empty();
    while reader.next(&mut line, &mut diags) {
        found.extend(line.words_from(0).map(|word| (word.text.to_owned(), word.place)));
    }
    let sources = reader.into_sources();
    let place = |text: &str| found.iter().find(|(word, _)| word == text).expect("the word").1;
    assert_eq!(under(&sources, place("eth0").span), "$IF");
    assert_eq!(under(&sources, place("eth0").definition), "$IF=eth0");
    assert_eq!(under(&sources, place("tail").span), "tail");
    assert_eq!(under(&sources, place("interface").span), "interface");
    assert_eq!(under(&sources, place("x2y").span), "x${N}y");
    let position = sources.position(place("tail").span.expect("a place"));
    assert_eq!((position.line, position.column), (1, 20));
}

/// What a line is, its words and every place in it.
fn in_full(text: &str) -> Vec<String> {
    let system = MemorySystem::default();
    let mut reader = Reader::new(&system, "here".to_owned(), false);
    let mut diags = Diagnostics::default();
    reader.open_text("test.conf", text, &mut diags);
    let mut lines = Vec::new();
    let mut line = Line::empty();
    while reader.next(&mut line, &mut diags) {
        let words: Vec<_> = line.words_from(0).map(|word| (word.text, word.place)).collect();
        lines.push(format!("{:?} {:?} {words:?}", line.kind, line.place()));
    }
    lines
}

#[test]
fn a_plain_line_is_read_as_any_other() {
    for line in [
        "a",
        "  a b\tc",
        "a b c d e f g",
        "a b {",
        "a{",
        "{",
        "}",
        "  } ",
        "\u{e9}t\u{e9} \x0b b",
        "\r",
        "",
    ] {
        // A comment makes a line one that is not plain, and says nothing.
        assert_eq!(in_full(line), in_full(&format!("{line}#")), "{line:?}");
        assert_eq!(in_full(&format!("{line}\r\n")), in_full(line), "{line:?}");
    }
}
