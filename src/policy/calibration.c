/* Storing a calibration in a model folder. Reading it is part of the configuration: nets/calibration.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file_output.h"
#include "core/json_edit.h"
#include "core/json_util.h"
#include "core/mapped_file.h"
#include "nets/calibration.h"
#include "policy/model.h"

enum { DIGITS = 6 };

/* What JSON cannot say. */
static vipo_status check_numbers(const vipo_calibration *c, vipo_error *error)
{
    if (c->n_ratios < 1 || c->n_ratios > VIPO_MAX_RATIOS)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "calibration: %d ratios, expected 1..%d", c->n_ratios,
                         (int)VIPO_MAX_RATIOS);
    for (int i = 0; i < c->n_ratios; i++)
        if (!isfinite(c->ratios[i]) || !isfinite(c->log_spread[i]))
            return vipo_fail(error, VIPO_INVALID_ARGUMENT,
                             "calibration: ratio %d is %g with spread %g, expected finite numbers", i,
                             c->ratios[i], c->log_spread[i]);
    return VIPO_OK;
}

/* The file's bytes with a 0 behind; free with free(). */
static vipo_status read_text(char **out, const char *path, vipo_error *error)
{
    vipo_mapped_file file;
    VIPO_TRY(vipo_mapped_file_open(&file, path, error));
    *out = malloc(file.size + 1);
    if (*out) {
        memcpy(*out, file.data, file.size);
        (*out)[file.size] = '\0';
    }
    const vipo_status status = *out ? VIPO_OK : vipo_fail_memory(error, file.size + 1, path);
    vipo_mapped_file_close(&file);
    return status;
}

/* A text that would not be read back is not written. */
static vipo_status check_text(const char *text, const char *path, vipo_error *error)
{
    vipo_config config;
    json_error_t where;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!root && json_error_code(&where) == json_error_out_of_memory)
        return vipo_fail_memory(error, strlen(text), path);
    if (!root)
        return vipo_fail(error, VIPO_FORMAT, "%s: with the calibration, line %d: %s", path, where.line,
                         where.text);
    const vipo_status status = vipo_config_parse(&config, root, path, error);
    json_decref(root);
    return status;
}

vipo_status vipo_model_store_calibration(const char *folder, const vipo_calibration *calibration,
                                         vipo_error *error)
{
    static const char *const place[] = {"calibration", "draft_target_lazy"};
    char path[VIPO_PATH_ROOM];
    VIPO_TRY(check_numbers(calibration, error));
    VIPO_TRY(vipo_model_path(path, folder, "config.json", error));
    json_t *root, *value = NULL;
    char *old = NULL, *edited = NULL;
    VIPO_TRY(vipo_json_load(&root, path, error)); /* valid JSON? */
    vipo_status status = VIPO_OK;
    if (!json_is_object(root)) status = vipo_fail(error, VIPO_FORMAT, "%s: expected a JSON object", path);
    if (status == VIPO_OK) status = read_text(&old, path, error);
    if (status == VIPO_OK) {
        value = vipo_calibration_json(calibration);
        if (!value) status = vipo_fail_memory(error, sizeof *calibration, "a calibration");
    }
    if (status == VIPO_OK) status = vipo_json_edit(&edited, old, place, 2, value, DIGITS, path, error);
    if (status == VIPO_OK) status = check_text(edited, path, error);
    if (status == VIPO_OK) status = vipo_file_write(path, edited, strlen(edited), error);
    free(edited);
    free(old);
    json_decref(value);
    json_decref(root);
    return status;
}
