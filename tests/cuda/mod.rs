//! Owns the proof that the CUDA kernels are right, without a GPU: they are compiled as C++ for this processor, called as
//! the trainer calls them, and held against the operations on the CPU.

mod program;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use candle_core::{D, DType, Device, Tensor, Var};
use shared::nn::activation::quick_gelu;
use shared::nn::cuda::SOURCE;
use shared::nn::cuda::call::{self, Argument, Rows, Sight, Step};
use shared::nn::norm::LayerNorm;
use shared::nn::{Tensors, var_builder};
use shared::rng;
use trainer::engine::adamw::apply;

use program::{Kernels, Values, names};

const EPS: f32 = 1e-5;
/// The types, and how far a result may be off, beside being rounded.
const KINDS: [(DType, f32); 3] = [
    (DType::F32, 1e-5),
    (DType::F16, 1.0 / 1024.0),
    (DType::BF16, 1.0 / 128.0),
];

/// Random values of a mean that the type can hold, as a variable in f32.
fn draw_around(mean: f64, name: &str, shape: &[usize], kind: DType) -> Var {
    let rng = &mut rng::stream(11, name);
    let values = rng::normal(rng, shape, 1.0, &Device::Cpu).unwrap();
    let values = (values + mean).unwrap().to_dtype(kind).unwrap();
    Var::from_tensor(&values.to_dtype(DType::F32).unwrap()).unwrap()
}

fn draw(name: &str, shape: &[usize], kind: DType) -> Var {
    draw_around(0.0, name, shape, kind)
}

/// The gradients by some variables of what f gives, against `along`.
fn slopes(y: &Tensor, along: &Tensor, by: &[&Var]) -> Vec<Vec<f32>> {
    let loss = (y * along).unwrap().sum_all().unwrap();
    let grads = loss.backward().unwrap();
    by.iter().map(|v| list(grads.get(v).unwrap())).collect()
}

fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn close(what: &str, ours: &[f32], theirs: &[f32], most: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (place, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let off = (a - b).abs();
        assert!(off <= most * (1.0 + b.abs()), "{what} {place}: {a} and {b}");
    }
}

#[test]
fn kernels_do_what_the_cpu_does() {
    let Some(kernels) = Kernels::build() else {
        return;
    };
    for (kind, most) in KINDS {
        // Rows and widths that fill warps and blocks, and that do not.
        for (rows, width) in [(1, 5), (6, 32), (70, 96), (131, 33)] {
            layer_norm(&kernels, kind, most, rows, width);
        }
        for (queries, keys, causal) in [(9, 9, false), (9, 9, true), (7, 77, true), (1, 40, true)] {
            softmax(&kernels, kind, most, queries, keys, causal);
        }
        activation(&kernels, kind, most);
    }
    large_scores(&kernels);
    optimiser(&kernels);
    for count in [1, 255, 70_001] {
        squares(&kernels, count);
    }
    wrong_calls(&kernels);
}

fn layer_norm(kernels: &Kernels, kind: DType, most: f32, rows: usize, width: usize) {
    // A mean far from 0, as the towers' have, loses digits where it is taken off in the wrong order.
    let x = draw_around(3.0, "x", &[rows, width], kind);
    for weights in [kind, DType::F32] {
        let (weight, bias) = (
            draw("weight", &[width], weights),
            draw("bias", &[width], weights),
        );
        let gradient = draw("gradient", &[rows, width], kind);
        let tensors = Tensors::from([
            ("weight".to_owned(), weight.as_tensor().clone()),
            ("bias".to_owned(), bias.as_tensor().clone()),
        ]);
        let vb = var_builder(&tensors, &Device::Cpu);
        let norm = LayerNorm::load(width, f64::from(EPS), vb).unwrap();
        let y = norm.forward(&x).unwrap();
        let expected = slopes(&y, gradient.as_tensor(), &[&x, &weight, &bias]);

        let kinds = [kind, weights];
        let shape = Rows { count: rows, width };
        let given = Values::of(&x, kind);
        let [w, b] = [&weight, &bias].map(|v| Values::of(v, weights));
        let g = Values::of(&gradient, kind);
        let mut out = Values::room(kind, rows * width);
        kernels.run(call::layer_norm(kinds, shape, EPS, [&given, &w, &b], &mut out).unwrap());
        close("norm", &out.read(), &list(&y), most);

        let mut dx = Values::room(kind, rows * width);
        let all = [&given, &w, &g];
        kernels.run(call::layer_norm_backward(kinds, shape, EPS, all, &mut dx).unwrap());
        close("norm by x", &dx.read(), &expected[0], most);

        let mut found = Values::room(DType::F32, 2 * rows);
        kernels.run(call::layer_norm_statistics(kind, shape, EPS, &given, &mut found).unwrap());
        let count = call::layer_norm_parts(shape);
        let mut parts = Values::room(DType::F32, 2 * count * width);
        let all = [&given, &found, &g];
        kernels.run(call::layer_norm_columns(kind, shape, all, &mut parts).unwrap());
        let mut total = Values::room(DType::F32, 2 * width);
        kernels.run(call::layer_norm_total(shape, &parts, &mut total).unwrap());
        // Sums of rows in another order.
        let total = total.read();
        close("norm by weight", &total[..width], &expected[1], 5e-5);
        close("norm by bias", &total[width..], &expected[2], 5e-5);
    }
}

