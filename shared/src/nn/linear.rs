//! Owns the linear layer; a frozen one costs no gradient work for its weight.

use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::op::Add;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, D, DType, Layout,
    Result as CandleResult, Shape, Storage, Tensor,
};
use candle_nn::VarBuilder;

use super::{fused, kernels, tensor};
use crate::error::Result;

/// y = x wᵀ + b, with w [outputs, inputs] and b `[outputs]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` [outputs, inputs] and, if asked for, `bias` `[outputs]`.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = tensor(&vb, &[outputs, inputs], "weight")?;
        let bias = bias.then(|| tensor(&vb, &[outputs], "bias")).transpose()?;
        Ok(Self { weight, bias })
    }

    /// A layer of these tensors: weight [outputs, inputs], bias `[outputs]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The weight [outputs, inputs].
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The bias `[outputs]`, if there is one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Whether any of its tensors is trained.
    pub(super) fn trained(&self) -> bool {
        self.weight.track_op() || self.bias.as_ref().is_some_and(Tensor::track_op)
    }

    /// x [.., inputs] to [.., outputs].
    ///
    /// # Errors
    /// If the last dimension of `x` is not the layer's input width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let fits = x.dim(D::Minus1)? == self.weight.dim(1)?;
        if !fits || (self.trained() && !fused(x)) {
            return Ok(self.composed(x)?);
        }
        let x = x.contiguous()?;
        let weight = self.weight.contiguous()?;
        let y = match &self.bias {
            _ if !self.trained() => x.apply_op1(Frozen {
                weight,
                bias: self.bias.clone().map(Arc::new),
            })?,
            Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Trained)?,
            None => x.apply_op2(&weight, Trained)?,
        };
        Ok(y)
    }

    fn composed(&self, x: &Tensor) -> CandleResult<Tensor> {
        let (inputs, outputs) = (self.weight.dim(1)?, self.weight.dim(0)?);
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = outputs;
        }
        let y = x.reshape(((), inputs))?.matmul(&self.weight.t()?)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(shape)
    }
}

/// The output's shape: that of `x` with the last dimension replaced.
fn widened(x: &Layout, outputs: usize) -> Shape {
    let mut shape = x.shape().dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    Shape::from(shape)
}

/// x wᵀ + b in what every device of the tensor library can do.
fn on_any_device<B: BackendStorage>(
    (x, x_layout): (&B, &Layout),
    (weight, weight_layout): (&B, &Layout),
    bias: Option<(&B, &Layout)>,
) -> CandleResult<(B, Shape)> {
    let (outputs, inputs) = weight_layout.shape().dims2()?;
    let rows = x_layout.shape().elem_count() / inputs;
    let flat = Layout::contiguous_with_offset((rows, inputs), x_layout.start_offset());
    let sizes = (1, rows, outputs, inputs);
    let mut out = x.matmul(weight, sizes, &flat, &weight_layout.transpose(0, 1)?)?;
    if let Some((bias, layout)) = bias {
        let own = Layout::contiguous((rows, outputs));
        out = out.binary_impl::<Add>(bias, &own, &layout.broadcast_as((rows, outputs))?)?;
    }
    Ok((out, widened(x_layout, outputs)))
}

/// The gradient by the input.
fn input_gradient(x: &Tensor, weight: &Tensor, grad: &Tensor) -> CandleResult<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    if !fused(grad) {
        return grad
            .reshape(((), outputs))?
            .matmul(weight)?
            .reshape(x.shape());
    }
    let dx = kernels::with_values(weight, |weight| {
        kernels::with_values(grad, |grad| {
            kernels::product::affine_input(grad, weight, inputs, outputs)
        })
    })??;
    Tensor::from_vec(dx, x.shape(), x.device())
}

/// The gradient by the weight.
fn weight_gradient(x: &Tensor, weight: &Tensor, grad: &Tensor) -> CandleResult<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let dw = kernels::with_values(x, |x| {
        kernels::with_values(grad, |grad| {
            kernels::product::affine_weight(grad, x, inputs, outputs)
        })
    })??;
    Tensor::from_vec(dw, weight.shape(), weight.device())
}

/// Keeps its weight outside of the graph, so that nothing is computed or stored for its gradient.
struct Frozen {
    weight: Tensor,
    bias: Option<Arc<Tensor>>,
}

impl CustomOp1 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (outputs, inputs) = self.weight.dims2()?;
        if x.dtype() != DType::F32 {
            return self.on_device(x, layout, |storage| match storage {
                Storage::Cpu(storage) => Some(storage),
                _ => None,
            });
        }
        let x = kernels::values(x, layout)?;
        let out = kernels::with_values(&self.weight, |weight| match &self.bias {
            Some(bias) => kernels::with_values(bias, |bias| {
                kernels::product::affine(x, weight, Some(bias), inputs)
            }),
            None => Ok(kernels::product::affine(x, weight, None, inputs)),
        })??;
        Ok((CpuStorage::F32(out), widened(layout, outputs)))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> CandleResult<(CudaStorage, Shape)> {
        self.on_device(x, layout, |storage| match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        })
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        Ok(Some(input_gradient(x, &self.weight, grad)?))
    }
}

