// Owns the optimiser's step on values where they lie, and the squares of a gradient that it needs before.

extern "C" __global__ void adamw(float* values, const float* gradient, float* first, float* second, count_t count,
                                 float scale, float pull, float beta1, float beta2, float rest1, float rest2,
                                 float size, float eps, float shrink) {
    for (count_t i = first_place(); i < count; i += all_threads()) {
        float value = values[i];
        float g = gradient[i] * scale + pull * value;
        float m = beta1 * first[i] + rest1 * g;
        float v = beta2 * second[i] + rest2 * g * g;
        first[i] = m;
        second[i] = v;
        value -= size * m / (sqrtf(v) + eps);
        values[i] = value - shrink * value;
    }
}

constexpr unsigned SQUARE_THREADS = 256;

// The sum of squares that each block has found. A square too large for f32 counts as infinite, as on the CPU.
extern "C" __global__ void squares(const float* x, double* sums, count_t count) {
    __shared__ double found[SQUARE_THREADS];
    double sum = 0.0;
    for (count_t i = first_place(); i < count; i += all_threads()) {
        sum += (double)(x[i] * x[i]);
    }
    found[threadIdx.x] = sum;
    __syncthreads();
    for (unsigned half = SQUARE_THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            found[threadIdx.x] += found[threadIdx.x + half];
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = found[0];
    }
}
