//! Owns the tests of attention: against plain loops in f64.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

#[test]
fn equals_plain_loops() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut scratch = Scratch::default();
    // Miri interprets: fewer and smaller there.
    let (cases, longest, most) = match cfg!(miri) {
        true => (4, 20, 15),
        false => (60, 130, 90),
    };
    for case in 0..cases {
        let (heads, width) = (rng.random_range(1..4), rng.random_range(1..20));
        let [tokens, prefix] = [longest, 9].map(|most| rng.random_range(0..most));
        let causal = case % 2 == 0;
        let queries = if causal {
            rng.random_range(1..=tokens + 1)
        } else {
            rng.random_range(1..most)
        };
        let tokens = tokens + 1;
        let stride = heads * width + 3;
        let mut draw = |rows: usize| -> Vec<f32> {
            (0..rows * stride)
                .map(|_| rng.random_range(-2.0..2.0))
                .collect()
        };
        let [q, k, v, pk, pv] = [queries, tokens, tokens, prefix, prefix].map(&mut draw);
        let of = |data, rows| Tokens { data, stride, rows };
        let memory = Memory {
            prefix: [of(&pk, prefix), of(&pv, prefix)],
            tokens: [of(&k, tokens), of(&v, tokens)],
        };
        let sizes = Heads {
            heads,
            width,
            causal,
        };
        let mut out = vec![7.0; queries * stride];
        sizes.attend(of(&q, queries), memory, &mut scratch, &mut out, stride);
        let keys = prefix + tokens;
        let (all_k, all_v) = ([pk, k].concat(), [pv, v].concat());
        for query in 0..queries {
            for column in 0..stride {
                let is = out[query * stride + column];
                if column >= heads * width {
                    assert_eq!(is, 7.0);
                    continue;
                }
                let at = column / width * width;
                let seen = if causal {
                    keys - queries + query + 1
                } else {
                    keys
                };
                let weights: Vec<f64> = (0..seen)
                    .map(|key| {
                        let dot = |i| {
                            f64::from(q[query * stride + i]) * f64::from(all_k[key * stride + i])
                        };
                        (at..at + width).map(dot).sum::<f64>().exp()
                    })
                    .collect();
                let answer: f64 = (0..seen)
                    .map(|key| weights[key] * f64::from(all_v[key * stride + column]))
                    .sum();
                let expected = answer / weights.iter().sum::<f64>();
                assert!((f64::from(is) - expected).abs() < 2e-5, "{is} {expected}");
            }
        }
    }
}
