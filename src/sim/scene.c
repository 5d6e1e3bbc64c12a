#include "sim/scene.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- MuJoCo's errors ------------------------------------------------------------------------------------ */

/* A call into MuJoCo that an error may leave. */
typedef struct guarded_call {
    jmp_buf back;
    char message[384];
} guarded_call;

/* MuJoCo has one error and one warning callback for the process. They are set once; what they do depends on whether
 * the thread is inside vipo_mujoco_run. */
static _Thread_local guarded_call *guarded;
static struct {
    pthread_once_t once;
    void (*error)(const char *), (*warning)(const char *); /* of the program that uses this library */
} callbacks = {.once = PTHREAD_ONCE_INIT};

static void on_error(const char *text)
{
    guarded_call *const call = guarded;
    if (call) {
        snprintf(call->message, sizeof call->message, "%s", text);
        longjmp(call->back, 1);
    }
    /* The program's own use of MuJoCo: as if this library were not there. */
    if (callbacks.error) {
        callbacks.error(text);
    } else {
        mju_user_error = NULL;
        mju_error("%s", text);
    }
}

static void on_warning(const char *text)
{
    if (guarded) return;
    if (callbacks.warning) {
        callbacks.warning(text);
    } else {
        mju_user_warning = NULL;
        mju_warning("%s", text);
        mju_user_warning = on_warning;
    }
}

static void install_callbacks(void)
{
    callbacks.error = mju_user_error;
    callbacks.warning = mju_user_warning;
    mju_user_error = on_error;
    mju_user_warning = on_warning;
}

enum { MESSAGE_ROOM = 400 };

/* MuJoCo's messages have several lines: "a\nb\n" -> "a; b". */
static const char *one_line(char out[MESSAGE_ROOM], const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < MESSAGE_ROOM; text++)
        if (*text != '\n') {
            out[n++] = *text;
        } else if (n > 0 && text[1]) {
            out[n++] = ';';
            out[n++] = ' ';
        }
    out[n] = '\0';
    return out;
}

vipo_status vipo_mujoco_run(void (*work)(void *argument), void *argument, const char *what, vipo_error *error)
{
    guarded_call call;
    pthread_once(&callbacks.once, install_callbacks);
    if (setjmp(call.back) != 0) {
        guarded = NULL;
        char line[MESSAGE_ROOM];
        return vipo_fail(error, VIPO_INTERNAL, "%s: %s", what, one_line(line, call.message));
    }
    guarded = &call;
    work(argument);
    guarded = NULL;
    return VIPO_OK;
}

/* ---- opening -------------------------------------------------------------------------------------------- */

static vipo_status check_version(vipo_error *error)
{
    const int built = mjVERSION_HEADER;
    if (mj_version() == built) return VIPO_OK;
    return vipo_fail(
        error, VIPO_UNSUPPORTED,
        "MuJoCo %s was loaded, but this vipo was built with %d.%d.%d: check LD_LIBRARY_PATH, or build again",
        mj_versionString(), built / 100, built / 10 % 10, built % 10);
}

typedef struct load_work {
    vipo_scene *scene;
    const char *text;   /* NULL: what the file holds */
    char message[1000]; /* MuJoCo's own size */
} load_work;

static void load(void *argument)
{
    load_work *const work = argument;
    mjVFS files; /* in memory, looked at before the disk */
    mj_defaultVFS(&files);
    if (work->text) mj_addBufferVFS(&files, work->scene->path, work->text, (int)strlen(work->text));
    work->scene->model = mj_loadXML(work->scene->path, &files, work->message, (int)sizeof work->message);
    mj_deleteVFS(&files);
    mj_freeLastXML(); /* a second copy of the model, kept for saving it */
    if (work->scene->model) work->scene->data = mj_makeData(work->scene->model);
}

vipo_status vipo_scene_open(vipo_scene **out, const char *xml_path, vipo_error *error)
{
    return vipo_scene_open_text(out, xml_path, NULL, error);
}

