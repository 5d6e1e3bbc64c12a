/* Single network calls through the public functions, on a tiny model; and the shipped model against its own record. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "compute/ops.h"
#include "policy/model.h"
#include "support/golden.h"
#include "support/tiny_session.h"

static vipo_array call(vipo_planner *planner, const vipo_denoise_request *request)
{
    vipo_array v;
    vipo_error error = {0};
    double seconds = -1;
    assert_ok(vipo_planner_denoise(planner, request, &v, &seconds, &error), &error);
    assert_true(seconds > 0);
    assert_int_equal(v.rank, 5);
    assert_memory_equal(v.shape, request->x->shape, 5 * sizeof v.shape[0]);
    return v;
}

static void test_denoise(void **state)
{
    const tiny_session *f = *state;
    const int t[3] = {19, 0, 7};
    vipo_array x = tiny_video(1, 1), cond = made_up_array(4, SHAPE(1, TINY_SIDE, TINY_SIDE, 3), 1, 0, 1);
    vipo_array tokens = made_up_array(3, SHAPE(3, 4, TINY_TOKEN_WIDTH), 6, 0, 1);
    vipo_array one_text = made_up_array(3, SHAPE(1, 4, TINY_TOKEN_WIDTH), 6, 0, 1);
    const vipo_denoise_request batch = {
        .x = &f->noise, .cond = &f->conds, .tokens = &tokens, .t = t, .n_t = 3};
    vipo_array all = call(f->planner, &batch);
    for (size_t i = 0; i < 3; i++) {
        memcpy(x.data, f->noise.data + i * VIDEO, VIDEO * sizeof(float));
        memcpy(cond.data, f->conds.data + i * FRAME, FRAME * sizeof(float));
        const size_t size = vipo_array_size(&one_text);
        memcpy(one_text.data, tokens.data + i * size, size * sizeof(float));
        const vipo_denoise_request single = {
            .x = &x, .cond = &cond, .tokens = &one_text, .t = t + i, .n_t = 1};
        vipo_array v = call(f->planner, &single);
        assert_memory_equal(v.data, all.data + i * VIDEO, VIDEO * sizeof(float));
        vipo_array_free(&v);
    }
    vipo_planner *small = tiny_planner(f->model, 1, 2);
    vipo_array split = call(small, &batch);
    assert_memory_equal(split.data, all.data, 3 * VIDEO * sizeof(float));
    vipo_array_free(&split);
    vipo_planner_close(&small);
    vipo_array_free(&all);

    /* without the task: tokens of zeros */
    vipo_denoise_request request = {.x = &x, .cond = &cond, .tokens = &one_text, .t = t, .n_t = 1};
    request.unconditional = true;
    vipo_array without = call(f->planner, &request);
    memset(one_text.data, 0, vipo_array_size(&one_text) * sizeof(float));
    request.unconditional = false;
    vipo_array zeros = call(f->planner, &request);
    assert_memory_equal(without.data, zeros.data, VIDEO * sizeof(float));
    vipo_array_free(&without);
    vipo_array_free(&zeros);
    vipo_array_free(&x);
    vipo_array_free(&cond);
    vipo_array_free(&tokens);
    vipo_array_free(&one_text);
}

/* Half the memory for some weights, nearly the same v; "ref" keeps floats, "amx" its split numbers. */
static void test_half_weights(void **state)
{
    const tiny_session *f = *state;
    const int t[3] = {19, 0, 7};
    for (int table = 0; vipo_ops_available(table); table++) {
        vipo_model_options options;
        vipo_array v[2];
        size_t bytes[2];
        vipo_error error = {0};
        for (int half = 0; half < 2; half++) {
            vipo_model *model;
            vipo_model_default_options(&options);
            options.compute = vipo_ops_available(table)->name;
            options.half_weights = half;
            assert_ok(vipo_model_open(&model, test_tiny_folder("tiny"), &options, &error), &error);
            vipo_planner *planner = tiny_planner(model, 2, 0);
            const vipo_denoise_request request = {
                .x = &f->noise, .cond = &f->conds, .tokens = &f->tokens, .t = t, .n_t = 3};
            v[half] = call(planner, &request);
            bytes[half] = model->unet->store.bytes;
            vipo_planner_close(&planner);
            vipo_model_close(&model);
        }
        double difference = 0, norm = 0;
        for (size_t i = 0; i < 3 * VIDEO; i++) {
            const double d = (double)v[1].data[i] - (double)v[0].data[i];
            difference += d * d;
            norm += (double)v[0].data[i] * (double)v[0].data[i];
        }
        const double distance = sqrt(difference / norm);
        if (vipo_ops_available(table) == &vipo_ops_ref || vipo_ops_available(table)->by_name) {
            assert_true(distance == 0);
            assert_int_equal(bytes[1], bytes[0]);
        } else if (!(distance > 1e-6 && distance < 1e-2) || bytes[1] >= bytes[0]) {
            fail_msg("%s: relative L2 %g, %zu bytes in place of %zu", options.compute, distance, bytes[1],
                     bytes[0]);
        }
        vipo_array_free(&v[0]);
        vipo_array_free(&v[1]);
    }
}

