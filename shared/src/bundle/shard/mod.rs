//! Owns the bytes of weights: to safetensors files of limited size and back.
//!
//! A tensor too large for one file is cut along its first dimension into pieces named `name@first-row`. One in bytes has
//! its rows' scales beside it, in the same file, as `name.scale` or `name.scale@first-row`.

mod read;
mod write;

pub(super) use read::Pieces;
pub(super) use write::encode;

/// What the scales of a tensor's rows are called, after its name.
const SCALE: &str = ".scale";

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::write::encode_within;
    use super::*;
    use crate::bundle::{Dtype, quantize};
    use crate::infer::weights::Weights;
    use crate::nn::Tensors;
    use crate::rng::{normal, stream};

    /// Of the same names, shapes and values, in whatever parts.
    fn same(found: &Weights, expected: &Weights) {
        assert!(found.0.keys().eq(expected.0.keys()));
        for (name, expected) in &expected.0 {
            let found = &found.0[name];
            assert_eq!(found.shape, expected.shape, "{name}");
            assert_eq!(found.is_byte(), expected.is_byte(), "{name}");
            let [found, expected] = [found, expected].map(|of| of.clone().into_floats());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn large_tensors_are_cut_and_joined() {
        let mut rng = stream(5, "shard");
        let mut tensors = Tensors::new();
        for (name, shape) in [
            ("a.weight", &[10, 3][..]),
            ("b.bias", &[4]),
            ("c", &[2, 2, 1, 2]),
        ] {
            tensors.insert(
                name.into(),
                normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap(),
            );
        }
        let weights = Weights::from_tensors(&tensors).unwrap();
        let files = encode_within("part", &weights, Dtype::F32, 40).unwrap();
        assert!(
            files.len() > 3 && files[0].0 == "part-00.safetensors",
            "{}",
            files.len()
        );
        assert_eq!(
            files,
            encode_within("part", &weights, Dtype::F32, 40).unwrap()
        );
        let mut pieces = Pieces::default();
        for (name, bytes) in files.iter().rev() {
            pieces.read(name, bytes).unwrap();
            assert!(
                pieces
                    .read(name, bytes)
                    .unwrap_err()
                    .to_string()
                    .contains("earlier file")
            );
        }
        same(&pieces.join().unwrap(), &weights);

        let mut pieces = Pieces::default();
        pieces.read("x", &files[1].1).unwrap();
        assert!(pieces.join().unwrap_err().to_string().contains("missing"));
        assert!(encode_within("part", &weights, Dtype::F32, 8).is_err());
    }

    #[test]
    fn half_precision_keeps_vectors() {
        let values = Tensor::new(&[1.0f32, 1.0 + 1e-5], &Device::Cpu).unwrap();
        let tensors = Tensors::from([
            ("m".into(), values.reshape((1, 2)).unwrap()),
            ("v".into(), values),
        ]);
        let mut pieces = Pieces::default();
        for (name, bytes) in encode(
            "part",
            &Weights::from_tensors(&tensors).unwrap(),
            Dtype::F16,
        )
        .unwrap()
        {
            pieces.read(&name, &bytes).unwrap();
        }
        let joined = pieces.join().unwrap();
        assert_eq!(joined.0["v"].clone().into_floats(), [1.0, 1.0 + 1e-5]);
        assert_eq!(joined.0["m"].clone().into_floats(), [1.0, 1.0]);
    }

    #[test]
    fn bytes_keep_their_scales_across_files() {
        let name = "text_model.encoder.layers.0.mlp.fc1.weight";
        let matrix = normal(&mut stream(6, "shard"), &[11, 5], 1.0, &Device::Cpu).unwrap();
        let mut weights = Weights::from_tensors(&Tensors::from([(name.into(), matrix)])).unwrap();
        quantize::quantize(&mut weights);
        for budget in [9, 20, 1000] {
            let files = encode_within("part", &weights, Dtype::Int8, budget).unwrap();
            assert_eq!(files.len(), 11usize.div_ceil((budget / 9) as usize));
            let mut pieces = Pieces::default();
            for (name, bytes) in files.iter().rev() {
                pieces.read(name, bytes).unwrap();
            }
            same(&pieces.join().unwrap(), &weights);
        }
    }
}
