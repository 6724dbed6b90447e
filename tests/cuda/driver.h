// Owns the program around the kernels: it reads calls from its input, makes them, and writes what they have written.
// A call that does not fit its kernel ends it, and so does a value written where none belongs. Around every buffer lie
// values that are no numbers, so that reading beyond one spoils the result.

template <class T> struct Kind;
template <> struct Kind<float> { static constexpr char code = 'f'; };
template <> struct Kind<double> { static constexpr char code = 'd'; };
template <> struct Kind<f16> { static constexpr char code = 'h'; };
template <> struct Kind<bf16> { static constexpr char code = 'b'; };

std::string kernel_name;
unsigned argument;

void expect(char code, char wanted) {
    if (code != wanted) {
        std::fprintf(stderr, "%s: argument %u is given as '%c' and wanted as '%c'\n", kernel_name.c_str(), argument,
                     code, wanted);
        std::exit(1);
    }
}

template <class T>
T take() {
    T value;
    if (std::fread(&value, sizeof value, 1, stdin) != 1) {
        give_up("the input ends within a call");
    }
    return value;
}

template <class T>
struct Buffer {
    static constexpr size_t MARGIN = 64;
    size_t values;
    std::vector<T> given, used;

    explicit Buffer(char access) {
        expect(take<char>(), access);
        expect(take<char>(), Kind<T>::code);
        values = take<uint64_t>();
        given.resize(values + 2 * MARGIN);
        std::memset((void*)given.data(), 0xff, given.size() * sizeof(T));
        if (std::fread((void*)(given.data() + MARGIN), sizeof(T), values, stdin) != values) {
            give_up("the input ends within a buffer");
        }
        argument++;
    }

    T* start() {
        used = given;
        return used.data() + MARGIN;
    }

    void check() {
        size_t margin = MARGIN * sizeof(T);
        size_t end = (MARGIN + values) * sizeof(T);
        if (std::memcmp(used.data(), given.data(), margin) != 0 ||
            std::memcmp((char*)used.data() + end, (char*)given.data() + end, margin) != 0) {
            std::fprintf(stderr, "%s writes beyond a buffer\n", kernel_name.c_str());
            std::exit(1);
        }
    }
};

template <class A> struct Slot;

template <class T>
struct Slot<const T*> : Buffer<T> {
    Slot() : Buffer<T>('r') {}
    const T* value() { return this->start(); }
    void keep() {}
    void write() {}
};

template <class T>
struct Slot<T*> : Buffer<T> {
    std::vector<T> first;
    Slot() : Buffer<T>('w') {}
    T* value() { return this->start(); }

    // After the first run, and after that in the other order.
    void keep() {
        this->check();
        if (first.empty()) {
            first = this->used;
        } else if (std::memcmp(first.data(), this->used.data(), first.size() * sizeof(T)) != 0) {
            std::fprintf(stderr, "%s depends on the order of its threads\n", kernel_name.c_str());
            std::exit(1);
        }
    }

    void write() { std::fwrite(first.data() + Buffer<T>::MARGIN, sizeof(T), this->values, stdout); }
};

template <class T, char CODE>
struct Plain {
    T given;
    Plain() {
        expect(take<char>(), CODE);
        given = take<T>();
        argument++;
    }
    T value() { return given; }
    void keep() {}
    void write() {}
};

template <> struct Slot<unsigned> : Plain<unsigned, 'u'> {};
template <> struct Slot<unsigned long long> : Plain<unsigned long long, 'q'> {};
template <> struct Slot<float> : Plain<float, 'n'> {};

template <class... A>
void call(void (*kernel)(A...)) {
    unsigned shape[4];
    for (unsigned& size : shape) {
        size = take<uint32_t>();
    }
    unsigned given = take<uint32_t>();
    if (given != sizeof...(A)) {
        std::fprintf(stderr, "%s takes %zu arguments, not %u\n", kernel_name.c_str(), sizeof...(A), given);
        std::exit(1);
    }
    argument = 0;
    // Braces: made from left to right.
    std::tuple<Slot<A>...> slots{Slot<A>()...};
    for (bool backwards : {false, true}) {
        auto values = std::apply([](auto&... slot) { return std::tuple<A...>{slot.value()...}; }, slots);
        shim::body = [&] { std::apply(kernel, values); };
        shim::run_grid(shape[0], shape[1], shape[2], shape[3], backwards);
        std::apply([](auto&... slot) { (slot.keep(), ...); }, slots);
    }
    std::apply([](auto&... slot) { (slot.write(), ...); }, slots);
}

struct Entry {
    const char* name;
    void (*start)();
};

extern const Entry TABLE[];
extern const unsigned ENTRIES;

int main() {
    uint32_t length;
    while (std::fread(&length, sizeof length, 1, stdin) == 1) {
        kernel_name.resize(length);
        if (std::fread(&kernel_name[0], 1, length, stdin) != length) {
            give_up("the input ends within a name");
        }
        unsigned found = 0;
        while (found < ENTRIES && kernel_name != TABLE[found].name) {
            found++;
        }
        if (found == ENTRIES) {
            give_up(("there is no kernel " + kernel_name).c_str());
        }
        TABLE[found].start();
    }
}