typedef struct dumps {
    int count, blocks;
    size_t samples;
} dumps;

static void on_dump(void *user, const char *name, const vipo_array *value)
{
    dumps *d = user;
    d->count++;
    d->blocks += strcmp(name, "middle_block") == 0 || strcmp(name, "emb") == 0 || strcmp(name, "out") == 0;
    if (value->rank == 5) assert_int_equal(value->shape[0], d->samples);
    for (size_t i = 0; i < vipo_array_size(value); i++)
        if (!isfinite(value->data[i])) fail_msg("dump of %s: element %zu is not finite", name, i);
}

static void test_dump(void **state)
{
    const tiny_session *f = *state;
    const int t = 3;
    dumps d = {.samples = 3};
    vipo_denoise_request request = {
        .x = &f->noise, .cond = &f->conds, .tokens = &f->tokens, .t = &t, .n_t = 1};
    vipo_array plain = call(f->planner, &request);
    request.dump = on_dump;
    request.dump_user = &d;
    vipo_array dumped = call(f->planner, &request);
    assert_memory_equal(plain.data, dumped.data, 3 * VIDEO * sizeof(float));
    assert_int_equal(d.blocks, 3);
    assert_true(d.count > 50);
    vipo_array_free(&plain);
    vipo_array_free(&dumped);
    vipo_planner *small = tiny_planner(f->model, 1, 2);
    vipo_error error = {0};
    vipo_array v;
    assert_int_equal(vipo_planner_denoise(small, &request, &v, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "a dump needs the whole batch at once: at most 2 rows");
    assert_null(v.data);
    vipo_planner_close(&small);
}

typedef struct operations {
    int count, known;
    double seconds;
    vipo_operation last;
} operations;

static void on_operation(void *user, const vipo_operation *o)
{
    static const struct {
        const char *name, *op, *kind;
    } some[] = {
        {"time_embed", "linear", "linear"},
        {"emb_layers", "linear", "linear"},
        {"input_blocks.0.0", "conv_space", "3x3"},
        {"input_blocks.0.0", "conv_time", "time"},
        {"middle_block.1.norm", "group_norm", ""},
        {"middle_block.1.attention", "attention", ""},
        {"middle_block.1.qkv", "conv_space", "linear"},
    };
    operations *p = user;
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        p->known += strcmp(o->name, some[i].name) == 0 && strcmp(o->op, some[i].op) == 0 &&
                    strcmp(o->kind, some[i].kind) == 0;
    assert_int_equal(o->rows, 3);
    assert_true(o->seconds >= 0 && o->products <= o->macs);
    assert_int_equal(o->macs > 0, strcmp(o->op, "group_norm") != 0);
    p->count++;
    p->seconds += o->seconds;
    p->last = *o;
}

static void test_profile(void **state)
{
    const tiny_session *f = *state;
    const int t = 3;
    vipo_denoise_request request = {
        .x = &f->noise, .cond = &f->conds, .tokens = &f->tokens, .t = &t, .n_t = 1};
    vipo_array plain = call(f->planner, &request), v;
    operations p = {0};
    vipo_error error = {0};
    double seconds = 0;
    request.profile = on_operation;
    request.profile_user = &p;
    assert_ok(vipo_planner_denoise(f->planner, &request, &v, &seconds, &error), &error);
    assert_memory_equal(plain.data, v.data, 3 * VIDEO * sizeof(float));
    assert_int_equal(p.known, 7);
    assert_true(p.count > 30);
    assert_true(p.seconds > 0 && p.seconds <= seconds);
    assert_string_equal(p.last.name, "out.2");
    assert_string_equal(p.last.op, "conv_time");
    assert_int_equal(p.last.height, TINY_SIDE);
    assert_int_equal(p.last.frames, TINY_FRAMES);
    assert_int_equal(p.last.out_channels, 3);
    vipo_array_free(&plain);
    vipo_array_free(&v);
    vipo_planner *small = tiny_planner(f->model, 1, 2);
    assert_int_equal(vipo_planner_denoise(small, &request, &v, NULL, &error), VIPO_INVALID_ARGUMENT);
    assert_string_equal(error.message, "a profile needs the whole batch at once: at most 2 rows");
    assert_null(v.data);
    vipo_planner_close(&small);
}

static void assert_call_refused(const tiny_session *f, const vipo_denoise_request *request,
                                vipo_status expected, const char *part)
{
    vipo_array v = {.rank = 3};
    vipo_error error = {0};
    const vipo_status status = vipo_planner_denoise(f->planner, request, &v, NULL, &error);
    if (status != expected || !strstr(error.message, part))
        fail_msg("%s: \"%s\"; expected %s: \"%s\"", vipo_status_text(status), error.message,
                 vipo_status_text(expected), part);
    assert_null(v.data);
    assert_int_equal(v.rank, 0);
}

static bool always(void *user)
{
    (void)user;
    return true;
}

static void test_bad_calls(void **state)
{
    const tiny_session *f = *state;
    int t[3] = {0, 1, 2};
    const vipo_denoise_request good = {
        .x = &f->noise, .cond = &f->conds, .tokens = &f->tokens, .t = t, .n_t = 3};
    vipo_denoise_request request = good;
    static const int times[] = {-1, TINY_TIMESTEPS, 1 << 30};
    for (size_t i = 0; i < 3; i++) {
        t[1] = times[i];
        assert_call_refused(f, &request, VIPO_INVALID_ARGUMENT, "expected 0..19");
    }
    t[1] = 1;
    request.n_t = 2;
    assert_call_refused(f, &request, VIPO_MISMATCH, "t: expected 1 or 3 values, found 2");
    request.n_t = 0;
    assert_call_refused(f, &request, VIPO_MISMATCH, "found 0");
    request.n_t = -1;
    assert_call_refused(f, &request, VIPO_MISMATCH, "found -1");
    static const char needs[] = "a network call needs x, cond, t, and tokens or a text";
    request = good;
    request.x = NULL;
    assert_call_refused(f, &request, VIPO_INVALID_ARGUMENT, needs);
    request = good;
    request.cond = NULL;
    assert_call_refused(f, &request, VIPO_INVALID_ARGUMENT, needs);
    request = good;
    request.t = NULL;
    assert_call_refused(f, &request, VIPO_INVALID_ARGUMENT, needs);
    request = good;
    request.tokens = NULL;
    assert_call_refused(f, &request, VIPO_INVALID_ARGUMENT, needs);

    vipo_array two = made_up_array(4, SHAPE(2, TINY_SIDE, TINY_SIDE, 3), 1, 0, 1);
    request = good;
    request.cond = &two;
    assert_call_refused(f, &request, VIPO_MISMATCH, "cond: expected shape [3 or 1][16][16][3]");
    request = good;
    request.x = &two;
    assert_call_refused(f, &request, VIPO_MISMATCH, "x: expected shape [B][3][16][16][3] with B in 1..1024");
    two.data[7] = NAN;
    two.shape[0] = 1;
    request = good;
    request.cond = &two;
    assert_call_refused(f, &request, VIPO_NUMERIC, "cond: element 7 is not a finite number");
    vipo_array_free(&two);
    const vipo_array no_rows = {.rank = 5, .shape = {0, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3}},
                     many = {.rank = 5, .shape = {1025, TINY_FRAMES, TINY_SIDE, TINY_SIDE, 3}};
    request = good;
    request.x = &no_rows;
    assert_call_refused(f, &request, VIPO_MISMATCH, "with B in 1..1024");
    request.x = &many;
    assert_call_refused(f, &request, VIPO_MISMATCH, "with B in 1..1024");
    vipo_array texts = made_up_array(3, SHAPE(2, 4, TINY_TOKEN_WIDTH), 1, 0, 1);
    request = good;
    request.tokens = &texts;
    assert_call_refused(f, &request, VIPO_MISMATCH, "tokens: expected shape [3 or 1][L][C], found 2 texts");
    vipo_array_free(&texts);
    request = good;
    request.tokens = NULL;
    request.text = "\xff";
    assert_call_refused(f, &request, VIPO_FORMAT, "text: byte 0 is not UTF-8");
    request = good;
    request.callbacks = (vipo_callbacks){.cancelled = always};
    assert_call_refused(f, &request, VIPO_CANCELLED, "interrupted");
}

/* ---- parity of the shipped model -------------------------------------------------------------------- */

/* [3][frames][h][w] -> [1][frames][h][w][3] */
static vipo_array channels_last(const vipo_safetensors *file, const char *name)
{
    vipo_array planar = golden_array(file, name), out;
    vipo_error error = {0};
    assert_int_equal(planar.rank, 4);
    const size_t frames = planar.shape[1], h = planar.shape[2], w = planar.shape[3], plane = frames * h * w;
    assert_ok(vipo_array_alloc(&out, 5, SHAPE(1, frames, h, w, 3), &error), &error);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < plane; i++) out.data[3 * i + c] = planar.data[c * plane + i];
    vipo_array_free(&planar);
    return out;
}

