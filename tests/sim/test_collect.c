/* Data sets: the same bytes for any number of workers and after interruptions, what videos hold, what is refused. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mapped_file.h"
#include "media/video_decoder.h"
#include "sim/collect.h"
#include "support/files.h"
#include "weights/safetensors.h"

enum { HEIGHT = 24, WIDTH = 32 };

static const char *const two_tasks[] = {"handle-press", "faucet-close"};
static const char *const one_camera[] = {"corner2"};

static vipo_sim_collect_options small(int workers)
{
    vipo_sim_collect_options options;
    vipo_sim_default_collect_options(&options);
    options.tasks = two_tasks;
    options.n_tasks = 2;
    options.cameras = one_camera;
    options.n_cameras = 1;
    options.episodes = 2;
    options.picture_height = 48;
    options.picture_width = 64;
    options.height = HEIGHT;
    options.width = WIDTH;
    options.max_frames = 4;
    options.sim.shadow_size = options.sim.multisamples = -1;
    options.workers = workers;
    return options;
}

/* A folder's name of its own; what an earlier run left there is removed. */
static const char *new_folder(char out[256], const char *name)
{
    char command[320];
    snprintf(out, 256, "%s", test_temporary(name));
    snprintf(command, sizeof command, "rm -rf '%s'", out);
    assert_int_equal(system(command), 0);
    return out;
}

static vipo_status collect(const char *folder, const vipo_sim_collect_options *options,
                           vipo_sim_collect_result *result, vipo_error *error)
{
    memset(error, 0, sizeof *error);
    return vipo_sim_collect(folder, options, result, error);
}

static void expect_same_file(const char *a, const char *b)
{
    vipo_error error = {0};
    vipo_mapped_file x, y;
    assert_ok(vipo_mapped_file_open(&x, a, &error), &error);
    assert_ok(vipo_mapped_file_open(&y, b, &error), &error);
    if (x.size != y.size || (x.size && memcmp(x.data, y.data, x.size) != 0))
        fail_msg("%s differs from %s", a, b);
    vipo_mapped_file_close(&x);
    vipo_mapped_file_close(&y);
}

/* The same files with the same bytes; returns how many. */
static int expect_same_folder(const char *a, const char *b, const char *sub)
{
    char x[600], y[600];
    int n = 0, other = 0;
    snprintf(x, sizeof x, "%s/%s", a, sub);
    snprintf(y, sizeof y, "%s/%s", b, sub);
    DIR *folder = opendir(x);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        struct stat info;
        snprintf(x, sizeof x, "%s/%s/%.200s", a, sub, entry->d_name);
        snprintf(y, sizeof y, "%s/%s/%.200s", b, sub, entry->d_name);
        assert_int_equal(stat(x, &info), 0);
        if (S_ISDIR(info.st_mode)) continue;
        expect_same_file(x, y);
        n++;
    }
    closedir(folder);
    snprintf(y, sizeof y, "%s/%s", b, sub);
    folder = opendir(y);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        struct stat info;
        snprintf(y, sizeof y, "%s/%s/%.200s", b, sub, entry->d_name);
        other += stat(y, &info) == 0 && S_ISREG(info.st_mode);
    }
    closedir(folder);
    assert_int_equal(n, other);
    return n;
}

static void expect_same_sets(const char *a, const char *b)
{
    assert_int_equal(expect_same_folder(a, b, "."), 3); /* settings, index, skipped */
    assert_int_equal(expect_same_folder(a, b, "videos"), 4);
    assert_int_equal(expect_same_folder(a, b, "episodes"), 4);
}

static bool stop_late(void *user)
{
    /* asked every tenth of a second: ends after an episode or two */
    int *const left = user;
    return (*left)-- <= 0;
}

static void stop_after_one(void *user, const char *phase, double done, double total)
{
    assert_string_equal(phase, "episodes");
    assert_true(done >= 0 && done <= total);
    if (done >= 1) *(int *)user = 0;
}