fn softmax(kernels: &Kernels, kind: DType, most: f32, queries: usize, keys: usize, causal: bool) {
    let scale = 0.35;
    let shape = [2, 3, queries, keys];
    let scores = draw("scores", &shape, kind);
    let gradient = draw("slope", &shape, kind);
    let first = if causal { keys - queries + 1 } else { keys };
    let hidden: Vec<f32> = (0..queries)
        .flat_map(|query| {
            (0..keys).map(move |key| {
                if key < first + query {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    let hidden = Tensor::from_vec(hidden, (queries, keys), &Device::Cpu).unwrap();
    let masked = (scores.as_tensor() * f64::from(scale)).unwrap();
    let masked = masked.broadcast_add(&hidden).unwrap();
    let weights = candle_nn::ops::softmax(&masked, D::Minus1).unwrap();

    let sight = Sight {
        queries,
        keys,
        first,
    };
    let count = scores.elem_count();
    let mut ours = Values::of(&scores, kind);
    kernels.run(call::softmax(kind, count, sight, scale, &mut ours).unwrap());
    close("softmax", &ours.read(), &list(&weights), most);

    let expected = slopes(&weights, gradient.as_tensor(), &[&scores]);
    let rows = Rows {
        count: count / keys,
        width: keys,
    };
    let mut slope = Values::of(&gradient, kind);
    kernels.run(call::softmax_backward(kind, rows, scale, &ours, &mut slope).unwrap());
    close("softmax by scores", &slope.read(), &expected[0], most);
}

/// Scores whose powers are beyond f32.
fn large_scores(kernels: &Kernels) {
    let scores = Tensor::new(&[1000f32, 1001.0, -2000.0], &Device::Cpu).unwrap();
    let mut ours = Values::of(&scores, DType::F32);
    let sight = Sight {
        queries: 1,
        keys: 3,
        first: 3,
    };
    kernels.run(call::softmax(DType::F32, 3, sight, 1.0, &mut ours).unwrap());
    let expected = [0.268_941_43, 0.731_058_6, 0.0];
    close("softmax of large scores", &ours.read(), &expected, 1e-6);
}

fn activation(kernels: &Kernels, kind: DType, most: f32) {
    let count = 1003;
    let x = draw("inner", &[count], kind);
    let gradient = draw("outer", &[count], kind);
    let y = quick_gelu(&x).unwrap();
    let given = Values::of(&x, kind);
    let mut out = Values::room(kind, count);
    kernels.run(call::quick_gelu(kind, count, &given, &mut out).unwrap());
    close("QuickGELU", &out.read(), &list(&y), most);

    let expected = slopes(&y, gradient.as_tensor(), &[&x]);
    let g = Values::of(&gradient, kind);
    let mut dx = Values::room(kind, count);
    kernels.run(call::quick_gelu_backward(kind, count, [&given, &g], &mut dx).unwrap());
    close("QuickGELU by x", &dx.read(), &expected[0], most);
}

fn optimiser(kernels: &Kernels) {
    let count = 1003;
    // Once as AdamW, once as Adam.
    for (pull, shrink) in [(0.0, 0.002), (0.02, 0.0)] {
        let step = Step {
            scale: 0.7,
            pull,
            beta: [0.9, 0.98],
            rest: [0.1, 0.02],
            size: 0.01,
            eps: 1e-8,
            shrink,
        };
        let [mut values, gradient, mut first, second] = ["values", "gradient", "first", "second"]
            .map(|name| list(&draw(name, &[count], DType::F32)));
        let mut second: Vec<f32> = second.iter().map(|x| x * x).collect();
        let f32s = |values: &[f32]| {
            let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap();
            Values::of(&tensor, DType::F32)
        };
        let given = f32s(&gradient);
        let mut ours = [&values, &first, &second].map(|values| f32s(values));
        // Two steps: the second one on what the first has left.
        for _ in 0..2 {
            kernels.run(call::adamw(count, &step, ours.each_mut(), &given));
            apply(&step, &mut values, &gradient, &mut first, &mut second);
        }
        for (ours, theirs) in ours.iter().zip([values, first, second]) {
            close("AdamW", &ours.read(), &theirs, 1e-6);
        }
    }
}

fn squares(kernels: &Kernels, count: usize) {
    let sum = |x: &Tensor| {
        let given = Values::of(x, DType::F32);
        let mut sums = Values::room(DType::F64, call::square_parts(count));
        kernels.run(call::squares(count, &given, &mut sums));
        sums.read().iter().sum::<f32>()
    };
    let x = draw("squares", &[count], DType::F32);
    let expected: f64 = list(&x).iter().map(|x| f64::from(x * x)).sum();
    let found = f64::from(sum(&x));
    assert!(
        (found - expected).abs() <= 1e-5 * expected,
        "{found} {expected}"
    );
    let mut values = list(&x);
    for bad in [f32::NAN, f32::INFINITY] {
        values[count / 2] = bad;
        let x = Tensor::from_slice(&values, count, &Device::Cpu).unwrap();
        assert!(!sum(&x).is_finite());
    }
}

/// What the driver is there to find is found.
fn wrong_calls(kernels: &Kernels) {
    let x = Values::room(DType::F32, 8);
    let wrong = |kind: DType, values: usize, arguments: usize| {
        let mut y = Values::room(kind, values);
        let mut call = call::quick_gelu(DType::F32, 8, &x, &mut y).unwrap();
        if let Argument::Write { values: given, .. } = &mut call.arguments[1] {
            *given = values;
        }
        call.arguments.truncate(arguments);
        kernels.try_run(call).unwrap_err()
    };
    assert!(wrong(DType::F16, 8, 3).contains("given as 'h' and wanted as 'f'"));
    assert!(wrong(DType::F32, 4, 3).contains("writes beyond a buffer"));
    assert!(wrong(DType::F32, 8, 2).contains("takes 3 arguments, not 2"));
}

/// Where there is a toolkit, its compiler reads the kernels for the GPUs that we know.
#[test]
fn kernels_are_cuda() {
    let prepared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cuda/environment.sh");
    let script = format!(
        "if [ -f '{0}' ]; then . '{0}'; fi; command -v nvcc >/dev/null || exit 77; \
         for capability in 80 90; do nvcc -x cu -cubin -arch=sm_$capability -Xptxas -v -o kernels.cubin kernels.cu \
         || exit 1; done",
        prepared.display()
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kernels.cu"), SOURCE).unwrap();
    let compiled = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output();
    let Some(compiled) = compiled.ok().filter(|done| done.status.code() != Some(77)) else {
        let why = "CUDA kernels not compiled for want of nvcc: `cargo xtask cuda --prepare` has it";
        let mut terminal = std::io::stderr();
        writeln!(terminal, "{why}").unwrap();
        return;
    };
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    for name in names() {
        assert!(said.contains(&format!("'{name}'")), "{name} is no kernel");
    }
    let spills: Vec<&str> = said.lines().filter(|line| line.contains("spill")).collect();
    assert_eq!(spills.len(), 2 * names().len());
    for line in spills {
        assert!(
            line.contains("0 bytes spill stores, 0 bytes spill loads"),
            "{line}"
        );
    }
}
