//! `vrrp_sync_group`, and the members of `track_group`.

use std::collections::HashSet;

use super::router::Notifies;
use super::table::{Keyword, Table, Takes};
use super::tracking::{
    Tracking, track_bfd, track_file, track_interface, track_process, track_script,
};
use super::{Context, Draft};
use crate::diagnostic::Place;
use crate::model::TrackGroup;
use crate::syntax::Line;

/// A group as far as it is read.
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) members: Vec<(String, Place)>,
    pub(crate) tracking_weight: bool,
    pub(crate) track: Tracking,
    pub(crate) notify: Notifies,
    pub(crate) smtp_alert: Option<bool>,
    pub(crate) notify_priority_changes: Option<bool>,
}

pub(super) static TABLE: Table<Group> = Table {
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
        Keyword::new("notify_master", Takes::Command(|g| &mut g.notify.master)),
        Keyword::new("notify_backup", Takes::Command(|g| &mut g.notify.backup)),
        Keyword::new("notify_fault", Takes::Command(|g| &mut g.notify.fault)),
        Keyword::new("notify_stop", Takes::Command(|g| &mut g.notify.stop)),
        Keyword::new("notify", Takes::Command(|g| &mut g.notify.any)),
    ],
    also: &[LATER],
};

const LATER: &[Keyword<Group>] = &[
    Keyword::new(
        "track_file",
        Takes::List { entry: |g, context, line| track_file(&mut g.track, context, line) },
    ),
    Keyword::new(
        "track_process",
        Takes::List { entry: |g, context, line| track_process(&mut g.track, context, line) },
    ),
    Keyword::idle(
        "track_bfd",
        Takes::List {
            entry: |g: &mut Group, context, line| track_bfd(&mut g.track, context, line),
        },
    )
    .needed("track-bfd", super::tracking::WITHOUT_BFD),
    Keyword::idle("smtp_alert", Takes::Switch(|g, on| g.smtp_alert = Some(on))),
    Keyword::idle(
        "notify_priority_changes",
        Takes::Switch(|g, on| g.notify_priority_changes = Some(on)),
    ),
];

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
        smtp_alert: None,
        notify_priority_changes: None,
    };
    context.block(&TABLE, &mut group, line);
    draft.groups.push(group);
}

/// Drops members that are no instance.
pub(crate) fn finish_track_groups(
    context: &mut Context<'_>,
    groups: Vec<(TrackGroup, Place)>,
    instances: &HashSet<&str>,
) -> Vec<TrackGroup> {
    let mut done = Vec::with_capacity(groups.len());
    for (mut group, place) in groups {
        group.members.retain(|member| {
            let known = instances.contains(member.as_str());
            if !known {
                let message =
                    format!("track_group `{}` names `{member}`, which is no instance", group.name);
                context.diags.warn("group-member", place, message).hint("the name is ignored");
            }
            known
        });
        if group.members.is_empty() {
            let message = format!("track_group `{}` has no members and is removed", group.name);
            context.diags.warn("group-empty", place, message);
            continue;
        }
        done.push(group);
    }
    done
}

/// Complains of static lines that name no track group.
pub(crate) fn check_track_groups(
    context: &mut Context<'_>,
    groups: &[TrackGroup],
    uses: &[(String, Place)],
) {
    for (name, place) in uses {
        if groups.iter().all(|group| group.name != *name) {
            let message = format!("there is no track_group `{name}`");
            context.diags.warn("track-group", *place, message);
        }
    }
}
