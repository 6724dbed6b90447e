// Owns what the kernels share: half numbers without the toolkit's headers, which NVRTC may not find, and sums of a warp.
// Arithmetic is in f32 whatever the tensors are. The sums' order is fixed, so the same numbers give the same bits.

typedef unsigned long long count_t;

constexpr unsigned WARP = 32;

struct f16 {
    unsigned short bits;
};

struct bf16 {
    unsigned short bits;
};

#ifdef __CUDACC__
__device__ inline float half_to_float(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

__device__ inline unsigned short float_to_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif

__device__ inline float number(float x) { return x; }
__device__ inline float number(f16 x) { return half_to_float(x.bits); }
__device__ inline float number(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

template <class T>
__device__ T rounded(float x);

template <>
__device__ inline float rounded<float>(float x) {
    return x;
}

template <>
__device__ inline f16 rounded<f16>(float x) {
    return f16{float_to_half(x)};
}

// To the nearest, ties to even; what is not a number stays none.
template <>
__device__ inline bf16 rounded<bf16>(float x) {
    unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return bf16{0x7fff};
    }
    return bf16{(unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// All lanes get the same bits, because a + b is b + a.
__device__ inline float warp_sum(float x) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    return x;
}

__device__ inline float warp_max(float x) {
    for (unsigned distance = WARP / 2; distance > 0; distance /= 2) {
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    }
    return x;
}

// The row of this warp: blocks are WARP lanes wide and have a warp for each of their rows.
__device__ inline unsigned warp_row() { return blockIdx.x * blockDim.y + threadIdx.y; }

// This thread's place among all, and how many there are: for loops over single values.
__device__ inline count_t first_place() { return (count_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline count_t all_threads() { return (count_t)gridDim.x * blockDim.x; }
