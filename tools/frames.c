#include "frames.h"

#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

void frames_free(frame_list *frames)
{
    for (int i = 0; i < frames->count; i++) {
        free(frames->list[i].text);
        vipo_array_free(&frames->list[i].cond);
    }
    free(frames->list);
    memset(frames, 0, sizeof *frames);
}

int frames_add(tool *t, frame_list *frames, const char *image, const char *text, const char *model)
{
    if (frames->count == frames->room) {
        const int room = frames->room ? 2 * frames->room : 16;
        frame *const list = realloc(frames->list, (size_t)room * sizeof *list);
        if (!list) return tool_fail(t, "out of memory for the frames");
        frames->list = list;
        frames->room = room;
    }
    frame *const f = &frames->list[frames->count];
    vipo_image picture;
    vipo_error error = {0};
    if (vipo_image_read(image, &picture, &error) != VIPO_OK) return tool_library_error(t, &error);
    const vipo_status status = vipo_preprocess_folder(model, &picture, &f->cond, &error);
    vipo_image_free(&picture);
    if (status != VIPO_OK) return tool_library_error(t, &error);
    f->text = strdup(text);
    frames->count++;
    return f->text ? STATUS_DONE : tool_fail(t, "out of memory for the frames");
}

static int read_entry(tool *t, frame_list *frames, const json_t *entry, size_t i, const char *path,
                      const char *model)
{
    char image[4096];
    const char *const file = json_string_value(json_object_get(entry, "file")), *const text =
                                                                                    json_string_value(
                                                                                        json_object_get(
                                                                                            entry, "text"));
    if (!file || !text)
        return tool_fail(t, "%.300s: [%zu]: expected an object with the texts \"file\" and \"text\"", path,
                         i);
    const char *const slash = file[0] == '/' ? NULL : strrchr(path, '/');
    const int n = snprintf(image, sizeof image, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, file);
    if (n < 0 || n >= (int)sizeof image)
        return tool_fail(t, "%.300s: [%zu]: file: the path is too long", path, i);
    return frames_add(t, frames, image, text, model);
}

int frames_read(tool *t, frame_list *frames, const char *path, const char *model, int most)
{
    json_error_t where;
    json_t *const root = json_load_file(path, JSON_REJECT_DUPLICATES, &where);
    if (!root && where.line < 1) return tool_fail(t, "%s", where.text);
    if (!root)
        return tool_fail(t, "%.300s: line %d, column %d: %s", path, where.line, where.column, where.text);
    const size_t n = json_array_size(root);
    int status = STATUS_DONE;
    if (n < 1 || n > (size_t)most)
        status = tool_fail(t, "%.300s: expected an array of 1 to %d objects with members file and text", path,
                           most);
    for (size_t i = 0; i < n && status == STATUS_DONE; i++) {
        status = read_entry(t, frames, json_array_get(root, i), i, path, model);
        if (status == STATUS_DONE && interrupt_signal()) status = tool_interrupted(t);
    }
    json_decref(root);
    return status;
}
