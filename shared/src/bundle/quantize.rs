//! Owns the weights of a bundle in bytes: which are, and with what scale.
//!
//! Matrices that a product multiplies get integers of seven bits, -63..=63, with a scale for each output: the product of
//! bytes that WebAssembly has takes one operand of seven bits. Token embeddings are only looked up, and get eight.

use kernels::product::LARGEST_WEIGHT;

use crate::infer::weights::{Values, Weights};

/// The largest byte of a token embedding.
const LARGEST_EMBEDDING: i8 = 127;
/// Parts of a row's largest value that are tried as the largest that is kept: cutting few large values off makes all
/// others finer.
const CLIPS: [f32; 9] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72, 0.68];

/// Replaces the matrices of the towers by bytes.
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
    let top = row.iter().fold(0f32, |top, x| top.max(x.abs()));
    let error = |scale: f32| -> f64 {
        let off = |&x: &f32| f64::from(x - f32::from(byte(x, scale, largest)) * scale);
        row.iter().map(|x| off(x).powi(2)).sum()
    };
    let mut best = (f64::INFINITY, 0.0);
    for clip in CLIPS {
        let scale = top * clip / f32::from(largest);
        if scale.is_normal() {
            let error = error(scale);
            if error < best.0 {
                best = (error, scale);
            }
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
        let Values::Float(values) = &mut weights.0.get_mut(name).unwrap().parts[0] else {
            panic!("not quantised yet");
        };
        values[..96].fill(0.0);
        values[96..192].fill(1e-42);
        let before = weights.0[name].clone().into_floats();
        quantize(&mut weights);
        let [bias, expected] = [&weights, &original]
            .map(|of| of.0[&name.replace("weight", "bias")].clone().into_floats());
        assert_eq!(bias, expected);
        let after = weights.0[name].clone().into_floats();
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
