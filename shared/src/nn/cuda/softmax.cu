// Owns the softmax of attention, in place: a warp takes a query's scores. What a query does not see gets no weight.

// softmax(scale * scores) over the last dimension of [.., queries, keys]; a query sees the first `first + its place` keys.
template <class T>
__device__ void softmax(T* scores, unsigned rows, unsigned queries, unsigned keys, unsigned first, float scale) {
    unsigned row = warp_row();
    if (row >= rows) {
        return;
    }
    scores += (count_t)row * keys;
    unsigned seen = first + row % queries;
    seen = seen < keys ? seen : keys;
    float most = __uint_as_float(0xff800000u);
    for (unsigned j = threadIdx.x; j < seen; j += WARP) {
        most = fmaxf(most, scale * number(scores[j]));
    }
    most = warp_max(most);
    float sum = 0.0f;
    for (unsigned j = threadIdx.x; j < seen; j += WARP) {
        sum += expf(scale * number(scores[j]) - most);
    }
    float share = 1.0f / warp_sum(sum);
    for (unsigned j = threadIdx.x; j < keys; j += WARP) {
        scores[j] = rounded<T>(j < seen ? expf(scale * number(scores[j]) - most) * share : 0.0f);
    }
}

// The gradient by the scores from that by the weights: scale * w * (g - sum of g w).
template <class T>
__device__ void softmax_backward(const T* weights, T* gradient, unsigned rows, unsigned keys, float scale) {
    unsigned row = warp_row();
    if (row >= rows) {
        return;
    }
    weights += (count_t)row * keys;
    gradient += (count_t)row * keys;
    float sum = 0.0f;
    for (unsigned j = threadIdx.x; j < keys; j += WARP) {
        sum += number(weights[j]) * number(gradient[j]);
    }
    sum = warp_sum(sum);
    for (unsigned j = threadIdx.x; j < keys; j += WARP) {
        gradient[j] = rounded<T>(scale * number(weights[j]) * (number(gradient[j]) - sum));
    }
}

#define SOFTMAX(T, NAME)                                                                                             \
    extern "C" __global__ void softmax_##NAME(T* scores, unsigned rows, unsigned queries, unsigned keys,             \
                                              unsigned first, float scale) {                                         \
        softmax<T>(scores, rows, queries, keys, first, scale);                                                       \
    }                                                                                                                \
    extern "C" __global__ void softmax_backward_##NAME(const T* weights, T* gradient, unsigned rows, unsigned keys,  \
                                                       float scale) {                                                \
        softmax_backward<T>(weights, gradient, rows, keys, scale);                                                   \
    }

SOFTMAX(float, f32)
SOFTMAX(f16, f16)
SOFTMAX(bf16, bf16)
