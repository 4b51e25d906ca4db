//! Given past events, when a command, then events, nothing, or a refusal.

use std::fmt::Debug;

use crate::decider::Decider;

/// A decider with its past.
pub struct Given<D>(D);

/// A decider's answer to a command.
pub struct Answer<D: Decider>(Result<Vec<D::Event>, D::Refusal>);

/// Returns the decider after `past`.
pub fn given<D: Decider>(past: &[D::Event]) -> Given<D> {
    let mut decider = D::default();
    for event in past {
        decider.evolve(event);
    }
    having(decider)
}

/// Returns the decider as it stands, where events alone do not lead there.
pub const fn having<D>(decider: D) -> Given<D> {
    Given(decider)
}

impl<D: Decider> Given<D> {
    pub fn when(&self, command: D::Command) -> Answer<D> {
        Answer(self.0.decide(command))
    }
}

impl<D> Answer<D>
where
    D: Decider,
    D::Event: Debug + PartialEq,
{
    #[track_caller]
    pub fn then(self, expected: &[D::Event]) {
        assert_eq!(self.0.as_deref(), Ok(expected));
    }

    #[track_caller]
    pub fn then_nothing(self) {
        self.then(&[]);
    }

    #[track_caller]
    pub fn then_refused(self, expected: &D::Refusal) {
        assert_eq!(self.0.as_deref(), Err(expected));
    }
}