static void test_same_bytes(void **state)
{
    (void)state;
    char one[256], two[256], parts[256], path[400];
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim_collect_options options = small(1);
    options.lossless = true; /* x264's lossy coding is not always the same on a busy machine: docs/data.md */
    assert_ok(collect(new_folder(one, "one"), &options, &result, &error), &error);
    assert_int_equal(result.episodes, 4);
    assert_int_equal(result.clips, 4);
    assert_int_equal(result.earlier, 0);
    assert_int_equal(result.frames, 16);
    assert_true(result.worst_psnr == 0);

    options.workers = 2;
    assert_ok(collect(new_folder(two, "two"), &options, &result, &error), &error);
    expect_same_sets(one, two);

    /* interrupted, with what a kill in the middle of writing leaves, and gone on with */
    options.workers = 1;
    int left = 100000;
    options.callbacks.user = &left;
    options.callbacks.cancelled = stop_late;
    options.callbacks.progress = stop_after_one;
    assert_int_equal(collect(new_folder(parts, "parts"), &options, &result, &error), VIPO_CANCELLED);
    const int before = result.episodes;
    assert_true(before >= 1 && before <= 4);
    memset(&options.callbacks, 0, sizeof options.callbacks);
    snprintf(path, sizeof path, "%s/videos/handle-press_00001_corner2.mp4.00000000.tmp", parts);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof path, "%s/episodes/handle-press_00000.safetensors", parts);
    assert_int_equal(truncate(path, 1000), 0); /* as after a power failure */
    options.workers = 2;
    assert_ok(collect(parts, &options, &result, &error), &error);
    assert_int_equal(result.earlier, before - 1);
    assert_int_equal(result.episodes, 4);
    expect_same_sets(one, parts);

    /* once more: nothing to do */
    assert_ok(collect(parts, &options, &result, &error), &error);
    assert_int_equal(result.earlier, 4);
    expect_same_sets(one, parts);
}

/* Frames of a lossless clip are the middle of what vipo_sim_render gives in those states. */
static void test_pixels(void **state)
{
    (void)state;
    char folder[256], path[400];
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim_collect_options options = small(1);
    options.n_tasks = 1;
    options.episodes = 1;
    options.lossless = true;
    assert_ok(collect(new_folder(folder, "pixels"), &options, &result, &error), &error);
    assert_true(result.worst_psnr <= 0);

    vipo_mapped_file file;
    vipo_video video;
    snprintf(path, sizeof path, "%s/videos/handle-press_00000_corner2.mp4", folder);
    assert_ok(vipo_mapped_file_open(&file, path, &error), &error);
    assert_ok(vipo_video_decode(&video, file.data, file.size, path, &error), &error);
    vipo_mapped_file_close(&file);
    assert_int_equal(video.frames, 4);

    vipo_sim *sim;
    vipo_sim_step_result step;
    double action[VIPO_SIM_ACTION];
    assert_ok(vipo_sim_open(&sim, "handle-press", &options.sim, &error), &error);
    assert_ok(vipo_sim_reset(sim, 0, step.observation, &error), &error);
    for (int t = 0, i = 0; i < 4; t++) {
        if (fabs(video.seconds[i] * 80 - t) < 0.01) {
            vipo_sim_picture picture;
            assert_ok(vipo_sim_render(sim, "corner2", 48, 64, VIPO_SIM_RGB, &picture, &error), &error);
            for (int y = 0; y < HEIGHT; y++)
                assert_memory_equal(video.rgb + (i * HEIGHT + y) * WIDTH * 3,
                                    picture.rgb.data + ((y + 12) * 64 + 16) * 3, WIDTH * 3);
            vipo_sim_picture_free(&picture);
            i++;
        }
        assert_true(t < 200);
        assert_ok(vipo_sim_expert(sim, step.observation, action, &error), &error);
        assert_ok(vipo_sim_step(sim, action, &step, &error), &error);
    }
    vipo_sim_close(&sim);
    vipo_video_free(&video);

    vipo_sim_replay_result replay;
    snprintf(path, sizeof path, "%s/episodes/handle-press_00000.safetensors", folder);
    assert_ok(vipo_sim_open(&sim, "handle-press", &options.sim, &error), &error);
    assert_ok(vipo_sim_replay(sim, path, &replay, &error), &error);
    assert_true(replay.max_observation_difference <= 0 && replay.success_differences == 0);
    assert_int_equal(replay.episode.steps, replay.episode.first_success + 10);
    vipo_sim_close(&sim);
}

