/* Whole files, and the public vipo_output, on core/file_output.h. */
#include <stdio.h>
#include <stdlib.h>

#include "core/file_output.h"

vipo_status vipo_file_write(const char *path, const void *bytes, size_t size, vipo_error *error)
{
    vipo_file_output output;
    VIPO_TRY(vipo_file_output_open(&output, path, error));
    const vipo_status status = vipo_file_output_write(&output, bytes, size, error);
    if (status == VIPO_OK) return vipo_file_output_commit(&output, error);
    vipo_file_output_abandon(&output);
    return status;
}

struct vipo_output {
    vipo_file_output file;
    vipo_error error; /* of the first write that failed */
};

vipo_status vipo_output_open(vipo_output **out, const char *path, vipo_error *error)
{
    *out = NULL;
    vipo_output *output = calloc(1, sizeof *output);
    if (!output) return vipo_fail_memory(error, sizeof *output, "an output file");
    const vipo_status status = vipo_file_output_open(&output->file, path, error);
    if (status != VIPO_OK) {
        free(output);
        return status;
    }
    setvbuf(output->file.stream, NULL, _IOLBF, 0);
    *out = output;
    return VIPO_OK;
}

vipo_status vipo_output_write(vipo_output *out, const void *bytes, size_t size, vipo_error *error)
{
    if (out->error.status == VIPO_OK) vipo_file_output_write(&out->file, bytes, size, &out->error);
    if (out->error.status != VIPO_OK && error) *error = out->error;
    return out->error.status;
}

vipo_status vipo_output_commit(vipo_output **out, vipo_error *error)
{
    vipo_output *output = *out;
    vipo_status status = output->error.status;
    if (status == VIPO_OK)
        status = vipo_file_output_commit(&output->file, error);
    else if (error)
        *error = output->error;
    vipo_output_abandon(out);
    return status;
}

void vipo_output_abandon(vipo_output **out)
{
    if (!*out) return;
    vipo_file_output_abandon(&(*out)->file);
    free(*out);
    *out = NULL;
}
