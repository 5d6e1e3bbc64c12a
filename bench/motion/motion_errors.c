/* motion_errors [SCENES]: errors and times of `vipo motion`'s methods on made-up scenes with known motions, as CSV. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

static void run(const kind *k, int scenes, bool with_reference)
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
            if ((m == 0 && !with_reference) ||
                vipo_motion_solve(&scene.request, &how, &motion, &error) != VIPO_OK)
                continue;
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
        if (m == 0 && !with_reference) continue;
        qsort(e, (size_t)scenes, sizeof *e, compare);
        qsort(s, (size_t)scenes, sizeof *s, compare);
        printf("%s,\"%s\",%d,%d,%.2f,%.2f,%.3f\n", k->name, methods[m].name, scenes, complete[m],
               1e3 * e[scenes / 2], 1e3 * e[scenes * 9 / 10], 1e3 * s[scenes / 2]);
        fflush(stdout);
    }
    free(errors);
    free(seconds);
}

int main(int argc, char **argv)
{
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
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) run(&kinds[i], scenes, argc <= 2);
    return 0;
}
