/* States in and out: the "init/..." part of a recorded episode. */
#include <stdio.h>
#include <string.h>

#include "sim/metaworld.h"
#include "sim/vector.h"

enum { NAME = 128 };

/* One named part of a state: where its numbers live. */
typedef struct state_part {
    char name[NAME];
    int rank;
    size_t shape[2];
    double *values;
} state_part;

enum { MAX_PARTS = 16, PHYSICS_PARTS = 7 };

static void add(state_part *parts, int *n, const char *name, size_t rows, int columns, double *values)
{
    state_part *part = &parts[(*n)++];
    snprintf(part->name, sizeof part->name, "%s", name);
    part->rank = rows ? 2 : 1;
    part->shape[0] = rows ? rows : (size_t)columns;
    part->shape[1] = (size_t)columns;
    part->values = values;
}

/* Everything that a state holds, in place. The first PHYSICS_PARTS are MuJoCo's, the same for all tasks of a model. */
static int list_parts(vipo_sim *sim, state_part parts[MAX_PARTS])
{
    mjModel *model = sim->scene->model;
    mjData *data = sim->scene->data;
    int n = 0;
    char name[NAME];
    add(parts, &n, "qpos", 0, (int)model->nq, data->qpos);
    add(parts, &n, "qvel", 0, (int)model->nv, data->qvel);
    add(parts, &n, "mocap_pos", 1, 3, data->mocap_pos);
    add(parts, &n, "mocap_quat", 1, 4, data->mocap_quat);
    add(parts, &n, "ctrl", 0, (int)model->nu, data->ctrl);
    add(parts, &n, "qacc_warmstart", 0, (int)model->nv, data->qacc_warmstart);
    add(parts, &n, "time", 0, 1, &data->time);
    add(parts, &n, "obs", 0, VIPO_SIM_OBSERVATION, sim->observation);
    add(parts, &n, "rand_vec", 0, sim->rules->vector.size, sim->vector);
    add(parts, &n, "hand_init_pos", 0, 3, sim->hand_start);
    add(parts, &n, "target_pos", 0, 3, sim->target);
    add(parts, &n, "obj_init_pos", 0, 3, sim->object_start);
    if (sim->at.placed_body >= 0) {
        snprintf(name, sizeof name, "body_pos/%s", sim->task->placed_body);
        add(parts, &n, name, 0, 3, model->body_pos + 3 * sim->at.placed_body);
    }
    if (sim->at.moved_site >= 0) {
        snprintf(name, sizeof name, "site_pos/%s", sim->rules->moved_site);
        add(parts, &n, name, 0, 3, model->site_pos + 3 * sim->at.moved_site);
    }
    return n;
}

vipo_status vipo_sim_get_state(const vipo_sim *sim,
                               void (*visit)(void *user, const char *name, int rank, const size_t *shape,
                                             const double *values),
                               void *user, vipo_error *error)
{
    state_part parts[MAX_PARTS];
    if (!sim->ready)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "%s: no episode was begun: reset first",
                         sim->task->name);
    const int n = list_parts((vipo_sim *)(uintptr_t)sim, parts); /* only read here */
    for (int i = 0; i < n; i++) visit(user, parts[i].name, parts[i].rank, parts[i].shape, parts[i].values);
    return VIPO_OK;
}

vipo_status vipo_record_read(const vipo_safetensors *record, const char *file, const char *name, int rank,
                             const size_t *shape, double *out, vipo_error *error)
{
    const vipo_tensor_view *view = vipo_safetensors_find(record, name);
    VIPO_TRY(vipo_tensor_expect(view, file, name, rank, shape, error));
    VIPO_TRY(vipo_tensor_to_double(view, file, out, error));
    for (size_t i = 0; i < view->count; i++)
        if (!isfinite(out[i]))
            return vipo_fail(error, VIPO_NUMERIC,
                             "%s: tensor %s: element %zu is %f, expected a finite number", file, name, i,
                             out[i]);
    return VIPO_OK;
}

static vipo_status read_part(const vipo_safetensors *record, const char *file, const state_part *part,
                             vipo_error *error)
{
    char name[NAME + 8];
    snprintf(name, sizeof name, "init/%s", part->name);
    return vipo_record_read(record, file, name, part->rank, part->shape, part->values, error);
}

/* The scene as the state describes it, for pictures and matrices; the solver's start is left as it is. */
static vipo_status show(vipo_sim *sim, const vipo_safetensors *record, const char *file, vipo_error *error)
{
    mjData *data = sim->scene->data;
    VIPO_TRY(vipo_scene_forward(sim->scene, error));
    const size_t shape = (size_t)sim->scene->model->nv;
    return vipo_record_read(record, file, "init/qacc_warmstart", 1, &shape, data->qacc_warmstart, error);
}

