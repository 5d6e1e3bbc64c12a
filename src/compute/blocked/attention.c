/* Attention: for every batch entry, head and block of queries, scores = q k^T and out = scores v are matrix
 * products with k^T and v packed into panels. */
#include "compute/blocked/blocked.h"

#include <math.h>
#include <string.h>

enum { QUERY_BLOCK = 128 };

struct attention_loop {
    const vipo_compute *compute;
    const vipo_attention *args;
};

struct attention_scratch {
    float *keys, *values; /* panels [head_dim][keys] and [keys][head_dim] */
    float *scores;        /* [queries of a block][keys padded] */
    ptrdiff_t *q_rows, *out_rows, *score_rows;
    size_t bytes;
};

static inline int value_dim(const vipo_attention *args)
{
    return args->value_dim ? args->value_dim : args->head_dim;
}

/* Lays the parts out from `base` on; with base NULL only bytes counts. */
static struct attention_scratch lay_out(const vipo_attention *args, char *base)
{
    const size_t queries = (size_t)least(args->queries, QUERY_BLOCK);
    const size_t sizes[6] = {
        panel_floats(args->head_dim, args->keys) * sizeof(float),
        panel_floats(args->keys, value_dim(args)) * sizeof(float),
        queries * padded_columns(args->keys) * sizeof(float),
        queries * sizeof(ptrdiff_t),
        queries * sizeof(ptrdiff_t),
        queries * sizeof(ptrdiff_t),
    };
    size_t at[7] = {0};
    for (int i = 0; i < 6; i++) at[i + 1] = at[i] + line_bytes(sizes[i]);
    struct attention_scratch s = {.bytes = at[6]};
    if (!base) return s;
    s.keys = (void *)(base + at[0]);
    s.values = (void *)(base + at[1]);
    s.scores = (void *)(base + at[2]);
    s.q_rows = (void *)(base + at[3]);
    s.out_rows = (void *)(base + at[4]);
    s.score_rows = (void *)(base + at[5]);
    return s;
}

size_t BLOCKED(attention_scratch)(const vipo_attention *args)
{
    return lay_out(args, NULL).bytes;
}

/* Four rows of a column block of 4, transposed. */
static void transpose_4x4(float *out, size_t out_stride, const float *x, size_t stride)
{
    __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + stride), c = _mm_loadu_ps(x + 2 * stride),
           d = _mm_loadu_ps(x + 3 * stride);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(out, a);
    _mm_storeu_ps(out + out_stride, b);
    _mm_storeu_ps(out + 2 * out_stride, c);
    _mm_storeu_ps(out + 3 * out_stride, d);
}

/* Panels [head_dim][keys] of k^T; columns past the last key are 0. */
static void pack_keys(float *panels, const float *k, size_t stride, int keys, int head_dim)
{
    for (int p = 0; p < panel_count(keys); p++) {
        const int first = p * PANEL, width = panel_width(keys, p), n = least(keys - first, width);
        float *panel = panels + (size_t)first * (size_t)head_dim;
        if (n < width) memset(panel, 0, (size_t)width * (size_t)head_dim * sizeof(float));
        for (int j = 0; j < n;) {
            const float *rows = k + (size_t)(first + j) * stride;
            const int block = n - j >= 4 ? 4 : 1;
            int c = 0;
            if (block == 4)
                for (; c + 4 <= head_dim; c += 4)
                    transpose_4x4(panel + c * width + j, (size_t)width, rows + c, stride);
            for (; c < head_dim; c++)
                for (int b = 0; b < block; b++)
                    panel[c * width + j + b] = rows[(size_t)b * stride + (size_t)c];
            j += block;
        }
    }
}

/* Panels [keys][head_dim] of v. */
static void pack_values(float *panels, const float *v, size_t stride, int keys, int head_dim)
{
    for (int p = 0; p < panel_count(head_dim); p++) {
        const int first = p * PANEL, width = panel_width(head_dim, p), n = least(head_dim - first, width);
        float *row = panels + (size_t)first * (size_t)keys;
        for (int j = 0; j < keys; j++, row += width) {
            memcpy(row, v + (size_t)j * stride + first, (size_t)n * sizeof(float));
            if (n < width) memset(row + n, 0, (size_t)(width - n) * sizeof(float));
        }
    }
}

/* Scores of one query, of which n exist, become e^(scale (s - s_top)), s_top the one with the highest
 * exponent; the others up to `padded` become 0. The sum is returned. */
