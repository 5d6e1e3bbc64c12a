/* motion_errors [SCENES]: errors and times of `vipo motion`'s methods on made-up scenes with known motions, as CSV.
 * motion_errors --example FOLDER: writes the small scene of examples/motion. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/flow_scene.h"

enum { FRAMES = 7 };

typedef struct kind {
    const char *name;
    flow_scene_options scene;
} kind;

typedef struct method {
    const char *name;
    vipo_motion_sampling sampling;
    vipo_motion_fit fit;
    bool backward;
} method;

static const method methods[] = {
    {"avdc, reference", VIPO_MOTION_AVDC, VIPO_MOTION_REFERENCE, false},
    {"avdc, lm", VIPO_MOTION_AVDC, VIPO_MOTION_LM, false},
    {"robust, lm", VIPO_MOTION_ROBUST, VIPO_MOTION_LM, false},
    {"robust, lm, backward flow", VIPO_MOTION_ROBUST, VIPO_MOTION_LM, true},
};
enum { METHODS = sizeof methods / sizeof *methods };

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(const kind *k, int scenes)
{
    double *errors = calloc((size_t)scenes * METHODS, sizeof *errors),
           *seconds = calloc((size_t)scenes * METHODS, sizeof *seconds);
    int complete[METHODS] = {0};
    if (!errors || !seconds) exit(1);
    for (int i = 0; i < scenes; i++) {
        flow_scene scene;
        flow_scene_options options = k->scene;
        options.seed = (uint64_t)i;
        options.box = i % 2;
        options.height = 240;
        options.width = 320;
        options.frames = FRAMES;
        flow_scene_open(&scene, &options);
        for (int m = 0; m < METHODS; m++) {
            vipo_motion motion;
            vipo_motion_options how;
            vipo_error error;
            vipo_motion_default_options(&how);
            how.sampling = methods[m].sampling;
            how.fit = methods[m].fit;
            how.seed = (uint64_t)i;
            scene.request.backward = methods[m].backward ? &scene.backward : NULL;
            double *const at = errors + m * scenes + i;
            *at = INFINITY;
            const clock_t begun = clock();
            if (vipo_motion_solve(&scene.request, &how, &motion, &error) != VIPO_OK) continue;
            if (motion.end == VIPO_MOTION_COMPLETE) {
                *at = flow_scene_error(&scene, &motion);
                complete[m]++;
            }
            seconds[m * scenes + i] = (double)(clock() - begun) / CLOCKS_PER_SEC;
            vipo_motion_free(&motion);
        }
        flow_scene_close(&scene);
    }
    for (int m = 0; m < METHODS; m++) {
        double *const e = errors + m * scenes, *const s = seconds + m * scenes;
        qsort(e, (size_t)scenes, sizeof *e, compare);
        qsort(s, (size_t)scenes, sizeof *s, compare);
        printf("%s,\"%s\",%d,%d,%.2f,%.2f,%.3f\n", k->name, methods[m].name, scenes, complete[m],
               1e3 * e[scenes / 2], 1e3 * e[scenes * 9 / 10], 1e3 * s[scenes / 2]);
        fflush(stdout);
    }
    free(errors);
    free(seconds);
}

/* ---- the example ----------------------------------------------------------------------------------------- */

static void write_array(const char *folder, const char *name, const vipo_array *array)
{
    char path[1000];
    vipo_error error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (vipo_npy_write(path, array, &error) == VIPO_OK) return;
    fprintf(stderr, "%s\n", error.message);
    exit(1);
}

static void write_example(const char *folder)
{
    flow_scene scene;
    float matrix[12];
    uint8_t *rgb;
    char path[1000];
    vipo_error error;
    flow_scene_open(&scene,
                    &(flow_scene_options){
                        .seed = 5, .height = 36, .width = 48, .frames = 2, .translation = 0.03, .turn = 4});
    for (int i = 0; i < 12; i++) matrix[i] = (float)scene.matrix[i];
    write_array(folder, "depth.npy", &scene.depth);
    write_array(folder, "flow.npy", &scene.flow);
    write_array(folder, "matrix.npy", &(vipo_array){matrix, 2, {3, 4}});
    rgb = malloc(36 * 48 * 3);
    if (!rgb) exit(1);
    for (int i = 0; i < 36 * 48 * 3; i++) rgb[i] = scene.mask[i / 3];
    snprintf(path, sizeof path, "%s/mask.png", folder);
    if (vipo_image_write_png(path, &(vipo_image){rgb, 36, 48}, &error) != VIPO_OK) exit(1);
    free(rgb);
    flow_scene_close(&scene);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--example") == 0) {
        write_example(argv[2]);
        return 0;
    }
    static const kind kinds[] = {
        {"translation", {.translation = 0.02}},
        {"turn about the vertical", {.translation = 0.02, .turn = 6}},
        {"turn about any axis", {.translation = 0.02, .turn = 6, .any_axis = true}},
        {"noise 0.3 px", {.translation = 0.02, .turn = 3, .any_axis = true, .noise = 0.3}},
        {"soft boundaries", {.translation = 0.02, .turn = 3, .any_axis = true, .blur = 2, .noise = 0.1}},
        {"a quarter of blocks wrong", {.translation = 0.02, .turn = 3, .any_axis = true, .wrong = 0.25}},
    };
    const int scenes = argc > 1 ? atoi(argv[1]) : 40;
    printf("scene,method,scenes,complete,median_mm,p90_mm,median_ms\n");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) run(&kinds[i], scenes);
    return 0;
}
