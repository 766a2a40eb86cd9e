//! Bad input and bad surroundings: what is refused, what is tolerated, and what the messages say.

lb_lab::become_root_at_start!();
