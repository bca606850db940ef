//! What happens to the processes of a fleet: they are killed, paused, cut off and made slow, by lot.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use spout_tests::cables::Way;

use super::fleet::{Fleet, STORE, place};

/// From one kill to the next.
const PACE: Duration = Duration::from_secs(2);
/// Three times as long as a worker may be silent.
const PAUSE: Duration = Duration::from_secs(15);

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// `kill -9` every two seconds, each time of somebody else, who is started again at once.
    Kills,
    /// A process does nothing for three times-out, and then goes on as if nothing had been.
    Pause,
    /// A process does not reach the store.
    NoStore,
    /// What a process sends to the store arrives, and it does not hear the answers.
    NoAnswers,
    /// A process and the others do not reach each other.
    Apart,
    /// The others do not hear a process, which hears them.
    Mute,
    /// A process does not hear the others, which hear it.
    Deaf,
    /// All that a process says and hears is slow.
    Slow,
}

/// Each of them.
pub(super) const ALL: [Trouble; 8] = [
    Trouble::Kills,
    Trouble::Pause,
    Trouble::NoStore,
    Trouble::NoAnswers,
    Trouble::Apart,
    Trouble::Mute,
    Trouble::Deaf,
    Trouble::Slow,
];

/// The dice of this run; their seed is printed.
pub(super) fn dice() -> StdRng {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    StdRng::seed_from_u64(seed)
}

/// Has `troubles` happen, one after the other and over again for so long, each to a process that the dice choose. In the end all run, and all
/// cables are whole.
pub(super) fn storm(fleet: &mut Fleet, dice: &mut StdRng, troubles: &[Trouble], length: Duration) -> Result<()> {
    let until = Instant::now() + length;
    for trouble in troubles.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let whom = dice.random_range(0..fleet.len());
        println!("{trouble:?}, worker {whom}");
        happen(fleet, dice, *trouble, whom)?;
        fleet.cables.mend();
    }
    Ok(())
}

fn happen(fleet: &mut Fleet, dice: &mut StdRng, trouble: Trouble, whom: usize) -> Result<()> {
    match trouble {
        Trouble::Kills => return kills(fleet, dice, 5),
        Trouble::Pause => {
            fleet.signal(whom, "STOP")?;
            last(PAUSE);
            return fleet.signal(whom, "CONT");
        }
        Trouble::NoStore => fleet.cable(whom, STORE, Way::CUT, Way::CUT)?,
        Trouble::NoAnswers => fleet.cable(whom, STORE, Way::WHOLE, Way::CUT)?,
        Trouble::Apart => fleet.apart(whom, Way::CUT, Way::CUT)?,
        Trouble::Mute => fleet.apart(whom, Way::CUT, Way::WHOLE)?,
        Trouble::Deaf => fleet.apart(whom, Way::WHOLE, Way::CUT)?,
        Trouble::Slow => {
            let rate = [64 << 10, 256 << 10].choose(dice).copied();
            let slow = Way { delay: Duration::from_millis(dice.random_range(20..300)), rate, ..Way::WHOLE };
            fleet.cable(whom, STORE, slow, slow)?;
            for other in (0..fleet.len()).filter(|other| *other != whom) {
                fleet.cable(whom, &place(other), slow, slow)?;
            }
        }
    }
    last(dice.random_range(PAUSE / 2..PAUSE));
    Ok(())
}

/// So many kills, by lot.
pub(super) fn kills(fleet: &mut Fleet, dice: &mut StdRng, count: u32) -> Result<()> {
    for _ in 0..count {
        let whom = dice.random_range(0..fleet.len());
        last(dice.random_range(PACE / 2..PACE * 3 / 2));
        fleet.kill(whom)?;
        fleet.wake(whom)?;
    }
    Ok(())
}

/// Not a wait for something to happen: how long the trouble lasts is what the test draws by lot.
fn last(length: Duration) {
    let until = Instant::now() + length;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}
