// Owns layer normalisation: a warp takes a row. The row is read again rather than kept, for it stays in the first cache.

struct Statistics {
    float mean;
    // 1 / sqrt(variance + eps)
    float inverse;
};

template <class T>
__device__ Statistics statistics(const T* x, unsigned width, float eps) {
    float sum = 0.0f;
    for (unsigned j = threadIdx.x; j < width; j += WARP) {
        sum += number(x[j]);
    }
    float mean = warp_sum(sum) / width;
    float squares = 0.0f;
    for (unsigned j = threadIdx.x; j < width; j += WARP) {
        float centred = number(x[j]) - mean;
        squares += centred * centred;
    }
    return Statistics{mean, 1.0f / sqrtf(warp_sum(squares) / width + eps)};
}

template <class T, class W>
__device__ void layer_norm(const T* x, const W* weight, const W* bias, T* y, unsigned rows, unsigned width, float eps) {
    unsigned row = warp_row();
    if (row >= rows) {
        return;
    }
    x += (count_t)row * width;
    y += (count_t)row * width;
    Statistics s = statistics(x, width, eps);
    for (unsigned j = threadIdx.x; j < width; j += WARP) {
        y[j] = rounded<T>((number(x[j]) - s.mean) * s.inverse * number(weight[j]) + number(bias[j]));
    }
}

// The gradient by x: with h = gradient * weight and n = normalised x, (h - mean h - n * mean(h n)) * inverse.
template <class T, class W>
__device__ void layer_norm_backward(const T* x, const W* weight, const T* gradient, T* dx, unsigned rows,
                                    unsigned width, float eps) {
    unsigned row = warp_row();
    if (row >= rows) {
        return;
    }
    x += (count_t)row * width;
    gradient += (count_t)row * width;
    dx += (count_t)row * width;
    Statistics s = statistics(x, width, eps);
    float sum = 0.0f;
    float along = 0.0f;
    for (unsigned j = threadIdx.x; j < width; j += WARP) {
        float h = number(gradient[j]) * number(weight[j]);
        sum += h;
        along += h * (number(x[j]) - s.mean) * s.inverse;
    }
    sum = warp_sum(sum) / width;
    along = warp_sum(along) / width;
    for (unsigned j = threadIdx.x; j < width; j += WARP) {
        float h = number(gradient[j]) * number(weight[j]);
        float n = (number(x[j]) - s.mean) * s.inverse;
        dx[j] = rounded<T>((h - sum - n * along) * s.inverse);
    }
}

// Mean and inverse of each row, [rows, 2], for the sums over columns.
template <class T>
__device__ void layer_norm_statistics(const T* x, float* found, unsigned rows, unsigned width, float eps) {
    unsigned row = warp_row();
    if (row >= rows) {
        return;
    }
    Statistics s = statistics(x + (count_t)row * width, width, eps);
    if (threadIdx.x == 0) {
        found[2 * (count_t)row] = s.mean;
        found[2 * (count_t)row + 1] = s.inverse;
    }
}

constexpr unsigned COLUMN_WARPS = 8;

// Partial gradients by weight and bias, [parts, 2, width]: a block sums WARP columns over `span` rows, its warps in turn.
template <class T>
__device__ void layer_norm_columns(const T* x, const float* found, const T* gradient, float* parts, unsigned rows,
                                   unsigned width, unsigned span) {
    __shared__ float sums[2][COLUMN_WARPS][WARP];
    unsigned column = blockIdx.x * WARP + threadIdx.x;
    unsigned from = blockIdx.y * span;
    unsigned to = from + span < rows ? from + span : rows;
    float by_weight = 0.0f;
    float by_bias = 0.0f;
    if (column < width) {
        for (unsigned row = from + threadIdx.y; row < to; row += COLUMN_WARPS) {
            count_t at = (count_t)row * width + column;
            float g = number(gradient[at]);
            by_weight += g * (number(x[at]) - found[2 * (count_t)row]) * found[2 * (count_t)row + 1];
            by_bias += g;
        }
    }
    sums[0][threadIdx.y][threadIdx.x] = by_weight;
    sums[1][threadIdx.y][threadIdx.x] = by_bias;
    __syncthreads();
    if (threadIdx.y < 2 && column < width) {
        float sum = 0.0f;
        for (unsigned warp = 0; warp < COLUMN_WARPS; warp++) {
            sum += sums[threadIdx.y][warp][threadIdx.x];
        }
        parts[(2 * (count_t)blockIdx.y + threadIdx.y) * width + column] = sum;
    }
}

// Both gradients, [2, width], from their parts, in order.
extern "C" __global__ void layer_norm_total(const float* parts, float* total, unsigned count, unsigned width) {
    for (count_t i = first_place(); i < 2 * (count_t)width; i += all_threads()) {
        float sum = 0.0f;
        for (unsigned part = 0; part < count; part++) {
            sum += parts[2 * (count_t)part * width + i];
        }
        total[i] = sum;
    }
}

#define LAYER_NORM(T, T_NAME, W, W_NAME)                                                                             \
    extern "C" __global__ void layer_norm_##T_NAME##_##W_NAME(const T* x, const W* weight, const W* bias, T* y,      \
                                                              unsigned rows, unsigned width, float eps) {            \
        layer_norm<T, W>(x, weight, bias, y, rows, width, eps);                                                      \
    }                                                                                                                \
    extern "C" __global__ void layer_norm_backward_##T_NAME##_##W_NAME(                                              \
        const T* x, const W* weight, const T* gradient, T* dx, unsigned rows, unsigned width, float eps) {           \
        layer_norm_backward<T, W>(x, weight, gradient, dx, rows, width, eps);                                        \
    }

LAYER_NORM(float, f32, float, f32)
LAYER_NORM(f16, f16, f16, f16)
LAYER_NORM(f16, f16, float, f32)
LAYER_NORM(bf16, bf16, bf16, bf16)
LAYER_NORM(bf16, bf16, float, f32)

#define LAYER_NORM_PARAMETERS(T, T_NAME)                                                                             \
    extern "C" __global__ void layer_norm_statistics_##T_NAME(const T* x, float* found, unsigned rows,               \
                                                              unsigned width, float eps) {                           \
        layer_norm_statistics<T>(x, found, rows, width, eps);                                                        \
    }                                                                                                                \
    extern "C" __global__ void layer_norm_columns_##T_NAME(const T* x, const float* found, const T* gradient,        \
                                                           float* parts, unsigned rows, unsigned width,              \
                                                           unsigned span) {                                          \
        layer_norm_columns<T>(x, found, gradient, parts, rows, width, span);                                         \
    }

LAYER_NORM_PARAMETERS(float, f32)
LAYER_NORM_PARAMETERS(f16, f16)
LAYER_NORM_PARAMETERS(bf16, bf16)
