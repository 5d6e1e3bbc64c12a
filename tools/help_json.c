/* The commands and their options as data. */
#include <stdlib.h>

#include "commands.h"
#include "help.h"

static const char *kind_text(option_kind kind)
{
    switch (kind) {
    case OPTION_FLAG:
    case OPTION_FLAG_OFF:
    case OPTION_COUNT:
        return "flag";
    case OPTION_INT:
    case OPTION_UINT64:
        return "integer";
    case OPTION_INTS:
        return "integers";
    case OPTION_DOUBLE:
        return "number";
    case OPTION_STRING:
    case OPTION_STRINGS:
        return "text";
    case OPTION_CHOICE:
    case OPTION_CHOICE_INDEX:
        return "choice";
    }
    return "";
}

static json_t *choices_json(const char *(*choice)(int i))
{
    json_t *const list = json_array();
    for (int i = 0; choice(i); i++) json_array_append_new(list, json_text(choice(i)));
    return list;
}

static json_t *option_json(const option_cursor *at, const void *defaults)
{
    const option *const o = at->option;
    char initial[160];
    const char letter[] = {o->letter, '\0'};
    json_t *const out = json_object();
    option_default(at, defaults, initial, sizeof initial);
    json_object_set_new(out, "name", json_text(o->name));
    json_object_set_new(out, "letter", o->letter ? json_text(letter) : json_null());
    json_object_set_new(out, "value", o->placeholder ? json_text(o->placeholder) : json_null());
    json_object_set_new(out, "kind", json_text(kind_text(o->kind)));
    json_object_set_new(out, "help", json_text(o->help));
    json_object_set_new(out, "default", initial[0] ? json_text(initial) : json_null());
    json_object_set_new(out, "required", json_boolean(o->required));
    json_object_set_new(out, "repeats", json_boolean(option_repeats(o)));
    if (o->choice) json_object_set_new(out, "choices", choices_json(o->choice));
    return out;
}

static json_t *command_json(const command *c)
{
    json_t *const out = json_object(), *const options = json_array();
    void *const defaults = command_new_values(c);
    json_object_set_new(out, "name", json_text(c->name));
    json_object_set_new(out, "summary", json_text(c->summary));
    json_object_set_new(out, "usage", json_text(c->usage));
    json_object_set_new(out, "description", json_text(c->description));
    for (option_cursor at = option_first(c->groups); defaults && at.option; option_next(&at))
        json_array_append_new(options, option_json(&at, defaults));
    json_object_set_new(out, "options", options);
    json_object_set_new(out, "examples", json_text(c->examples));
    if (defaults) {
        free(defaults);
        return out;
    }
    json_decref(out);
    return NULL;
}

json_t *help_json(const command *c)
{
    if (c) return command_json(c);
    json_t *const list = json_array();
    for (int i = 0; command_at(i); i++) json_array_append_new(list, command_json(command_at(i)));
    return list;
}
