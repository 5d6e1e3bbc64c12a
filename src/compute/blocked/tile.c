/* The microkernel in assembly: gcc's own schedule of the same loop reaches about 70 % of the FMA peak on
 * AVX2, this 95 % and more. Row r accumulates in vector registers r and 10 + r; r8... hold the addresses of
 * the rows' inputs, rax the byte offset along k, rdx the weights. Every element is one chain of FMAs from 0
 * in the order of k, whatever the number of rows; init + bias is added at the end.
 *
 * On AVX-512, whose FMAs outrun the third-level cache, weights are asked for AHEAD bytes before they are
 * needed: the processor's own prefetching stops at pages. */
#include "compute/blocked/tile.h"

#ifdef __AVX512F__
#define VECTOR "zmm"
#define BYTES  "64"
#define HALF   "32"
#define B0     "%%zmm26"
#define B1     "%%zmm27"
#define A0     "%%zmm28"
#define A1     "%%zmm29"
#define AHEAD  "16384"
#else
#define VECTOR "ymm"
#define BYTES  "32"
#define HALF   "16"
#define B0     "%%ymm6"
#define B1     "%%ymm7"
#define A0     "%%ymm8"
#define A1     "%%ymm9"
#endif

#define ROWS_1(X) X(0, r8, A0)
#define ROWS_2(X) ROWS_1(X) X(1, r9, A1)
#define ROWS_3(X) ROWS_2(X) X(2, r10, A0)
#define ROWS_4(X) ROWS_3(X) X(3, r11, A1)
#define ROWS_5(X) ROWS_4(X) X(4, r12, A0)
#define ROWS_6(X) ROWS_5(X) X(5, r13, A1)
#define ROWS_7(X) ROWS_6(X) X(6, r14, A0)
#define ROWS_8(X) ROWS_7(X) X(7, r15, A1)

/* clang-format off */
#define ROW_ADDRESS(r, address, a) "mov 8*" #r "(%%rdx),%%" #address "\n add %%rax,%%" #address "\n"

/* Parts that depend on the panel width: _1 has one vector, _2 two. */
#define CLEAR_1 \
    "vxorps %%xmm\\r,%%xmm\\r,%%xmm\\r\n"
#define CLEAR_2 CLEAR_1 \
    "vxorps %%xmm1\\r,%%xmm1\\r,%%xmm1\\r\n"
#define LOAD_float_1 \
    "vmovups \\k*" BYTES "(%%rdx)," B0 "\n"
#ifdef AHEAD
#define FETCH_float_2 \
    "prefetcht0 2*\\k*" BYTES "+" AHEAD "(%%rdx)\n" \
    "prefetcht0 (2*\\k+1)*" BYTES "+" AHEAD "(%%rdx)\n"
#else
#define FETCH_float_2
#endif
#define LOAD_float_2 FETCH_float_2 \
    "vmovups 2*\\k*" BYTES "(%%rdx)," B0 "\n" \
    "vmovups (2*\\k+1)*" BYTES "(%%rdx)," B1 "\n"
#define LOAD_half_1 \
    "vcvtph2ps \\k*" HALF "(%%rdx)," B0 "\n"
#define LOAD_half_2 \
    "vcvtph2ps 2*\\k*" HALF "(%%rdx)," B0 "\n" \
    "vcvtph2ps (2*\\k+1)*" HALF "(%%rdx)," B1 "\n"
#define STRIDE_float BYTES
#define STRIDE_half  HALF
#define FMA_1(r, address, a) \
    "vbroadcastss 4*\\k(%%" #address ",%%rax)," a "\n" \
    "vfmadd231ps " B0 "," a ",%%" VECTOR #r "\n"
#define FMA_2(r, address, a) FMA_1(r, address, a) \
    "vfmadd231ps " B1 "," a ",%%" VECTOR "1" #r "\n"
#define BIAS_1 \
    "vmovups (%%rax)," B0 "\n"
#define BIAS_2 BIAS_1 \
    "vmovups " BYTES "(%%rax)," B1 "\n"
/* rax + r8: init of a row, rdx + r9: out. */
#define END_1 \
    "vaddps (%%rax,%%r8)," B0 "," A0 "\n" \
    "vaddps " A0 ",%%" VECTOR "\\r,%%" VECTOR "\\r\n" \
    "vmovups %%" VECTOR "\\r,(%%rdx,%%r9)\n"
#define END_2 END_1 \
    "vaddps " BYTES "(%%rax,%%r8)," B1 "," A1 "\n" \
    "vaddps " A1 ",%%" VECTOR "1\\r,%%" VECTOR "1\\r\n" \
    "vmovups %%" VECTOR "1\\r," BYTES "(%%rdx,%%r9)\n"

#ifdef __AVX512F__
#define MORE_VECTORS , "xmm16", "xmm17", "xmm26", "xmm27", "xmm28", "xmm29"
#else
#define MORE_VECTORS
#endif
#define FIELD(name) [name] "i"(offsetof(struct tile, name))