/* faucet-open of version 2 fails with seed 11 (tests of `vipo sim expert`): it is passed over, or kept if asked. */
static void test_failures(void **state)
{
    (void)state;
    char folder[256], path[400], line[256] = "";
    static const char *const tasks[] = {"faucet-open"};
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim_collect_options options = small(2);
    options.sim.profile = VIPO_SIM_AVDC_V2;
    options.tasks = tasks;
    options.n_tasks = 1;
    options.seed = 10;
    options.max_frames = 2;
    assert_ok(collect(new_folder(folder, "failures"), &options, &result, &error), &error);
    assert_int_equal(result.skipped, 1);
    assert_int_equal(result.episodes, 2);
    snprintf(path, sizeof path, "%s/skipped.jsonl", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_non_null(strstr(line, "\"task\":\"faucet-open\",\"seed\":11,"));
    snprintf(path, sizeof path, "%s/episodes/faucet-open_00011.safetensors", folder);
    assert_int_not_equal(access(path, F_OK), 0);

    options.keep_failures = true;
    assert_ok(collect(new_folder(folder, "kept"), &options, &result, &error), &error);
    assert_int_equal(result.skipped, 0);
    assert_int_equal(result.episodes, 2);
    snprintf(path, sizeof path, "%s/episodes/faucet-open_00011.safetensors", folder);
    assert_int_equal(access(path, F_OK), 0);
}

typedef struct noisy_episode {
    vipo_safetensors *file;
    size_t steps;
    double action[VIPO_SIM_MAX_STEPS][VIPO_SIM_ACTION], expert[VIPO_SIM_MAX_STEPS][VIPO_SIM_ACTION];
    double observation[VIPO_SIM_MAX_STEPS + 1][VIPO_SIM_OBSERVATION]; /* before each action, and the last */
} noisy_episode;

static void read_noisy(noisy_episode *out, const char *folder, const char *name)
{
    char path[400];
    vipo_error error = {0};
    snprintf(path, sizeof path, "%s/episodes/%s.safetensors", folder, name);
    assert_ok(vipo_safetensors_open(&out->file, path, &error), &error);
    const vipo_tensor_view *const action = vipo_safetensors_find(out->file, "step/action");
    const vipo_tensor_view *const expert = vipo_safetensors_find(out->file, "step/expert");
    assert_non_null(action);
    assert_non_null(expert);
    out->steps = action->shape[0];
    assert_true(out->steps <= VIPO_SIM_MAX_STEPS && expert->shape[0] == out->steps && expert->shape[1] == 4);
    assert_ok(vipo_tensor_to_double(action, "action", out->action[0], &error), &error);
    assert_ok(vipo_tensor_to_double(expert, "expert", out->expert[0], &error), &error);
    assert_ok(vipo_tensor_to_double(vipo_safetensors_find(out->file, "init/obs"), "obs", out->observation[0],
                                    &error),
              &error);
    assert_ok(vipo_tensor_to_double(vipo_safetensors_find(out->file, "step/obs"), "obs", out->observation[1],
                                    &error),
              &error);
    vipo_safetensors_close(&out->file);
}

static double within(double x)
{
    return fmin(fmax(x, -1), 1);
}

static double noise_of(const noisy_episode *e, size_t t, int i)
{
    return e->action[t][i] - within(e->expert[t][i]);
}

/* What was executed is the expert's action, taken again from the recorded observation, plus noise of the asked size that is
 * the same for `hold` steps; it can be replayed. */
static void check_noise(const noisy_episode *e, vipo_sim *sim, double deviation, int hold)
{
    vipo_error error = {0};
    double expected[VIPO_SIM_ACTION], sum = 0, squares = 0;
    int n = 0, free_pairs = 0;
    for (size_t t = 0; t < e->steps; t++) {
        assert_ok(vipo_sim_expert(sim, e->observation[t], expected, &error), &error);
        for (int i = 0; i < VIPO_SIM_ACTION; i++) {
            assert_true(fabs(e->expert[t][i] - expected[i]) < 1e-6);
            assert_true(fabs(e->action[t][i]) <= 1);
            if (fabs(e->action[t][i]) >= 1 || fabs(e->expert[t][i]) > 0.5) continue; /* perhaps cut off */
            const double noise = noise_of(e, t, i);
            sum += noise;
            squares += noise * noise;
            n++;
            if (t % (size_t)hold == 0 || fabs(e->action[t - 1][i]) >= 1) continue;
            assert_true(fabs(noise - noise_of(e, t - 1, i)) < 1e-12);
            free_pairs++;
        }
    }
    assert_true(n > 50 && (hold == 1 || free_pairs > 20));
    const double share = sqrt(squares / n) / deviation;
    if (share < 0.7 || share > 1.3 || fabs(sum / n) > deviation * 3 * sqrt((double)hold / n))
        fail_msg("noise of %d numbers: mean %g, deviation %g of what was asked for", n, sum / n, share);
}

static void test_noise(void **state)
{
    (void)state;
    static noisy_episode first, second;
    char folder[256], other[256], path[400];
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim *sim;
    vipo_sim_replay_result replay;
    vipo_sim_collect_options options = small(2);
    options.lossless = true;
    options.action_noise = 0.2;
    assert_ok(collect(new_folder(folder, "noisy"), &options, &result, &error), &error);
    options.workers = 1;
    assert_ok(collect(new_folder(other, "noisy-one"), &options, &result, &error), &error);
    expect_same_sets(folder, other);

    assert_ok(vipo_sim_open(&sim, "handle-press", &options.sim, &error), &error);
    read_noisy(&first, folder, "handle-press_00000");
    check_noise(&first, sim, 0.2, 1);
    snprintf(path, sizeof path, "%s/episodes/handle-press_00000.safetensors", folder);
    assert_ok(vipo_sim_replay(sim, path, &replay, &error), &error);
    assert_true(replay.max_observation_difference <= 0 && replay.success_differences == 0);
    /* another seed, another noise */
    read_noisy(&second, folder, "handle-press_00001");
    check_noise(&second, sim, 0.2, 1);
    int other_draws = 0;
    for (size_t t = 0; t < first.steps && t < second.steps; t++)
        for (int i = 0; i < VIPO_SIM_ACTION; i++)
            other_draws += fabs(noise_of(&first, t, i) - noise_of(&second, t, i)) > 1e-3;
    assert_true(other_draws > 50);

    options.noise_hold = 6;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "begun with noise_hold 1, not 6"));
    assert_ok(collect(new_folder(other, "noisy-held"), &options, &result, &error), &error);
    read_noisy(&second, other, "handle-press_00000");
    check_noise(&second, sim, 0.2, 6);
    vipo_sim_close(&sim);

    options = small(1);
    options.lossless = true;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "begun with action_noise 0.2"));
    options.action_noise = -0.1;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    options.action_noise = NAN;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "action noise"));
    options.action_noise = 0.1;
    options.noise_hold = 0;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "steps of a draw of the noise 0"));
}

