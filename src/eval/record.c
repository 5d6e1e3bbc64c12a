#include "eval/record.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"
#include "core/number.h"

#define FIELD(member, its_kind, is_result)                                                                   \
    {                                                                                                        \
        .name = #member, .kind = VIPO_FIELD_##its_kind, .offset = offsetof(vipo_record, member),             \
        .size = sizeof(((vipo_record *)0)->member), .result = (is_result)                                    \
    }

const vipo_field vipo_fields[] = {
    FIELD(settings, TEXT, true),
    FIELD(task, TEXT, true),
    FIELD(camera, TEXT, true),
    FIELD(seed, UINT64, true),
    FIELD(success, BOOL, true),
    FIELD(first_success, STEP, true),
    FIELD(steps, INT, true),
    FIELD(total_reward, DOUBLE, true),
    FIELD(max_reward, DOUBLE, true),
    FIELD(plans, INT, true),
    FIELD(replans, INT, true),
    FIELD(calls, INT, true),
    FIELD(evaluations, INT, true),
    FIELD(network_rows, INT, true),
    FIELD(rounds, INT, true),
    FIELD(drafted, INT, true),
    FIELD(accepted, INT, true),
    FIELD(plan_steps, INTS, true),
    FIELD(error, TEXT, true),
    FIELD(seconds, DOUBLE, false),
    FIELD(planning_seconds, DOUBLE, false),
    FIELD(flow_seconds, DOUBLE, false),
    FIELD(acting_seconds, DOUBLE, false),
    FIELD(physics_seconds, DOUBLE, false),
    FIELD(rendering_seconds, DOUBLE, false),
    FIELD(plan_seconds, DOUBLES, false),
    FIELD(finished, TEXT, false),
    FIELD(host, TEXT, false),
    FIELD(version, TEXT, false),
    FIELD(compute, TEXT, false),
    FIELD(methods, TEXT, false),
    FIELD(mujoco, TEXT, false),
    FIELD(gl, TEXT, false),
    FIELD(video, TEXT, false),
};
const int vipo_n_fields = sizeof vipo_fields / sizeof *vipo_fields;

int vipo_record_listed(const vipo_record *record)
{
    return record->plans < VIPO_RECORD_PLANS ? record->plans : VIPO_RECORD_PLANS;
}

static void print_list(const vipo_record *record, const int *ints, const double *doubles, char *out,
                       size_t size)
{
    const int n = vipo_record_listed(record);
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < n && used < size; i++) {
        const char *const comma = i ? "," : "";
        const int more = ints ? snprintf(out + used, size - used, "%s%d", comma, ints[i])
                              : vipo_snprintf(out + used, size - used, "%s%.6g", comma, doubles[i]);
        used += more > 0 ? (size_t)more : 0;
    }
    if (used < size) snprintf(out + used, size - used, "]");
}

void vipo_field_print(const vipo_field *field, const vipo_record *record, char *out, size_t size)
{
    const char *const at = (const char *)record + field->offset;
    const int number = field->kind == VIPO_FIELD_INT || field->kind == VIPO_FIELD_STEP ? *(const int *)at : 0;
    switch (field->kind) {
    case VIPO_FIELD_TEXT:
        snprintf(out, size, "%s", at);
        break;
    case VIPO_FIELD_UINT64:
        snprintf(out, size, "%" PRIu64, *(const uint64_t *)at);
        break;
    case VIPO_FIELD_BOOL:
        snprintf(out, size, "%d", *(const bool *)at);
        break;
    case VIPO_FIELD_INT:
        snprintf(out, size, "%d", number);
        break;
    case VIPO_FIELD_STEP:
        if (number)
            snprintf(out, size, "%d", number);
        else
            snprintf(out, size, "%s", "");
        break;
    case VIPO_FIELD_DOUBLE:
        vipo_snprintf(out, size, "%.17g", *(const double *)at);
        break;
    case VIPO_FIELD_INTS:
        print_list(record, (const int *)at, NULL, out, size);
        break;
    case VIPO_FIELD_DOUBLES:
        print_list(record, NULL, (const double *)at, out, size);
        break;
    }
}

bool vipo_field_parse_list(const vipo_field *field, vipo_record *record, const char *text)
{
    char *const at = (char *)record + field->offset;
    const char *next = text;
    if (*next++ != '[') return false;
    for (int i = 0; *next != ']'; i++) {
        char *end;
        if (i && *next++ != ',') return false;
        if (i == VIPO_RECORD_PLANS) return false;
        const double value = vipo_strtod(next, &end);
        if (end == next || !(value >= 0 && value < 1e9)) return false;
        if (field->kind == VIPO_FIELD_INTS)
            ((int *)at)[i] = (int)value;
        else
            ((double *)at)[i] = value;
        next = end;
    }
    return next[1] == '\0';
}

uint64_t vipo_record_digest(uint64_t hash, const vipo_record *record)
{
    char text[VIPO_RECORD_PLANS * 24];
    for (int i = 0; i < vipo_n_fields; i++) {
        if (!vipo_fields[i].result) continue;
        vipo_field_print(&vipo_fields[i], record, text, sizeof text);
        hash = vipo_hash64_bytes(hash, text, strlen(text) + 1);
    }
    return hash;
}
