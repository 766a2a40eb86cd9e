//! `vrrp_sync_group`.

use super::script::Command;
use super::table::{Keyword, Table, Takes, block, line};
use super::vrrp::{Notifies, Tracking, track_interface, track_script};
use super::{Context, Draft};
use crate::diagnostic::Place;
use crate::syntax::Line;

/// A group as far as it is read.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) members: Vec<(String, Place)>,
    pub(crate) tracking_weight: bool,
    pub(crate) track: Tracking,
    pub(crate) notify: Notifies,
}

static TABLE: Table<Group> = Table {
    block: "vrrp_sync_group",
    keywords: &[
        Keyword::new("group", Takes::List { entry: members }),
        Keyword::new(
            "sync_group_tracking_weight",
            Takes::Flag(|g: &mut Group| g.tracking_weight = true),
        )
        .deprecated(&["global_tracking"]),
        Keyword::new(
            "track_interface",
            Takes::List { entry: |g, context, line| track_interface(&mut g.track, context, line) },
        ),
        Keyword::new(
            "track_script",
            Takes::List { entry: |g, context, line| track_script(&mut g.track, context, line) },
        ),
        Keyword::new(
            "notify_master",
            Takes::Command(|g, command| g.set(command, |n| &mut n.master)),
        ),
        Keyword::new(
            "notify_backup",
            Takes::Command(|g, command| g.set(command, |n| &mut n.backup)),
        ),
        Keyword::new("notify_fault", Takes::Command(|g, command| g.set(command, |n| &mut n.fault))),
        Keyword::new("notify_stop", Takes::Command(|g, command| g.set(command, |n| &mut n.stop))),
        Keyword::new("notify", Takes::Command(|g, command| g.set(command, |n| &mut n.any))),
    ],
    later: &[
        block("track_file"),
        block("track_process"),
        block("track_bfd"),
        line("smtp_alert"),
        line("notify_priority_changes"),
    ],
};

impl Group {
    fn set(
        &mut self,
        command: Box<Command>,
        which: fn(&mut Notifies) -> &mut Option<Box<Command>>,
    ) {
        *which(&mut self.notify) = Some(command);
    }
}

fn members(group: &mut Group, _: &mut Context<'_>, line: &Line) {
    group.members.extend(line.words_from(0).map(|word| (word.text.to_owned(), word.place)));
}

/// Reads a block.
pub(crate) fn read(draft: &mut Draft, context: &mut Context<'_>, line: &Line) {
    let name = line.str(1);
    if !draft.group_names.insert(name.to_owned()) {
        let message = format!("`vrrp_sync_group {name}` is defined before; this block is skipped");
        context.diags.warn("duplicate-group", line.place_from(1), message);
        context.skip_block();
        return;
    }
    let mut group = Group {
        name: name.to_owned(),
        place: line.place(),
        members: Vec::new(),
        tracking_weight: false,
        track: Tracking::default(),
        notify: Notifies::default(),
    };
    context.block(&TABLE, &mut group, line);
    draft.groups.push(group);
}
