/* libvipo_sim where MuJoCo was not found: every function of vipo/sim.h, none of which can do its work. */
#include <string.h>

#include "core/status.h"
#include "vipo/sim.h"

static vipo_status absent(vipo_error *error)
{
    return vipo_fail(
        error, VIPO_UNSUPPORTED,
        "this vipo was built without MuJoCo: run scripts/setup.sh, which fetches it, and build again");
}

const char *vipo_sim_profile_name(int i)
{
    (void)i;
    return NULL;
}

const char *vipo_sim_task_name(int i)
{
    (void)i;
    return NULL;
}

const char *vipo_sim_task_text(int i)
{
    (void)i;
    return NULL;
}

const char *vipo_sim_camera_name(int i)
{
    (void)i;
    return NULL;
}

const char *vipo_sim_mujoco_version(void)
{
    return NULL;
}

void vipo_sim_default_options(vipo_sim_options *options)
{
    memset(options, 0, sizeof *options);
}

const char *vipo_sim_gl_name(int i)
{
    (void)i;
    return NULL;
}

vipo_status vipo_sim_gl_probe(const char *gl, char *device, size_t size, vipo_error *error)
{
    (void)gl;
    if (size) device[0] = '\0';
    return absent(error);
}

vipo_status vipo_sim_open(vipo_sim **out, const char *task, const vipo_sim_options *options,
                          vipo_error *error)
{
    (void)task, (void)options;
    *out = NULL;
    return absent(error);
}

/* There is no environment to call the rest with. */

void vipo_sim_close(vipo_sim **sim)
{
    *sim = NULL;
}

vipo_status vipo_sim_reset(vipo_sim *sim, uint64_t seed, double observation[VIPO_SIM_OBSERVATION],
                           vipo_error *error)
{
    (void)sim, (void)seed, (void)observation;
    return absent(error);
}

vipo_status vipo_sim_step(vipo_sim *sim, const double action[VIPO_SIM_ACTION], vipo_sim_step_result *out,
                          vipo_error *error)
{
    (void)sim, (void)action;
    memset(out, 0, sizeof *out);
    return absent(error);
}

vipo_status vipo_sim_get_state(const vipo_sim *sim,
                               void (*visit)(void *user, const char *name, int rank, const size_t *shape,
                                             const double *values),
                               void *user, vipo_error *error)
{
    (void)sim, (void)visit, (void)user;
    return absent(error);
}

vipo_status vipo_sim_load_state(vipo_sim *sim, const char *path, double observation[VIPO_SIM_OBSERVATION],
                                vipo_error *error)
{
    (void)sim, (void)path, (void)observation;
    return absent(error);
}

vipo_status vipo_sim_copy_state(vipo_sim *to, const vipo_sim *from, vipo_error *error)
{
    (void)to, (void)from;
    return absent(error);
}

vipo_status vipo_sim_render(vipo_sim *sim, const char *camera, int height, int width, unsigned parts,
                            vipo_sim_picture *out, vipo_error *error)
{
    (void)sim, (void)camera, (void)height, (void)width, (void)parts;
    memset(out, 0, sizeof *out);
    return absent(error);
}

void vipo_sim_picture_free(vipo_sim_picture *picture)
{
    memset(picture, 0, sizeof *picture);
}

const char *vipo_sim_gl(const vipo_sim *sim)
{
    (void)sim;
    return NULL;
}

const char *vipo_sim_gl_device(const vipo_sim *sim)
{
    (void)sim;
    return NULL;
}

vipo_status vipo_sim_camera_matrix(const vipo_sim *sim, const char *camera, int height, int width,
                                   double matrix[12], vipo_error *error)
{
    (void)sim, (void)camera, (void)height, (void)width, (void)matrix;
    return absent(error);
}

const char *vipo_sim_geom_name(const vipo_sim *sim, int id)
{
    (void)sim, (void)id;
    return NULL;
}

vipo_status vipo_sim_object_mask(const vipo_sim *sim, const vipo_sim_picture *picture, uint8_t *mask,
                                 vipo_error *error)
{
    (void)sim, (void)picture, (void)mask;
    return absent(error);
}

vipo_status vipo_sim_expert(const vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                            double action[VIPO_SIM_ACTION], vipo_error *error)
{
    (void)sim, (void)observation, (void)action;
    return absent(error);
}

vipo_status vipo_sim_run_expert(vipo_sim *sim, const double observation[VIPO_SIM_OBSERVATION],
                                bool (*before_step)(void *user, vipo_sim *sim, int step), void *user,
                                vipo_sim_episode *out, vipo_error *error)
{
    (void)sim, (void)observation, (void)before_step, (void)user;
    memset(out, 0, sizeof *out);
    return absent(error);
}

vipo_status vipo_sim_replay(vipo_sim *sim, const char *path, vipo_sim_replay_result *out, vipo_error *error)
{
    (void)sim, (void)path;
    memset(out, 0, sizeof *out);
    return absent(error);
}

const char *vipo_sim_task_phrase(int task, int i)
{
    (void)task, (void)i;
    return NULL;
}

const char *vipo_sim_task_held_out_phrase(int task, int i)
{
    (void)task, (void)i;
    return NULL;
}

vipo_status vipo_sim_collect(const char *folder, const vipo_sim_collect_options *options,
                             vipo_sim_collect_result *out, vipo_error *error)
{
    (void)folder, (void)options;
    memset(out, 0, sizeof *out);
    return absent(error);
}
