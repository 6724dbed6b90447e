//! Owns drawing samples as CPython 3.11 does, which the reference code's missing tables rest on.
//!
//! Mersenne Twister seeded by `random.seed(int)`, and `random.sample` with its two methods. `rand_mt` is the generator;
//! here is what Python makes of its words.

use std::collections::BTreeSet;

use rand_mt::Mt;

use super::missing::Sampler;

/// Python's `random.Random`.
pub struct PythonRandom(Mt);

impl PythonRandom {
    /// `random.seed(seed)`: the generator is keyed with the seed's 32-bit words, lowest first, without leading zeros.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key = if high == 0 {
            vec![low]
        } else {
            vec![low, high]
        };
        Self(Mt::new_with_key(key))
    }

    /// `random._randbelow(n)`: as many bits as n has, drawn again until they are below n. n is 1 to 2^32 - 1.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.0.next_u32() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }
}

impl Sampler for PythonRandom {
    /// `random.sample(range(population), count)`.
    fn sample(&mut self, population: usize, count: usize) -> Vec<usize> {
        let count = count.min(population);
        if population <= set_size(count) {
            let mut pool: Vec<usize> = (0..population).collect();
            return (0..count)
                .map(|i| {
                    let place = self.below(population - i);
                    let chosen = pool[place];
                    pool[place] = pool[population - i - 1];
                    chosen
                })
                .collect();
        }
        let mut seen = BTreeSet::new();
        (0..count)
            .map(|_| {
                loop {
                    let chosen = self.below(population);
                    if seen.insert(chosen) {
                        return chosen;
                    }
                }
            })
            .collect()
    }
}

/// The population up to which a list is smaller than a set of `count` numbers, as Python reckons.
fn set_size(count: usize) -> usize {
    let mut size = 21;
    if count > 5 {
        size += 4usize.pow((count as f64 * 3.0).log(4.0).ceil() as u32);
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::missing::Recipe;
    use crate::settings::{MissingKind, MissingRng};

    /// `random.seed(s); random.sample(range(n), k)` of CPython 3.11.
    #[test]
    fn samples_are_python_s() {
        let mut small = PythonRandom::new(0);
        assert_eq!(small.sample(10, 4), SMALL);
        let mut large = PythonRandom::new(1 << 40);
        assert_eq!(large.sample(1_000_000, 5), LARGE);
    }

    const SMALL: [usize; 4] = [6, 9, 0, 2];
    const LARGE: [usize; 5] = [108_673, 370_381, 703_128, 68_854, 447_379];

    /// The nine rows that the reference code gives under seed 0 (its tables are drawn train, dev, test from one stream).
    #[test]
    fn the_reference_code_s_tables() {
        use MissingKind::{Both, Image, Text};
        let movies = [15_552, 2_608, 7_799];
        let memes = [8_500, 500, 1_000];
        let food = [61_142, 6_846, 22_716];
        for (kind, ratio, rows, split, first, counts, hash) in [
            (
                Both,
                0.7,
                movies,
                0,
                [13835, 6311, 12418, 14585, 6890],
                [4666, 5443, 5443],
                "465324a518e9b8fb",
            ),
            (
                Both,
                0.7,
                movies,
                1,
                [1154, 506, 1330, 2349, 1457],
                [783, 913, 912],
                "472cb65f441f2a6a",
            ),
            (
                Both,
                0.7,
                movies,
                2,
                [3743, 6919, 3045, 5177, 3690],
                [2340, 2730, 2729],
                "dc3df2de02f26901",
            ),
            (
                Text,
                0.7,
                movies,
                0,
                [13835, 6311, 12418, 14585, 6890],
                [4666, 10886, 0],
                "585c2842c20ceb33",
            ),
            (
                Image,
                0.9,
                movies,
                2,
                [6621, 3158, 360, 3451, 2534],
                [780, 0, 7019],
                "a7bf34220a9f69c0",
            ),
            (
                Both,
                0.5,
                memes,
                0,
                [6311, 6890, 663, 4242, 8376],
                [4250, 2125, 2125],
                "c1e82edc545b1910",
            ),
            (
                Both,
                0.5,
                memes,
                1,
                [256, 181, 289, 79, 370],
                [250, 125, 125],
                "4e972352b38d9311",
            ),
            (
                Both,
                0.5,
                memes,
                2,
                [873, 979, 386, 666, 64],
                [500, 250, 250],
                "fbab51e36fe1ae8d",
            ),
            (
                Both,
                0.9,
                food,
                0,
                [55340, 25247, 49673, 58343, 27562],
                [6115, 27514, 27513],
                "c218a13e64d7fdea",
            ),
        ] {
            let recipe = Recipe {
                kind,
                ratio,
                both_ratio: 0.5,
                seed: 0,
                rng: MissingRng::Cpython,
            };
            let drawn = &Recipe::draw_all(&[recipe; 3], rows).unwrap()[split];
            assert_eq!(drawn.sampled[..5], first, "{hash}");
            assert_eq!(drawn.table.counts(), counts, "{hash}");
            assert_eq!(drawn.table.sha256()[..16], *hash);
        }
    }
}