static float exponentials(float *scores, int n, int padded, float scale)
{
    const vfloat factor = v_set(scale), sign = v_set(scale < 0 ? -1.0f : 1.0f);
    const int end = n / LANES * LANES, rest = n - end;
    vfloat top = v_mul(v_set(scores[0]), sign);
    for (int j = 0; j < end; j += LANES) top = v_max(top, v_mul(v_load(scores + j), sign));
    float highest = v_top(top);
    for (int j = end; j < n; j++) highest = fmaxf(highest, scale < 0 ? -scores[j] : scores[j]);
    const vfloat max = v_mul(v_set(highest), sign);
    vfloat sum = v_zero();
    for (int j = 0; j < end; j += LANES) {
        const vfloat e = v_exp(v_mul(v_sub(v_load(scores + j), max), factor));
        v_store(scores + j, e);
        sum = v_add(sum, e);
    }
    if (rest) {
        const vfloat e = v_exp(v_mul(v_sub(v_load_n(scores + end, rest), max), factor));
        memset(scores + end, 0, (size_t)(padded - end) * sizeof *scores);
        v_store_n(scores + end, e, rest);
        sum = v_add(sum, v_load(scores + end));
    } else {
        memset(scores + end, 0, (size_t)(padded - end) * sizeof *scores);
    }
    return v_sum(sum);
}

/* Task i = (batch * heads + head) * query blocks + block. */
static void attention_task(void *arg, int i, int thread)
{
    const struct attention_loop *loop = arg;
    const vipo_attention *args = loop->args;
    const int blocks = parts(args->queries, QUERY_BLOCK), first = i % blocks * QUERY_BLOCK;
    const int queries = least(args->queries - first, QUERY_BLOCK), head_dim = args->head_dim;
    const size_t head = (size_t)(i / blocks % args->heads), batch = (size_t)(i / blocks / args->heads);
    int keys = args->key_counts ? args->key_counts[batch] : args->keys;
    if (args->causal) keys = least(keys, first + queries);
    if (keys < 1) keys = 1;
    const struct attention_scratch s = lay_out(args, vipo_compute_scratch(loop->compute, thread));
    const int padded = (int)padded_columns(keys);
    pack_keys(s.keys, args->k.data + batch * args->k.batch + head * args->k.head, args->k.row, keys,
              head_dim);
    const int values = value_dim(args);
    pack_values(s.values, args->v.data + batch * args->v.batch + head * args->v.head, args->v.row, keys,
                values);
    for (int r = 0; r < queries; r++) {
        s.q_rows[r] = (ptrdiff_t)((size_t)(first + r) * args->q.row * sizeof(float));
        s.out_rows[r] = (ptrdiff_t)((size_t)(first + r) * args->out.row * sizeof(float));
        s.score_rows[r] = (ptrdiff_t)r * padded * (ptrdiff_t)sizeof(float);
    }
    const float *q = args->q.data + batch * args->q.batch + head * args->q.head;
    float *out = args->out.data + batch * args->out.batch + head * args->out.head;
    const struct gemm dot = {.rows = queries,
                             .columns = padded,
                             .n_segments = 1,
                             .segments = {{q, s.q_rows, head_dim, s.keys, head_dim, 0}},
                             .out = s.scores,
                             .out_rows = s.score_rows};
    BLOCKED(gemm)(&dot, 0, panel_count(padded));
    float inverse[QUERY_BLOCK];
    for (int r = 0; r < queries; r++) {
        const int seen = args->causal ? least(keys, first + r + 1) : keys;
        inverse[r] = 1.0f / exponentials(s.scores + (size_t)r * (size_t)padded, seen, padded, args->scale);
    }
    const struct gemm mix = {.rows = queries,
                             .columns = values,
                             .n_segments = 1,
                             .segments = {{s.scores, s.score_rows, keys, s.values, keys, 0}},
                             .out = out,
                             .out_rows = s.out_rows};
    BLOCKED(gemm)(&mix, 0, panel_count(values));
    for (int r = 0; r < queries; r++) {
        float *row = out + (size_t)(first + r) * args->out.row;
        for (int c = 0; c < values; c += LANES) {
            const int n = least(values - c, LANES);
            v_store_n(row + c, v_mul(v_load_n(row + c, n), v_set(inverse[r])), n);
        }
    }
}

void BLOCKED(attention)(const vipo_compute *compute, const vipo_attention *args)
{
    struct attention_loop loop = {compute, args};
    vipo_pool_run(compute->pool, args->batch * args->heads * parts(args->queries, QUERY_BLOCK),
                  attention_task, &loop);
}
