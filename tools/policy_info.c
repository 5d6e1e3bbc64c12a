#include "policy_info.h"

#include "vipo/action.h"

static void print_names(const char *title, const vipo_goal_policy_info *p)
{
    printf("%-16s", title);
    for (int i = 0; i < p->n_tasks; i++) {
        printf("%s", i ? ", " : "");
        print_safe(stdout, p->tasks[i]);
    }
    printf("\n");
}

static void print_policy(const vipo_goal_policy_info *p)
{
    char bytes[32];
    printf("%-16s", "name");
    print_safe(stdout, p->name[0] ? p->name : "none");
    printf("\n%-16s%s\n", "kind", p->kind);
    printf("%-16s%s%s%s of %dx%d\n", "looks at", p->obs ? "obs" : "", p->obs && p->goal ? ", " : "",
           p->goal ? "goal" : "", p->width, p->height);
    for (int i = 0; i < p->n_parts; i++) {
        printf("%-16s", i ? "" : "vector");
        print_safe(stdout, p->parts[i].name);
        printf(", %d numbers%s\n", p->parts[i].size, p->parts[i].tasks ? ": one of the tasks" : "");
    }
    if (p->n_tasks > 0) print_names("tasks", p);
    printf("%-16s%d of %d numbers, the first %d to execute\n", "actions", p->horizon, p->action_dim,
           p->executed);
    if (p->timesteps > 0) {
        printf("%-16s%d timesteps, %s", "diffusion", p->timesteps, p->sampler);
        if (p->steps > 0) printf(" with %d steps", p->steps);
        printf("\n");
    }
    printf("%-16s%zu parameters, %s, %s\n", "networks", p->parameters, p->dtype,
           format_bytes((double)p->file_bytes, bytes, sizeof bytes));
}

static json_t *policy_json(const vipo_goal_policy_info *p)
{
    json_t *const out = json_object(), *const pictures = json_array(), *const parts = json_array();
    json_t *const tasks = json_array(), *const limits = json_array();
    if (p->obs) json_array_append_new(pictures, json_text("obs"));
    if (p->goal) json_array_append_new(pictures, json_text("goal"));
    for (int i = 0; i < p->n_parts; i++) {
        json_t *const part = json_object();
        json_object_set_new(part, "name", json_text(p->parts[i].name));
        json_object_set_new(part, "offset", json_integer(p->parts[i].offset));
        json_object_set_new(part, "size", json_integer(p->parts[i].size));
        json_object_set_new(part, "tasks", json_boolean(p->parts[i].tasks));
        json_array_append_new(parts, part);
    }
    for (int i = 0; i < p->n_tasks; i++) json_array_append_new(tasks, json_text(p->tasks[i]));
    for (int i = 0; i < p->action_dim; i++) {
        json_t *const range = json_array();
        json_array_append_new(range, json_number((double)p->action_min[i]));
        json_array_append_new(range, json_number((double)p->action_max[i]));
        json_array_append_new(limits, range);
    }
    json_object_set_new(out, "name", json_text(p->name));
    json_object_set_new(out, "kind", json_text(p->kind));
    json_object_set_new(out, "pictures", pictures);
    json_object_set_new(out, "height", json_integer(p->height));
    json_object_set_new(out, "width", json_integer(p->width));
    json_object_set_new(out, "vector_dim", json_integer(p->vector_dim));
    json_object_set_new(out, "vector", parts);
    json_object_set_new(out, "tasks", tasks);
    json_object_set_new(out, "action_dim", json_integer(p->action_dim));
    json_object_set_new(out, "horizon", json_integer(p->horizon));
    json_object_set_new(out, "executed", json_integer(p->executed));
    json_object_set_new(out, "action_ranges", limits);
    json_object_set_new(out, "timesteps", p->timesteps ? json_integer(p->timesteps) : json_null());
    json_object_set_new(out, "sampler", p->sampler[0] ? json_text(p->sampler) : json_null());
    json_object_set_new(out, "steps", p->steps ? json_integer(p->steps) : json_null());
    json_object_set_new(out, "parameters", json_integer((json_int_t)p->parameters));
    json_object_set_new(out, "dtype", json_text(p->dtype));
    json_object_set_new(out, "file_bytes", json_integer((json_int_t)p->file_bytes));
    json_object_set_new(out, "tensors", json_integer(p->n_tensors));
    return out;
}

int policy_info(tool *t, const char *folder)
{
    vipo_error error = {0};
    vipo_goal_policy_info info;
    if (vipo_goal_policy_read_info(folder, &info, &error) != VIPO_OK) return tool_library_error(t, &error);
    if (t->common->json) return tool_print_json(t, policy_json(&info));
    print_policy(&info);
    return STATUS_DONE;
}
