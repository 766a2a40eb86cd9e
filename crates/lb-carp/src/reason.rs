//! Why an instance is where it is.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lb_election::{Family, Leave};

use crate::pace::Pace;

/// The cause of the last transition, with the figures that decided. Its `Display` says it in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It was never told to begin.
    #[default]
    New,
    /// It began.
    Startup,
    /// The master was not heard in this family.
    Silence {
        /// Where.
        family: Family,
        /// What we waited for.
        waited: Pace,
        /// How often.
        dead_ratio: u8,
    },
    /// The master is slower than we, and we preempt.
    Slower {
        /// The master.
        from: IpAddr,
        /// How often it advertises.
        theirs: Pace,
        /// How often we would.
        ours: Pace,
    },
    /// The master is demoted more than we.
    MoreDemoted {
        /// The master.
        from: IpAddr,
        /// Its demotion.
        theirs: u8,
        /// Our own.
        ours: u8,
    },
    /// The master says to advertise more rarely than we have patience for.
    TooSlow {
        /// The master.
        from: IpAddr,
        /// How often it advertises.
        theirs: Pace,
        /// Our patience.
        patience: Duration,
    },
    /// The master bowed out.
    BowOut {
        /// The master.
        from: IpAddr,
    },
    /// Another master is faster.
    Faster {
        /// The other.
        from: IpAddr,
        /// How often it advertises.
        theirs: Pace,
        /// How often we do.
        ours: Pace,
    },
    /// Another master is demoted less.
    LessDemoted {
        /// The other.
        from: IpAddr,
        /// Its demotion.
        theirs: u8,
        /// Our own.
        ours: u8,
    },
    /// Another master is as fast, and its address decided.
    Tie {
        /// The other.
        from: IpAddr,
        /// How often both advertise.
        pace: Pace,
        /// Of both: with one the higher address decides.
        demotion: u8,
        /// Our address, where we have one in that family.
        source: Option<IpAddr>,
    },
    /// A cause of FAULT arose.
    Fault {
        /// Its own, not that of another member of its group.
        own: bool,
    },
    /// The last cause of FAULT is gone.
    Recovered,
    /// Somebody else removed a virtual address.
    VipLost,
    /// Nobody else took over after that.
    Retaken,
    /// The sync group became MASTER, or the instance was MASTER before.
    Promoted,
    /// The sync group ceased to be MASTER.
    Demoted,
    /// As MASTER it lets another one take over, or did so at once.
    Leaving(Leave),
    /// Another node took over as it was asked to.
    TookOver {
        /// Who.
        by: IpAddr,
        /// Why it was asked to.
        leave: Leave,
    },
    /// Nobody took over in time.
    Alone {
        /// Why somebody was asked to.
        leave: Leave,
    },
    /// It need not leave any more.
    Stayed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::New => write!(f, "it has not been started"),
            Self::Startup => write!(f, "it was started, and listens first"),
            Self::Silence { family, waited, dead_ratio } => {
                let seconds = waited.master_down(dead_ratio).as_secs_f64();
                let Pace { advbase, advskew } = waited;
                write!(f, "nothing heard over {family} for {seconds:.3} s ")?;
                match advbase {
                    0 => write!(f, "({dead_ratio} × {})", waited),
                    _ => {
                        write!(f, "({dead_ratio} × advbase {advbase} s + advskew {advskew}/256 s)")
                    }
                }
            }
            Self::Slower { from, theirs, ours } => {
                write!(f, "{from} advertises every {theirs}, slower than our {ours}")
            }
            Self::MoreDemoted { from, theirs, ours } => {
                write!(f, "the demotion {theirs} of {from} is above our {ours}")
            }
            Self::TooSlow { from, theirs, patience } => write!(
                f,
                "{from} advertises every {theirs}, where we wait no longer than {:.3} s",
                patience.as_secs_f64()
            ),
            Self::BowOut { from } => write!(f, "{from} bowed out (255/255)"),
            Self::Faster { from, theirs, ours } => {
                write!(f, "{from} advertises every {theirs}, faster than our {ours}")
            }
            Self::LessDemoted { from, theirs, ours } => {
                write!(f, "the demotion {theirs} of {from} is below our {ours}")
            }
            Self::Tie { from, pace, demotion: 1.., source: Some(source) } => write!(
                f,
                "{from} advertises every {pace} and is demoted as we are, and is above our {source}"
            ),
            Self::Tie { from, pace, demotion: 0, source: Some(source) } => write!(
                f,
                "{from} advertises every {pace} as we do, and is below our {source} \
                 (compared from the last octet)"
            ),
            Self::Tie { from, pace, source: None, .. } => write!(
                f,
                "{from} advertises every {pace} as we do, and we have no address to compare"
            ),
            Self::Fault { own: true } => write!(f, "it cannot take part"),
            Self::Fault { own: false } => write!(f, "another member of its group cannot take part"),
            Self::Recovered => write!(f, "it can take part again, and listens first"),
            Self::VipLost => write!(f, "somebody else removed a virtual address"),
            Self::Retaken => {
                write!(f, "nobody took over after somebody else removed a virtual address")
            }
            Self::Promoted => write!(f, "it is to be MASTER, as its group or as before"),
            Self::Demoted => write!(f, "its group ceased to be MASTER"),
            Self::Leaving(leave) => write!(f, "{leave}"),
            Self::TookOver { by, leave } => write!(f, "{leave}, and {by} took over"),
            Self::Alone { leave } => write!(f, "{leave}, and nobody took over in time"),
            Self::Stayed => write!(f, "it no longer has to leave"),
        }
    }
}
