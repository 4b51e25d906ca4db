//! How a rule is written: decide, then evolve.

/// The consistency boundary of one stream: rules on what may happen, and the state they rest on.
pub trait Decider: Default {
    type Command;
    type Event;
    type Refusal: std::error::Error + PartialEq;

    /// The events that now become true, or why none do. Empty = already so (which makes a retry safe).
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// Takes in one event. It happened, so this cannot refuse, and works nothing out again.
    fn evolve(&mut self, event: &Self::Event);
}
