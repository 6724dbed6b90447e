// Owns what CUDA C++ has and C++ has not, so that kernels run on a processor in tests. The threads of a block are fibers
// that take turns: each runs to its next barrier. Which comes first can be turned around, to find missing barriers.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __shared__ static

struct Place {
    unsigned x, y, z;
};

Place threadIdx, blockIdx, blockDim, gridDim;

[[noreturn]] void give_up(const char* why) {
    std::fprintf(stderr, "%s\n", why);
    std::exit(1);
}

namespace shim {

constexpr unsigned LANES = 32;
constexpr size_t STACK = 1 << 16;

enum class State { Ready, AtWarp, AtBlock, Done };

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    State state;
};

std::vector<Fiber> fibers;
ucontext_t scheduler;
unsigned current;
std::vector<float> exchanged;
std::function<void()> body;

void wait(State where) {
    fibers[current].state = where;
    swapcontext(&fibers[current].context, &scheduler);
}

void enter() {
    body();
    fibers[current].state = State::Done;
}

// Lets go on whoever waits with all others of his group; false if nobody can.
bool release(unsigned from, unsigned to, State where) {
    for (unsigned i = from; i < to; i++) {
        if (fibers[i].state != where) {
            return false;
        }
    }
    for (unsigned i = from; i < to; i++) {
        fibers[i].state = State::Ready;
    }
    return true;
}

void run_block(bool backwards) {
    unsigned count = blockDim.x * blockDim.y;
    while (fibers.size() < count) {
        fibers.emplace_back();
    }
    exchanged.assign(count, 0.0f);
    for (unsigned i = 0; i < count; i++) {
        Fiber& fiber = fibers[i];
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, enter, 0);
        fiber.state = State::Ready;
    }
    while (true) {
        unsigned done = 0;
        for (unsigned turn = 0; turn < count; turn++) {
            current = backwards ? count - 1 - turn : turn;
            if (fibers[current].state == State::Ready) {
                threadIdx = Place{current % blockDim.x, current / blockDim.x, 0};
                swapcontext(&scheduler, &fibers[current].context);
            }
            done += fibers[current].state == State::Done;
        }
        if (done == count) {
            return;
        }
        bool released = release(0, count, State::AtBlock);
        for (unsigned warp = 0; warp < count; warp += LANES) {
            unsigned end = warp + LANES < count ? warp + LANES : count;
            released = release(warp, end, State::AtWarp) || released;
        }
        if (!released) {
            give_up("threads have parted: some wait at a barrier that others never reach");
        }
    }
}

void run_grid(unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned block_y, bool backwards) {
    gridDim = Place{grid_x, grid_y, 1};
    blockDim = Place{block_x, block_y, 1};
    unsigned count = grid_x * grid_y;
    for (unsigned turn = 0; turn < count; turn++) {
        unsigned block = backwards ? count - 1 - turn : turn;
        blockIdx = Place{block % grid_x, block / grid_x, 0};
        run_block(backwards);
    }
}

}  // namespace shim

void __syncthreads() { shim::wait(shim::State::AtBlock); }

float __shfl_xor_sync(unsigned mask, float x, unsigned distance) {
    if (mask != 0xffffffffu) {
        give_up("a shuffle that is not of a whole warp");
    }
    unsigned own = shim::current;
    shim::exchanged[own] = x;
    shim::wait(shim::State::AtWarp);
    float other = shim::exchanged[own ^ distance];
    shim::wait(shim::State::AtWarp);
    return other;
}

float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

// IEEE 754 binary16, as the conversions of a GPU.
float half_to_float(unsigned short bits) {
    float sign = bits & 0x8000 ? -1.0f : 1.0f;
    int exponent = (bits >> 10) & 0x1f;
    int fraction = bits & 0x3ff;
    if (exponent == 0x1f) {
        return fraction ? NAN : sign * INFINITY;
    }
    if (exponent == 0) {
        return sign * std::ldexp((float)fraction, -24);
    }
    return sign * std::ldexp((float)(fraction | 0x400), exponent - 25);
}

unsigned short float_to_half(float x) {
    unsigned short sign = std::signbit(x) ? 0x8000 : 0;
    float size = std::fabs(x);
    if (std::isnan(x)) {
        return 0x7fff;
    }
    if (size >= 65520.0f) {
        return sign | 0x7c00;
    }
    // The unit of the last of eleven bits, or of the smallest numbers; nearbyint rounds ties to even.
    int exponent;
    std::frexp(size, &exponent);
    int unit = exponent - 11 < -24 ? -24 : exponent - 11;
    int units = (int)std::nearbyint(std::ldexp(size, -unit));
    if (units >= 2048) {
        units /= 2;
        unit += 1;
    }
    return units < 1024 ? sign | units : sign | ((unit + 25) << 10) | (units - 1024);
}