impl Frozen {
    /// The output where the fused product does not apply; `own` finds the device's storage in a tensor's.
    fn on_device<B: BackendStorage>(
        &self,
        x: &B,
        layout: &Layout,
        own: impl Fn(&Storage) -> Option<&B>,
    ) -> CandleResult<(B, Shape)> {
        let elsewhere = || candle_core::Error::Msg("a layer lies on another device".into());
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let weight = (own(&weight).ok_or_else(elsewhere)?, weight_layout);
        let bias = self.bias.as_ref().map(|bias| bias.storage_and_layout());
        let bias = match &bias {
            Some((bias, layout)) => Some((own(bias).ok_or_else(elsewhere)?, *layout)),
            None => None,
        };
        on_any_device((x, layout), weight, bias)
    }
}

struct Trained;

impl CustomOp2 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let (x, weight) = (
            kernels::values(x, x_layout)?,
            kernels::values(weight, weight_layout)?,
        );
        let out = kernels::product::affine(x, weight, None, inputs);
        Ok((CpuStorage::F32(out), widened(x_layout, outputs)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() {
            Some(input_gradient(x, weight, grad)?)
        } else {
            None
        };
        Ok((dx, Some(weight_gradient(x, weight, grad)?)))
    }
}

impl CustomOp3 for Trained {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let (x, weight) = (
            kernels::values(x, x_layout)?,
            kernels::values(weight, weight_layout)?,
        );
        let bias = kernels::values(bias, bias_layout)?;
        let out = kernels::product::affine(x, weight, Some(bias), inputs);
        Ok((CpuStorage::F32(out), widened(x_layout, outputs)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() {
            Some(input_gradient(x, weight, grad)?)
        } else {
            None
        };
        let db = kernels::with_values(grad, |grad| {
            kernels::rows::column_sums(grad, bias.elem_count())
        })?;
        let db = Tensor::from_vec(db, bias.shape(), bias.device())?;
        Ok((dx, Some(weight_gradient(x, weight, grad)?), Some(db)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::rng;

    /// What other devices do is tried on the CPU, in doubles, which have no fused product.
    #[test]
    fn a_frozen_layer_is_the_same_on_any_device() {
        let mut rng = rng::stream(4, "linear");
        let mut draw = |shape: &[usize]| {
            let drawn = rng::normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap();
            drawn.to_dtype(DType::F64).unwrap()
        };
        let (wide, weight, bias) = (draw(&[3, 6, 24]), draw(&[7, 24]), draw(&[7]));
        for bias in [Some(bias), None] {
            let layer = Linear::new(weight.clone(), bias);
            let run = |f: &dyn Fn(&Tensor) -> Tensor| {
                let x = Var::from_tensor(&wide).unwrap();
                // Not from the first value on.
                let y = f(&x.narrow(1, 1, 5).unwrap());
                let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let all = [&y, grads.get(&x).unwrap()];
                assert_eq!(y.dims(), [3, 5, 7]);
                all.map(|t| t.flatten_all().unwrap().to_vec1::<f64>().unwrap())
            };
            let ours = run(&|x| layer.forward(x).unwrap());
            let theirs = run(&|x| layer.composed(&x.contiguous().unwrap()).unwrap());
            for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn fused_equals_composed_trained_and_frozen() {
        let mut rng = rng::stream(3, "linear");
        let mut var = |shape: &[usize]| {
            Var::from_tensor(&rng::normal(&mut rng, shape, 1.0, &Device::Cpu).unwrap()).unwrap()
        };
        let (x, weight, bias) = (var(&[3, 5, 24]), var(&[7, 24]), var(&[7]));
        let run = |y: Tensor, of: &[&Var]| {
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let mut all = vec![y];
            all.extend(of.iter().map(|v| grads.get(v).unwrap().clone()));
            all.iter()
                .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                .collect::<Vec<_>>()
        };
        for with_bias in [true, false] {
            let bias_tensor = with_bias.then(|| bias.as_tensor().clone());
            let trained = Linear::new(weight.as_tensor().clone(), bias_tensor.clone());
            let frozen = Linear::new(weight.as_tensor().detach(), bias_tensor.map(|b| b.detach()));
            let all: &[&Var] = if with_bias {
                &[&x, &weight, &bias]
            } else {
                &[&x, &weight]
            };
            let theirs = run(trained.composed(x.as_tensor()).unwrap(), all);
            for ours in [
                run(trained.forward(x.as_tensor()).unwrap(), all),
                run(frozen.forward(x.as_tensor()).unwrap(), &[&x]),
            ] {
                for (a, b) in ours.iter().zip(&theirs) {
                    assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a} {b}");
                }
            }
        }
    }
}