vipo_status vipo_sim_load_record(vipo_sim *sim, const vipo_safetensors *record, const char *file,
                                 double observation[VIPO_SIM_OBSERVATION], vipo_error *error)
{
    state_part parts[MAX_PARTS];
    double state[VIPO_SIM_OBSERVATION];
    const size_t vector = (size_t)sim->rules->vector.size, three = 3;
    sim->ready = false;
    /* What rewards compare with - where fingers and buttons were at the start - is not recorded, but follows from
     * the drawn numbers. */
    VIPO_TRY(vipo_record_read(record, file, "init/rand_vec", 1, &vector, sim->vector, error));
    VIPO_TRY(vipo_record_read(record, file, "init/hand_init_pos", 1, &three, sim->hand_start, error));
    VIPO_TRY(vipo_sim_make_state(sim, state, error));
    sim->ready = false;
    const double target[3] = {sim->target[0], sim->target[1], sim->target[2]};
    VIPO_TRY(vipo_scene_reset(sim->scene, error));
    const int n = list_parts(sim, parts);
    for (int i = 0; i < n; i++) VIPO_TRY(read_part(record, file, &parts[i], error));
    if (vipo_distance(target, sim->target) > 1e-3)
        return vipo_fail(
            error, VIPO_MISMATCH,
            "%s: tensor init/target_pos is [%.4f, %.4f, %.4f], %s expects [%.4f, %.4f, %.4f] for its "
            "init/rand_vec: is it of another task?",
            file, sim->target[0], sim->target[1], sim->target[2], sim->task->name, target[0], target[1],
            target[2]);
    VIPO_TRY(show(sim, record, file, error));
    memcpy(state, sim->observation, sizeof state);
    vipo_sim_begin(sim, state);
    memcpy(observation, state, sizeof state);
    return VIPO_OK;
}

vipo_status vipo_sim_turn_round(vipo_sim *to, const vipo_sim *from, double observation[VIPO_SIM_OBSERVATION],
                                vipo_error *error)
{
    state_part parts[MAX_PARTS], found[MAX_PARTS];
    if (to->profile != from->profile || !to->task->opposite ||
        strcmp(to->task->opposite, from->task->name) != 0)
        return vipo_fail(error, VIPO_MISMATCH, "%s (%s) does not undo %s (%s)", to->task->name,
                         vipo_sim_profile_name((int)to->profile), from->task->name,
                         vipo_sim_profile_name((int)from->profile));
    /* The goal, and what rewards compare with, as if this task had begun in the other's scene. */
    memcpy(to->vector, from->vector, sizeof to->vector);
    memcpy(to->hand_start, to->task->hand_start, sizeof to->hand_start);
    VIPO_TRY(vipo_sim_make_state(to, observation, error));
    to->ready = false;
    VIPO_TRY(vipo_scene_reset(to->scene, error));
    list_parts((vipo_sim *)(uintptr_t)from, found); /* only read here */
    list_parts(to, parts);
    for (int i = 0; i < PHYSICS_PARTS; i++)
        memcpy(parts[i].values, found[i].values,
               sizeof(double) * parts[i].shape[0] * (parts[i].rank > 1 ? parts[i].shape[1] : 1));
    VIPO_TRY(vipo_scene_forward(to->scene, error));
    memcpy(to->scene->data->qacc_warmstart, from->scene->data->qacc_warmstart,
           sizeof(double) * (size_t)to->scene->model->nv);
    vipo_sim_observe_half(to, observation);
    memcpy(observation + VIPO_OBSERVATION_HALF, observation, VIPO_OBSERVATION_HALF * sizeof *observation);
    vipo_sim_begin(to, observation);
    return VIPO_OK;
}

vipo_status vipo_sim_load_state(vipo_sim *sim, const char *path, double observation[VIPO_SIM_OBSERVATION],
                                vipo_error *error)
{
    vipo_safetensors *record;
    memset(observation, 0, VIPO_SIM_OBSERVATION * sizeof *observation);
    VIPO_TRY(vipo_safetensors_open(&record, path, error));
    const vipo_status status = vipo_sim_load_record(sim, record, path, observation, error);
    vipo_safetensors_close(&record);
    return status;
}

vipo_status vipo_sim_copy_state(vipo_sim *to, const vipo_sim *from, vipo_error *error)
{
    if (to->task != from->task || to->profile != from->profile)
        return vipo_fail(error, VIPO_MISMATCH, "a state of %s (%s) is not one of %s (%s)", from->task->name,
                         vipo_sim_profile_name((int)from->profile), to->task->name,
                         vipo_sim_profile_name((int)to->profile));
    to->ready = false;
    VIPO_TRY(vipo_scene_copy(to->scene, from->scene, error));
    memcpy(to->vector, from->vector, sizeof to->vector);
    memcpy(to->hand_start, from->hand_start, sizeof to->hand_start);
    memcpy(to->target, from->target, sizeof to->target);
    memcpy(to->object_start, from->object_start, sizeof to->object_start);
    memcpy(to->finger_start, from->finger_start, sizeof to->finger_start);
    memcpy(to->site_start, from->site_start, sizeof to->site_start);
    memcpy(to->previous, from->previous, sizeof to->previous);
    memcpy(to->observation, from->observation, sizeof to->observation);
    to->steps = from->steps;
    to->unstable = from->unstable;
    to->ready = from->ready;
    return VIPO_OK;
}
