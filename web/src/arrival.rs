//! Owns a file's arrival: its bytes into room that was made before, and going on where the connection broke off.

use js_sys::Uint8Array;
use web_sys::Response;

use crate::promise::pause;
use crate::protocol::{Code, Failure};
use crate::source::{Asked, Part, Source};
use crate::stream::receive;

/// How long is waited before each further attempt, in milliseconds: a short gap is hardly seen, and after about eight
/// seconds the visitor hears of it.
const WAITS: [i32; 5] = [200, 500, 1000, 2000, 4000];

/// A file's bytes, and whether this device had kept them.
pub(crate) struct Arrived {
    pub(crate) bytes: Uint8Array,
    pub(crate) kept: bool,
}

/// Receives a file of `size` bytes into `room`. Where the connection breaks off, a server is asked for the rest;
/// whether the parts belong together is for the checksum to tell. `progress` hears of bytes and never goes back.
///
/// # Errors
/// As [`Asked::answer`], or if the connection breaks off again and again.
pub(crate) async fn arrive(
    source: &Source,
    mut asked: Asked,
    size: u32,
    room: &Uint8Array,
    mut progress: impl FnMut(u32),
) -> Result<Arrived, Failure> {
    let name = asked.name.clone();
    let mut waits = WAITS.into_iter();
    let (mut received, mut most) = (0, 0);
    let mut heard = |length: u32| {
        most = most.max(length);
        progress(most);
    };
    loop {
        match asked.answer(source).await {
            Ok((response, kept)) => {
                let from = begins(&response, received);
                match receive(&response, room, from, &mut heard).await {
                    Ok(bytes) => return Ok(Arrived { bytes, kept }),
                    // The whole file was there before the connection was properly closed.
                    Err(length) if length >= size => {
                        let bytes = room.subarray(0, length);
                        return Ok(Arrived { bytes, kept });
                    }
                    Err(length) => received = length,
                }
            }
            Err(failure) if failure.code == Code::Network => {}
            Err(failure) => return Err(failure),
        }
        let wait = waits.next().filter(|_| source.is_remote());
        pause(wait.ok_or_else(|| source.missing(&name))?).await;
        asked = source.ask(&name, Part::From(received), None);
    }
}

/// Where in the file an answer begins: a server need not be able to send parts.
fn begins(response: &Response, wanted: u32) -> u32 {
    /// The answer is a part.
    const PARTIAL: u16 = 206;
    if response.status() != PARTIAL {
        return 0;
    }
    let range = response.headers().get("content-range").ok().flatten();
    range
        .and_then(|range| start_of(&range))
        .unwrap_or(wanted)
        .min(wanted)
}

/// The first number of `bytes 200-999/1000`.
fn start_of(range: &str) -> Option<u32> {
    let (start, _) = range.strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_it_begins() {
        assert_eq!(start_of("bytes 200-999/1000"), Some(200));
        assert_eq!(start_of("bytes 0-0/*"), Some(0));
        assert_eq!(start_of("bytes */1000"), None);
        assert_eq!(start_of("lines 1-2/3"), None);
    }
}