vipo_status vipo_scene_open_text(vipo_scene **out, const char *xml_path, const char *text, vipo_error *error)
{
    *out = NULL;
    VIPO_TRY(check_version(error));
    if (access(xml_path, R_OK) != 0) return vipo_fail(error, VIPO_IO, "%s: %s", xml_path, strerror(errno));
    vipo_scene *scene = calloc(1, sizeof *scene);
    load_work work = {.scene = scene, .text = text};
    vipo_status status = VIPO_OUT_OF_MEMORY;
    if (scene) scene->path = strdup(xml_path);
    if (!scene || !scene->path) {
        vipo_fail_memory(error, sizeof *scene, "a scene");
        goto fail;
    }
    VIPO_TRY_GOTO(vipo_mujoco_run(load, &work, xml_path, error), fail);
    if (!scene->model) {
        char line[MESSAGE_ROOM];
        status = vipo_fail(error, VIPO_FORMAT, "%s: MuJoCo cannot load it: %s", xml_path,
                           one_line(line, work.message[0] ? work.message : "no reason given"));
        goto fail;
    }
    if (!scene->data) {
        status = vipo_fail(error, VIPO_OUT_OF_MEMORY, "%s: out of memory for the state", xml_path);
        goto fail;
    }
    *out = scene;
    return VIPO_OK;
fail:
    vipo_scene_close(&scene);
    return status;
}

void vipo_scene_close(vipo_scene **scene)
{
    vipo_scene *const s = *scene;
    if (!s) return;
    mj_deleteData(s->data);
    mj_deleteModel(s->model);
    free(s->path);
    free(s);
    *scene = NULL;
}

/* ---- simulating ----------------------------------------------------------------------------------------- */

typedef struct step_work {
    const mjModel *model;
    mjData *data;
    int steps;
} step_work;

static void reset(void *argument)
{
    const step_work *const work = argument;
    mj_resetData(work->model, work->data);
}

static void forward(void *argument)
{
    const step_work *const work = argument;
    mj_forward(work->model, work->data);
}

static void step(void *argument)
{
    const step_work *const work = argument;
    for (int i = 0; i < work->steps; i++) mj_step(work->model, work->data);
}

static void place(void *argument)
{
    const step_work *const work = argument;
    mj_kinematics(work->model, work->data);
    mj_camlight(work->model, work->data);
}

/* Runs one of them, then looks at the counters of MuJoCo's warnings. */
static vipo_status simulate(vipo_scene *scene, void (*what)(void *), int steps, vipo_error *error)
{
    step_work work = {scene->model, scene->data, steps};
    memset(scene->data->warning, 0, sizeof scene->data->warning);
    const vipo_status status = vipo_mujoco_run(what, &work, scene->path, error);
    if (status != VIPO_OK) {
        mj_resetData(scene->model, scene->data); /* its stack is as the error left it */
        return status;
    }
    for (int i = 0; i < mjNWARNING; i++) {
        if (i == mjWARN_VGEOMFULL || scene->data->warning[i].number == 0) continue;
        char line[MESSAGE_ROOM];
        one_line(line, mju_warningText(i, (size_t)scene->data->warning[i].lastinfo));
        mj_resetData(scene->model, scene->data);
        return vipo_fail(error, VIPO_NUMERIC, "%s: the simulation became unstable: %s", scene->path, line);
    }
    return VIPO_OK;
}

vipo_status vipo_scene_reset(vipo_scene *scene, vipo_error *error)
{
    return simulate(scene, reset, 0, error);
}

vipo_status vipo_scene_forward(vipo_scene *scene, vipo_error *error)
{
    return simulate(scene, forward, 0, error);
}

vipo_status vipo_scene_step(vipo_scene *scene, int n, vipo_error *error)
{
    return simulate(scene, step, n, error);
}

vipo_status vipo_scene_place(vipo_scene *scene, vipo_error *error)
{
    return simulate(scene, place, 0, error);
}

typedef struct copy_work {
    vipo_scene *to;
    const vipo_scene *from;
} copy_work;

static void copy(void *argument)
{
    const copy_work *const work = argument;
    mj_copyData(work->to->data, work->to->model, work->from->data);
}

vipo_status vipo_scene_copy(vipo_scene *to, const vipo_scene *from, vipo_error *error)
{
    const mjModel *const a = to->model, *const b = from->model;
    if (a->nq != b->nq || a->nv != b->nv || a->nbody != b->nbody || a->nsite != b->nsite)
        return vipo_fail(error, VIPO_MISMATCH, "%s: the state is of another model, %s", to->path, from->path);
    memcpy(a->body_pos, b->body_pos, (size_t)a->nbody * 3 * sizeof *a->body_pos);
    memcpy(a->site_pos, b->site_pos, (size_t)a->nsite * 3 * sizeof *a->site_pos);
    copy_work work = {to, from};
    return vipo_mujoco_run(copy, &work, to->path, error);
}

vipo_status vipo_scene_find(const vipo_scene *scene, mjtObj type, const char *name, int *id,
                            vipo_error *error)
{
    *id = mj_name2id(scene->model, type, name);
    if (*id >= 0) return VIPO_OK;
    return vipo_fail(error, VIPO_MISMATCH, "%s: the model has no %s called '%s'", scene->path,
                     mju_type2Str(type), name);
}
