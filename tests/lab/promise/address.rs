//! Options of virtual addresses.

use crate::row::Row;
use crate::scene::Step::{Link, Start, Wait};
use crate::see;
use crate::vrrp::{MASTER, under};

/// A row of two lists of addresses.
fn row(keyword: &'static str, without: &str, with: &str) -> Row {
    let list = |entry: &str| format!("virtual_ipaddress {{\n{entry}\n}}");
    let place = ("vrrp_instance/virtual_ipaddress", keyword);
    under(place, &list(without), &list(with), MASTER, see::addresses)
}

pub fn rows() -> Vec<Row> {
    let (v4, v6) = ("192.0.2.100/24", "2001:db8::100/64");
    let both = |entry: &str, option: &str| [entry.to_owned(), format!("{entry} {option}")];
    let options = [
        ("dev", both(v4, "dev eth1")),
        ("scope", both(v4, "scope link")),
        ("label", both(v4, "label eth0:vip")),
        ("broadcast", both(v4, "brd +")),
        ("peer", both("192.0.2.100", "peer 198.51.101.1")),
        ("preferred_lft", both(v6, "preferred_lft 3600")),
        ("home", both(v6, "home")),
        ("-nodad", both(v6, "-nodad")),
        ("mngtmpaddr", both(v6, "mngtmpaddr")),
        ("noprefixroute", both(v4, "noprefixroute")),
        ("autojoin", both("239.1.2.3", "autojoin")),
        ("use_vmac", both("198.51.100.100/24 dev eth1", "use_vmac")),
    ];
    let mut rows: Vec<Row> = options
        .into_iter()
        .map(|(keyword, [without, with])| row(keyword, &without, &with))
        .collect();
    let other = format!("{v4}\n198.51.100.100/24 dev eth1");
    let lists = [other.clone(), format!("{other} no_track")];
    let [without, with] =
        lists.map(|list| format!("notify /run/note\nvirtual_ipaddress {{\n{list}\n}}"));
    rows.push(under(
        ("vrrp_instance/virtual_ipaddress", "no_track"),
        &without,
        &with,
        &[Start, Wait(1200), Link("eth1", false), Wait(900)],
        see::notes,
    ));
    rows.push(row("<address>", v4, "192.0.2.101/24"));
    rows
}
