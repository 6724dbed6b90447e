// Owns QuickGELU, x * sigmoid(1.702 x), value by value.

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T>
__device__ void quick_gelu(const T* x, T* y, count_t count) {
    for (count_t i = first_place(); i < count; i += all_threads()) {
        float v = number(x[i]);
        y[i] = rounded<T>(v * sigmoid(1.702f * v));
    }
}

template <class T>
__device__ void quick_gelu_backward(const T* x, const T* gradient, T* dx, count_t count) {
    for (count_t i = first_place(); i < count; i += all_threads()) {
        float v = number(x[i]);
        float s = sigmoid(1.702f * v);
        dx[i] = rounded<T>(number(gradient[i]) * (s + 1.702f * v * s * (1.0f - s)));
    }
}

#define QUICK_GELU(T, NAME)                                                                                          \
    extern "C" __global__ void quick_gelu_##NAME(const T* x, T* y, count_t count) { quick_gelu<T>(x, y, count); }    \
    extern "C" __global__ void quick_gelu_backward_##NAME(const T* x, const T* gradient, T* dx, count_t count) {     \
        quick_gelu_backward<T>(x, gradient, dx, count);                                                              \
    }

QUICK_GELU(float, f32)
QUICK_GELU(f16, f16)
QUICK_GELU(bf16, bf16)