/* The seed of episode number `nth` of a task. */
static int kept_seed(const char *folder, const char *task, int nth)
{
    for (int seed = 0; seed < 100; seed++) {
        char path[400];
        snprintf(path, sizeof path, "%s/episodes/%s_%05d.safetensors", folder, task, seed);
        if (access(path, F_OK) == 0 && nth-- == 0) return seed;
    }
    fail_msg("%s: not enough episodes of %s", folder, task);
    return -1;
}

/* Doors that begin half-open, somewhere else for every seed, and come to be what the task wants of them. */
static void test_undo(void **state)
{
    (void)state;
    static const char *const tasks[] = {"door-open", "door-close"};
    char folder[256], other[256], path[400];
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim_collect_options options = small(2);
    options.tasks = NULL;
    options.lossless = options.undo = true;
    assert_ok(collect(new_folder(folder, "undo"), &options, &result, &error), &error);
    assert_int_equal(result.episodes, 4);
    options.tasks = tasks; /* both are those that can be undone */
    options.n_tasks = 2;
    options.workers = 1;
    assert_ok(collect(new_folder(other, "undo-one"), &options, &result, &error), &error);
    expect_same_sets(folder, other);

    double joints[4];
    for (int i = 0; i < 4; i++) {
        vipo_sim *sim;
        vipo_sim_replay_result replay;
        double observation[VIPO_SIM_OBSERVATION];
        snprintf(path, sizeof path, "%s/episodes/%s_%05d.safetensors", folder, tasks[i / 2],
                 kept_seed(folder, tasks[i / 2], i % 2));
        assert_ok(vipo_sim_open(&sim, tasks[i / 2], &options.sim, &error), &error);
        assert_ok(vipo_sim_load_state(sim, path, observation, &error), &error);
        joints[i] = sim->scene->data->qpos[sim->at.joint];
        assert_true(joints[i] < -0.05 && joints[i] > -1.5); /* shut: 0, open: -1.57 */
        assert_ok(vipo_sim_replay(sim, path, &replay, &error), &error);
        assert_true(replay.max_observation_difference <= 0 && replay.max_reward_difference <= 0);
        assert_true(replay.episode.first_success > 1 && replay.success_differences == 0);
        vipo_sim_close(&sim);
    }
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++) assert_true(fabs(joints[i] - joints[k]) > 1e-3);

    options.undo = false;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_MISMATCH);
    assert_non_null(strstr(error.message, "begun with undo true"));
    options.undo = true;
    options.tasks = two_tasks;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "handle-press undoes no other task"));
}

