//! Owns the weights of a bundle in bytes: which are, and with what scale.
//!
//! Matrices that a product multiplies get integers of seven bits, -63..=63, with a scale for each output: the product of
//! bytes that WebAssembly has takes one operand of seven bits. Token embeddings are only looked up, and get eight.
//!
//! [`quantize`] rounds each weight to the nearest; [`fed_back`] does better where it is known what a layer's inputs are
//! like.

pub mod feedback;
pub mod moments;

use kernels::product::LARGEST_WEIGHT;

use crate::error::{Error, Result};
use crate::infer::weights::{Values, Weight, Weights};
use feedback::{Feedback, Trial};
use moments::Moments;

/// The largest byte of a token embedding.
const LARGEST_EMBEDDING: i8 = 127;
/// Parts of a row's largest value that are tried as the largest that is kept: cutting few large values off makes all
/// others finer.
const CLIPS: [f32; 9] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72, 0.68];

/// So many rows are rounded together.
const TOGETHER: usize = 8;

/// Replaces the matrices of the towers by bytes, the nearest ones. What is in bytes stays as it is.
pub fn quantize(weights: &mut Weights) {
    for (name, weight) in &mut weights.0 {
        let Some(largest) = largest(name) else {
            continue;
        };
        let width = weight.width();
        for part in &mut weight.parts {
            if let Values::Float(values) = part {
                *part = rows(values, width, largest);
            }
        }
    }
}

/// The matrices of `layers` in bytes, rounded with error feedback, and their biases, which take up what rounding does to
/// the mean of an output: all these layers get the `inputs` that were seen.
///
/// # Errors
/// If the matrix of a layer is not there in f32, or takes another number of inputs.
pub fn fed_back(weights: &Weights, layers: &[String], inputs: &Moments) -> Result<Weights> {
    let width = inputs.width();
    let bias = |layer: &String| weights.0.get(&format!("{layer}.bias"));
    // With biases only what varies about the mean is left to the rounding.
    let centred = layers.iter().all(|layer| bias(layer).is_some());
    let feedback = Feedback::new(&inputs.spread(centred), width);
    let mean = inputs.mean();
    let mut rounded = Weights::default();
    for layer in layers {
        let name = format!("{layer}.weight");
        let matrix = weights.0.get(&name).and_then(|weight| {
            let fits = weight.width() == width;
            match weight.parts.as_slice() {
                [Values::Float(values)] if fits => Some((weight.shape.clone(), values)),
                _ => None,
            }
        });
        let Some((shape, values)) = matrix else {
            let message = format!("is no matrix in f32 of {width} inputs");
            return Err(Error::Tensor { name, message });
        };
        let matrix = Weight::new(shape, fed_back_rows(values, &feedback));
        if let (true, Some(bias)) = (centred, bias(layer)) {
            let shift = |row: &[f32], rounded: &[f32]| -> f64 {
                let off = row
                    .iter()
                    .zip(rounded)
                    .map(|(a, b)| f64::from(*a) - f64::from(*b));
                off.zip(&mean).map(|(off, mean)| off * mean).sum()
            };
            let found = matrix.floats();
            let rows = values.chunks_exact(width).zip(found.chunks_exact(width));
            let shifted = bias.floats().into_iter().zip(rows);
            let shifted =
                shifted.map(|(b, (row, found))| (f64::from(b) + shift(row, found)) as f32);
            let bias = Weight::new(bias.shape.clone(), Values::Float(shifted.collect()));
            rounded.0.insert(format!("{layer}.bias"), bias);
        }
        rounded.0.insert(name, matrix);
    }
    Ok(rounded)
}

/// Each row with that of its [`candidates`] that leaves the output the least error.
fn fed_back_rows(values: &[f32], feedback: &Feedback) -> Values {
    let width = feedback.inputs();
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for rows in values.chunks(TOGETHER * width) {
        let rows = rows.chunks_exact(width);
        let rows: Vec<_> = rows
            .map(|row| (row, candidates(row, LARGEST_WEIGHT)))
            .collect();
        let trials = rows.iter().flat_map(|(weights, scales)| {
            let trial = |&scale| Trial { weights, scale };
            scales.iter().map(trial)
        });
        let trials: Vec<Trial<'_>> = trials.collect();
        let mut rounded = feedback.round(&trials, LARGEST_WEIGHT).into_iter();
        for (_, candidates) in &rows {
            let own = candidates.iter().zip(rounded.by_ref());
            let best = own.min_by(|(_, a), (_, b)| a.error.total_cmp(&b.error));
            match best {
                Some((scale, rounded)) => {
                    scales.push(*scale);
                    bytes.extend(rounded.bytes);
                }
                None => {
                    scales.push(0.0);
                    bytes.resize(bytes.len() + width, 0);
                }
            }
        }
    }
    Values::Byte { bytes, scales }
}

/// The scales that are tried for a row; none for one of zeros.
fn candidates(row: &[f32], largest: i8) -> Vec<f32> {
    let top = row.iter().fold(0f32, |top, x| top.max(x.abs()));
    let scales = CLIPS.map(|clip| top * clip / f32::from(largest));
    let usable = scales.into_iter().filter(|scale| scale.is_normal());
    usable.collect()
}

