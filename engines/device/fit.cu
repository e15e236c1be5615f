// From an image of bytes to the input of a model, in one go: resized, put where it lies, scaled, one plane a channel.
//
// Resizes as OpenCV does with INTER_LINEAR: weights are whole 2048ths and sums are whole numbers, so that the result
// does not depend on how a GPU rounds. One thread writes one pixel of all three planes.
//
// `python -m engines.device.compile` makes fit.ptx of it, which every GPU from compute capability 7.5 on takes. The
// tests compile this very file for the CPU.

#ifdef __CUDACC__
extern "C" {
typedef unsigned short half_bits;
static __device__ half_bits as_half(float x)
{
    half_bits h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
#endif

typedef struct {
    int low, high, weight;  // between pixel `low` and pixel `high` of the source; 2048ths of the second
} Tap;

static __device__ Tap tap(int at, int source, int picture)
{
    // The middle of pixel `at` of the picture lies at (2 * at + 1) * source / (2 * picture) - 1 / 2 of the source.
    int over = (2 * at + 1) * source - picture, under = 2 * picture;
    Tap t = {0, 0, 0};
    if (over <= 0)
        return t;
    t.low = over / under;
    if (t.low >= source - 1) {
        t.low = t.high = source - 1;
        return t;
    }
    t.high = t.low + 1;
    t.weight = ((over - t.low * under) * 2048 + picture) / under;
    return t;
}

static __device__ int between(const unsigned char* upper, const unsigned char* lower, Tap x, int y_weight, int step)
{
    int above = upper[x.low * step] * (2048 - x.weight) + upper[x.high * step] * x.weight;
    int below = lower[x.low * step] * (2048 - x.weight) + lower[x.high * step] * x.weight;
    return ((((2048 - y_weight) * (above >> 4)) >> 16) + ((y_weight * (below >> 4)) >> 16) + 2) >> 2;
}

#define FIT(name, type, convert)                                                                                       \
    __global__ void name(const unsigned char* source, type* target, int source_w, int source_h, int channels,          \
                         int target_w, int target_h, int left, int top, int picture_w, int picture_h, int is_bgr,      \
                         int fill, float scale0, float scale1, float scale2, float offset0, float offset1,             \
                         float offset2)                                                                                \
    {                                                                                                                  \
        int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;                      \
        if (x >= target_w || y >= target_h)                                                                            \
            return;                                                                                                    \
        int first = fill, second = fill, third = fill;                                                                 \
        if (x >= left && x < left + picture_w && y >= top && y < top + picture_h) {                                    \
            Tap tx = tap(x - left, source_w, picture_w), ty = tap(y - top, source_h, picture_h);                       \
            const unsigned char* upper = source + (long long)ty.low * source_w * channels;                             \
            const unsigned char* lower = source + (long long)ty.high * source_w * channels;                            \
            first = second = third = between(upper, lower, tx, ty.weight, channels);                                   \
            if (channels == 3) {                                                                                       \
                second = between(upper + 1, lower + 1, tx, ty.weight, channels);                                       \
                third = between(upper + 2, lower + 2, tx, ty.weight, channels);                                        \
            }                                                                                                          \
        }                                                                                                              \
        long long plane = (long long)target_w * target_h, at = (long long)y * target_w + x;                            \
        target[at] = convert((is_bgr ? third : first) * scale0 + offset0);                                             \
        target[at + plane] = convert(second * scale1 + offset1);                                                       \
        target[at + 2 * plane] = convert((is_bgr ? first : third) * scale2 + offset2);                                 \
    }

FIT(fit_float32, float, )
FIT(fit_float16, half_bits, as_half)

#ifdef __CUDACC__
}
#endif