static void test_frames(void **state)
{
    (void)state;
    vipo_sim_collect_options options;
    vipo_sim_default_collect_options(&options);
    int frames[VIPO_SIM_MAX_STEPS + 1], stride;
    for (int most = 2; most < 60; most += 7)
        for (int steps = 1; steps <= VIPO_SIM_MAX_STEPS; steps++) {
            options.max_frames = most;
            const int n = vipo_take_frames(&options, steps, frames, &stride);
            assert_true(n >= 2 && n <= most);
            assert_int_equal(frames[0], 0);
            assert_int_equal(frames[n - 1], steps);
            for (int i = 2; i < n; i++) assert_int_equal(frames[i] - frames[i - 1], stride);
            assert_true(frames[1] >= 1 && frames[1] <= stride);
        }
    options.stride = 7;
    assert_int_equal(vipo_take_frames(&options, 23, frames, &stride), 5);
    static const int expected[] = {0, 2, 9, 16, 23};
    assert_memory_equal(frames, expected, sizeof expected);
}

static void test_phrases(void **state)
{
    (void)state;
    int n = 0;
    for (; vipo_sim_task_name(n); n++) {
        const char *seen[32];
        int count = 0;
        assert_string_equal(vipo_sim_task_phrase(n, 0), vipo_sim_task_text(n));
        for (int i = 0; vipo_sim_task_phrase(n, i); i++) seen[count++] = vipo_sim_task_phrase(n, i);
        assert_true(count >= 10);
        for (int i = 0; vipo_sim_task_held_out_phrase(n, i); i++)
            seen[count++] = vipo_sim_task_held_out_phrase(n, i);
        assert_true(count >= 12);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < i; k++) assert_string_not_equal(seen[i], seen[k]);
    }
    assert_int_equal(n, 11);
    assert_null(vipo_sim_task_phrase(11, 0));
    assert_null(vipo_sim_task_phrase(-1, 0));
}

static void test_refusals(void **state)
{
    (void)state;
    char folder[256];
    vipo_error error;
    vipo_sim_collect_result result;
    vipo_sim_collect_options options = small(1);
    new_folder(folder, "refused");
    options.height = 49;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "frames of 32x49"));
    options = small(1);
    options.max_frames = 1;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    options = small(1);
    options.crf = NAN;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_int_not_equal(access(folder, F_OK), 0); /* nothing was made */
    /* a seed that there is not: the error of a worker */
    options = small(2);
    options.seed = (uint64_t)1 << 32;
    assert_int_equal(collect(folder, &options, &result, &error), VIPO_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "legacy generator"));
    assert_int_equal(result.episodes, 0);
}

int main(void)
{
    char device[128];
    vipo_error error;
    if (vipo_sim_gl_probe(NULL, device, sizeof device, &error) != VIPO_OK) {
        printf("skipped: %s\n", error.message);
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),     cmocka_unit_test(test_phrases), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_pixels),  cmocka_unit_test(test_failures),
        cmocka_unit_test(test_noise),      cmocka_unit_test(test_undo),
    };
#ifdef __SANITIZE_THREAD__ /* takes its time, and the other tests show it nothing more */
    cmocka_set_test_filter("test_same_bytes");
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