/// The largest byte of a tensor of this name, if it becomes bytes.
pub fn largest(name: &str) -> Option<i8> {
    let products = [
        ".q_proj.weight",
        ".k_proj.weight",
        ".v_proj.weight",
        ".out_proj.weight",
        ".fc1.weight",
        ".fc2.weight",
        ".patch_embedding.weight",
        "visual_projection.weight",
        "text_projection.weight",
    ];
    let tower = [
        "vision_model.",
        "text_model.",
        "visual_projection.",
        "text_projection.",
    ]
    .iter()
    .any(|start| name.starts_with(start));
    if tower && products.iter().any(|end| name.ends_with(end)) {
        Some(LARGEST_WEIGHT)
    } else if name == "text_model.embeddings.token_embedding.weight" {
        Some(LARGEST_EMBEDDING)
    } else {
        None
    }
}

fn rows(values: &[f32], width: usize, largest: i8) -> Values {
    let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::new());
    for row in values.chunks_exact(width.max(1)) {
        let scale = scale(row, largest);
        scales.push(scale);
        bytes.extend(row.iter().map(|&x| byte(x, scale, largest)));
    }
    Values::Byte { bytes, scales }
}

/// The nearest of `-largest..=largest` steps of size `scale`.
fn byte(x: f32, scale: f32, largest: i8) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    let most = f32::from(largest);
    (x / scale).round_ties_even().clamp(-most, most) as i8
}