/* 1: segments. 2: k by 4, 4: what is left of it. */
#define KERNEL(type, rows, vectors, list)                                                                       \
    static void type##_##rows##_##vectors(const struct tile *tile)                                            \
    {                                                                                                        \
        __asm__ volatile(".irp r," list "\n" CLEAR_##vectors ".endr\n"                                       \
                         "mov %c[segments](%%rdi),%%rsi\n"                                                   \
                         "1: mov (%%rsi),%%rax\n"                                                            \
                         "mov 8(%%rsi),%%rdx\n"                                                              \
                         "add %c[first](%%rdi),%%rdx\n"                                                      \
                         ROWS_##rows(ROW_ADDRESS)                                                            \
                         "mov 16(%%rsi),%%rcx\n"                                                             \
                         "mov 24(%%rsi),%%rdx\n"                                                             \
                         "xor %%eax,%%eax\n"                                                                 \
                         "sub $4,%%rcx\n"                                                                    \
                         "jl 3f\n"                                                                           \
                         ".p2align 5\n"                                                                      \
                         "2: .irp k,0,1,2,3\n" LOAD_##type##_##vectors ROWS_##rows(FMA_##vectors) ".endr\n"         \
                         "add $16,%%rax\n"                                                                   \
                         "add $4*" #vectors "*" STRIDE_##type ",%%rdx\n"                                             \
                         "sub $4,%%rcx\n"                                                                    \
                         "jge 2b\n"                                                                          \
                         "3: add $4,%%rcx\n"                                                                 \
                         "jz 5f\n"                                                                           \
                         "4: .irp k,0\n" LOAD_##type##_##vectors ROWS_##rows(FMA_##vectors) ".endr\n"               \
                         "add $4,%%rax\n"                                                                    \
                         "add $" #vectors "*" STRIDE_##type ",%%rdx\n"                                               \
                         "dec %%rcx\n"                                                                       \
                         "jnz 4b\n"                                                                          \
                         "5: add $32,%%rsi\n"                                                                \
                         "cmp %c[end](%%rdi),%%rsi\n"                                                        \
                         "jne 1b\n"                                                                          \
                         "mov %c[bias](%%rdi),%%rax\n" BIAS_##vectors                                        \
                         "mov %c[init](%%rdi),%%rax\n"                                                       \
                         "mov %c[init_rows](%%rdi),%%rsi\n"                                                  \
                         "mov %c[out](%%rdi),%%rdx\n"                                                        \
                         "mov %c[out_rows](%%rdi),%%rcx\n"                                                   \
                         ".irp r," list "\n"                                                                 \
                         "mov 8*\\r(%%rsi),%%r8\n"                                                           \
                         "mov 8*\\r(%%rcx),%%r9\n" END_##vectors ".endr\n"                                   \
                         "vzeroupper\n"                                                                     \
                         :                                                                                   \
                         : "D"(tile), FIELD(segments), FIELD(end), FIELD(first), FIELD(init),                \
                           FIELD(init_rows), FIELD(bias), FIELD(out), FIELD(out_rows)                        \
                         : "memory", "cc", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12",      \
                           "r13", "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",      \
                           "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",              \
                           "xmm15" MORE_VECTORS);                                                            \
    }
/* clang-format on */
#define KERNELS(type)                                                                                        \
    KERNEL(type, 1, 1, "0")                                                                                  \
    KERNEL(type, 1, 2, "0")                                                                                  \
    KERNEL(type, 2, 1, "0,1")                                                                                \
    KERNEL(type, 2, 2, "0,1")                                                                                \
    KERNEL(type, 3, 1, "0,1,2")                                                                              \
    KERNEL(type, 3, 2, "0,1,2")                                                                              \
    KERNEL(type, 4, 1, "0,1,2,3")                                                                            \
    KERNEL(type, 4, 2, "0,1,2,3")                                                                            \
    KERNEL(type, 5, 1, "0,1,2,3,4")                                                                          \
    KERNEL(type, 5, 2, "0,1,2,3,4")                                                                          \
    KERNEL(type, 6, 1, "0,1,2,3,4,5")                                                                        \
    KERNEL(type, 6, 2, "0,1,2,3,4,5")
#define LARGE_KERNELS(type)                                                                                  \
    KERNEL(type, 7, 1, "0,1,2,3,4,5,6")                                                                      \
    KERNEL(type, 7, 2, "0,1,2,3,4,5,6")                                                                      \
    KERNEL(type, 8, 1, "0,1,2,3,4,5,6,7")                                                                    \
    KERNEL(type, 8, 2, "0,1,2,3,4,5,6,7")

#define NAMES(type)                                                                                          \
    {type##_1_1, type##_1_2}, {type##_2_1, type##_2_2}, {type##_3_1, type##_3_2}, {type##_4_1, type##_4_2},  \
        {type##_5_1, type##_5_2}, {type##_6_1, type##_6_2},
#define LARGE_NAMES(type) {type##_7_1, type##_7_2}, {type##_8_1, type##_8_2},

KERNELS(float)
KERNELS(half)
#ifdef __AVX512F__
LARGE_KERNELS(float)
LARGE_KERNELS(half)
tile_kernel *const BLOCKED(tile_kernels)[TILE_ROWS][2] = {NAMES(float) LARGE_NAMES(float)};
tile_kernel *const BLOCKED(half_tile_kernels)[TILE_ROWS][2] = {NAMES(half) LARGE_NAMES(half)};
#else
tile_kernel *const BLOCKED(tile_kernels)[TILE_ROWS][2] = {NAMES(float)};
tile_kernel *const BLOCKED(half_tile_kernels)[TILE_ROWS][2] = {NAMES(half)};
#endif