static void test_shipped_model(void **state)
{
    (void)state;
    vipo_safetensors *check = golden_open("models/metaworld-64/check.safetensors");
    vipo_array noise = channels_last(check, "noise"), v_t40 = channels_last(check, "v_t40"),
               ddim10 = channels_last(check, "ddim10"), cond = golden_video(check, "cond"),
               hidden = golden_array(check, "text_hidden");
    /* one frame: [h][w][3] -> [1][h][w][3] */
    memmove(cond.shape + 1, cond.shape, 3 * sizeof cond.shape[0]);
    cond.shape[0] = 1;
    cond.rank = 4;
    vipo_model *model;
    vipo_error error = {0};
    assert_ok(vipo_model_open(&model, test_path("models/metaworld-64"), NULL, &error), &error);
    vipo_planner *planner = tiny_planner(model, 0, 0);

    vipo_array features, v;
    int n;
    assert_ok(vipo_planner_encode_text(planner, "faucet open", NULL, &n, &features, NULL, &error), &error);
    assert_int_equal(vipo_array_size(&features), vipo_array_size(&hidden));
    const double text = test_relative_l2(features.data, hidden.data, vipo_array_size(&hidden));
    const int t = 40;
    const vipo_denoise_request request = {
        .x = &noise, .cond = &cond, .text = "faucet open", .t = &t, .n_t = 1};
    assert_ok(vipo_planner_denoise(planner, &request, &v, NULL, &error), &error);
    const double single = test_relative_l2(v.data, v_t40.data, vipo_array_size(&v_t40));
    vipo_request whole;
    vipo_request_default(&whole);
    whole.cond = &cond;
    whole.text = "faucet open";
    whole.noise = &noise;
    whole.sampler.name = "ddim";
    whole.sampler.steps = 10;
    vipo_plan plan;
    assert_ok(vipo_planner_plan(planner, &whole, &plan, &error), &error);
    const double ten = test_relative_l2(plan.video.data, ddim10.data, vipo_array_size(&ddim10));
    print_message("relative L2: text features %.1e, v at t = 40 %.1e, ten DDIM steps %.1e\n", text, single,
                  ten);
    assert_true(text <= 1e-5 && single <= 1e-4 && ten <= 1e-4);

    vipo_plan_free(&plan);
    vipo_array_free(&features);
    vipo_array_free(&v);
    vipo_array_free(&noise);
    vipo_array_free(&v_t40);
    vipo_array_free(&ddim10);
    vipo_array_free(&cond);
    vipo_array_free(&hidden);
    vipo_planner_close(&planner);
    vipo_model_close(&model);
    vipo_safetensors_close(&check);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_denoise),   cmocka_unit_test(test_half_weights),
        cmocka_unit_test(test_dump),      cmocka_unit_test(test_profile),
        cmocka_unit_test(test_bad_calls), cmocka_unit_test(test_shipped_model),
    };
    return cmocka_run_group_tests(tests, tiny_session_open, tiny_session_close);
}