/// The scale of the least squared error among those of [`CLIPS`]; 0 for a row of zeros.
fn scale(row: &[f32], largest: i8) -> f32 {
    let error = |scale: f32| -> f64 {
        let off = |&x: &f32| f64::from(x - f32::from(byte(x, scale, largest)) * scale);
        row.iter().map(|x| off(x).powi(2)).sum()
    };
    let mut best = (f64::INFINITY, 0.0);
    for scale in candidates(row, largest) {
        let error = error(scale);
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{normal, stream};

    #[test]
    fn rows_come_back_within_half_a_step() {
        let device = candle_core::Device::Cpu;
        let name = "text_model.encoder.layers.0.mlp.fc1.weight";
        let matrix = normal(&mut stream(1, "bytes"), &[40, 96], 0.3, &device).unwrap();
        let bias = normal(&mut stream(1, "bias"), &[40], 0.3, &device).unwrap();
        let tensors = crate::nn::Tensors::from([
            (name.to_string(), matrix),
            (name.replace("weight", "bias"), bias),
        ]);
        let original = Weights::from_tensors(&tensors).unwrap();
        let mut weights = original.clone();
        let values = weights.0.get_mut(name).unwrap().floats_mut().unwrap();
        values[..96].fill(0.0);
        values[96..192].fill(1e-42);
        let before = weights.0[name].floats();
        quantize(&mut weights);
        assert_eq!(
            weights.0[&name.replace("weight", "bias")],
            original.0[&name.replace("weight", "bias")]
        );
        let after = weights.0[name].floats();
        let Values::Byte { bytes, scales } = &weights.0[name].parts[0] else {
            panic!("still floats");
        };
        assert_eq!(scales[..2], [0.0, 0.0]);
        for (row, scale) in scales.iter().enumerate().skip(2) {
            assert!(*scale > 0.0);
            for i in row * 96..(row + 1) * 96 {
                let clipped = bytes[i].abs() == LARGEST_WEIGHT;
                let off = (before[i] - after[i]).abs();
                assert!(clipped || off <= 0.5001 * scale, "{off} {scale}");
                assert!(bytes[i].abs() <= LARGEST_WEIGHT);
            }
        }
    }

    /// Rows of correlated inputs: few causes behind all of them, and a mean that is not zero.
    fn inputs(seed: u64, count: usize, width: usize) -> Vec<f32> {
        let device = candle_core::Device::Cpu;
        let draw = |seed, name: &str, shape: &[usize]| {
            normal(&mut stream(seed, name), shape, 1.0, &device).unwrap()
        };
        let causes = draw(seed, "causes", &[count, 4]);
        let effects = draw(0, "effects", &[4, width]);
        let own = (draw(seed, "own", &[count, width]) * 0.2).unwrap();
        let rows = ((causes.matmul(&effects).unwrap() + own).unwrap() + 0.7).unwrap();
        rows.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn layer(outputs: usize, width: usize, bias: bool) -> Weights {
        let device = candle_core::Device::Cpu;
        let draw = |name: &str, shape: &[usize]| {
            let tensor = normal(&mut stream(3, name), shape, 0.1, &device).unwrap();
            (name.to_string(), tensor)
        };
        let mut tensors = crate::nn::Tensors::from([draw("layer.weight", &[outputs, width])]);
        if bias {
            tensors.extend([draw("layer.bias", &[outputs])]);
        }
        Weights::from_tensors(&tensors).unwrap()
    }

    fn seen(rows: &[f32], width: usize) -> Moments {
        let mut moments = Moments::new(width);
        moments.add(rows).unwrap();
        moments.flush().unwrap();
        moments
    }

    /// The mean error of outputs of `rows`, and their mean squared error.
    fn errors(before: &Weights, after: &Weights, rows: &[f32]) -> (f64, f64) {
        let outputs = |weights: &Weights| -> Vec<f64> {
            let matrix = weights.0["layer.weight"].floats();
            let bias = weights.0.get("layer.bias").map(Weight::floats);
            let width = matrix.len() / weights.0["layer.weight"].rows();
            let mut all = Vec::new();
            for x in rows.chunks_exact(width) {
                for (output, row) in matrix.chunks_exact(width).enumerate() {
                    let products = row
                        .iter()
                        .zip(x)
                        .map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
                    all.push(products.sum::<f64>() + bias);
                }
            }
            all
        };
        let (before, after) = (outputs(before), outputs(after));
        let count = before.len() as f64;
        let off: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
        let squares = off.iter().map(|off| off * off).sum::<f64>();
        (off.iter().sum::<f64>() / count, squares / count)
    }

    #[test]
    fn fed_back_errors_cancel_on_inputs_that_were_not_seen() {
        let (width, layers) = (48, ["layer".to_string()]);
        for bias in [true, false] {
            let original = layer(20, width, bias);
            let moments = seen(&inputs(1, 600, width), width);
            let fed = fed_back(&original, &layers, &moments).unwrap();
            assert_eq!(fed, fed_back(&original, &layers, &moments).unwrap());
            let Values::Byte { bytes, scales } = &fed.0["layer.weight"].parts[0] else {
                panic!("still floats");
            };
            assert!(bytes.iter().all(|b| b.abs() <= LARGEST_WEIGHT));
            assert!(scales.iter().all(|s| *s > 0.0));
            let mut plain = original.clone();
            let weight = plain.0.get_mut("layer.weight").unwrap();
            weight.parts = vec![rows(&weight.floats(), width, LARGEST_WEIGHT)];
            let fresh = inputs(2, 500, width);
            let (_, plain) = errors(&original, &plain, &fresh);
            let (mean, fed) = errors(&original, &fed, &fresh);
            assert!(fed < 0.25 * plain, "bias {bias}: {fed:e} of {plain:e}");
            assert!(
                mean.abs() < 0.2 * fed.sqrt(),
                "bias {bias}: {mean:e} of {fed:e}"
            );
        }
    }

    #[test]
    fn rows_of_zeros_and_inputs_that_never_vary_are_no_trouble() {
        let (width, layers) = (12, ["layer".to_string()]);
        let mut original = layer(3, width, true);
        let weight = original.0.get_mut("layer.weight").unwrap();
        let values = weight.floats_mut().unwrap();
        values[..width].fill(0.0);
        let mut some = inputs(1, 40, width);
        for row in some.chunks_exact_mut(width) {
            (row[3], row[7]) = (0.0, 2.5);
        }
        for rows in [some, vec![0.0; 5 * width], vec![1.0; width], Vec::new()] {
            let fed = fed_back(&original, &layers, &seen(&rows, width)).unwrap();
            let Values::Byte { bytes, scales } = &fed.0["layer.weight"].parts[0] else {
                panic!("still floats");
            };
            assert_eq!((scales[0], &bytes[..width]), (0.0, &[0i8; 12][..]));
            let bias = fed.0["layer.bias"].floats();
            assert!(scales.iter().chain(&bias).all(|x| x.is_finite()));
            assert!(bytes.iter().all(|b| b.abs() <= LARGEST_WEIGHT));
            // No step away from its weight by more than what feedback asked for: each row is still itself.
            let (before, after) = (
                original.0["layer.weight"].floats(),
                fed.0["layer.weight"].floats(),
            );
            let far = before
                .iter()
                .zip(&after)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(far < 0.1, "{far}");
        }
    }

    #[test]
    fn layers_that_do_not_fit_their_inputs_are_refused() {
        let original = layer(3, 12, true);
        for (layer, width) in [("layer", 11), ("another", 12)] {
            let moments = seen(&inputs(1, 9, width), width);
            let error = fed_back(&original, &[layer.into()], &moments).unwrap_err();
            assert!(error.to_string().contains("no matrix in f32"), "{error}");
        }
    }

    #[test]
    fn only_matrices_of_the_towers_become_bytes() {
        let fc = "vision_model.encoder.layers.3.mlp.fc2.weight";
        assert_eq!(largest(fc), Some(63));
        assert_eq!(largest("visual_projection.weight"), Some(63));
        assert_eq!(
            largest("text_model.embeddings.token_embedding.weight"),
            Some(127)
        );
        for other in [
            "prompt.dynamic.image.key.weight",
            "head.weight",
            "text_model.embeddings.position_embedding.weight",
            "vision_model.encoder.layers.3.layer_norm1.weight",
        ] {
            assert_eq!(largest(other), None, "{other}");
        }
    }
}
