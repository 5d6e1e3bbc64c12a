#include "sampler.h"

#include <stdlib.h>
#include <string.h>

static const char *chunk_rule_name(int i)
{
    _Static_assert(VIPO_CHUNK_FRESH == 0 && VIPO_CHUNK_REMAINDER == 1, "the order of the names below");
    static const char *const names[] = {"fresh", "remainder"};
    return i < 2 ? names[i] : NULL;
}

static const char *ab2_form_name(int i)
{
    _Static_assert(VIPO_AB2_X0 == 0 && VIPO_AB2_R == 1, "the order of the names below");
    static const char *const names[] = {"x0", "r"};
    return i < 2 ? names[i] : NULL;
}

#define AT(member) offsetof(vipo_sampler_options, member)
#define GUIDANCE_ROW                                                                                         \
    {                                                                                                        \
        .name = "guidance", .letter = 'g', .placeholder = "W", .kind = OPTION_DOUBLE,                        \
        .offset = AT(guidance), .min = 0, .max = 1000,                                                       \
        .help = "classifier-free guidance, (1+W) v(text) - W v(no text); 0: off"                             \
    }

const option sampler_option_table[] = {
    {.name = "sampler",
     .letter = 's',
     .placeholder = "NAME",
     .kind = OPTION_CHOICE,
     .offset = AT(name),
     .choice = vipo_sampler_name,
     .help = "way from noise to frames"},
    {.name = "steps",
     .letter = 'n',
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(steps),
     .min = 1,
     .max = 100000,
     .default_text = "ddim 100, dpm-solver++, unipc and ab2 12, ddpm one per timestep",
     .help = "denoising steps"},
    {.name = "grid",
     .placeholder = "GRID",
     .kind = OPTION_STRING,
     .offset = AT(grid),
     .default_text = "ddim uniform, ab2 s:1.7,1.15, dpm-solver++ and unipc s:1.7,1.5",
     .help = "timesteps that ddim and the multistep solvers visit: uniform, or s:P,Q (finer at both ends)"},
    {.name = "order",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(order),
     .min = 2,
     .max = 3,
     .default_text = "2",
     .help = "order of unipc"},
    {.name = "form",
     .placeholder = "FORM",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(form),
     .choice = ab2_form_name,
     .help = "what ab2 extrapolates"},
    {.name = "fallback",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(fallback),
     .min = 0,
     .max = 1e12,
     .help = "ab2: a step whose second-order correction exceeds X (rms, [-1,1] units) is taken by ddim; 0: "
             "never"},
    {.name = "distance",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(distance),
     .min = 0,
     .max = 1000,
     .help =
         "auto: largest distance to the exact flow, rms in [-1,1] units; the fastest sampler within it is "
         "taken"},
    GUIDANCE_ROW,
    {0},
};

const option guidance_option_table[] = {GUIDANCE_ROW, {0}};

const option draft_target_option_table[] = {
    {.name = "chunk",
     .placeholder = "K",
     .kind = OPTION_INT,
     .offset = AT(chunk),
     .min = 1,
     .max = 10000,
     .help = "draft steps per round"},
    {.name = "draft-stride",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(draft_stride),
     .min = 1,
     .max = 100000,
     .help = "timesteps of a draft step"},
    {.name = "target-stride",
     .placeholder = "N",
     .kind = OPTION_INT,
     .offset = AT(target_stride),
     .min = 1,
     .max = 100000,
     .help = "timesteps of a target step; divides the draft's"},
    {.name = "threshold",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(threshold),
     .min = -1e12,
     .max = 1e12,
     .help = "a draft is accepted up to this L2 distance over the whole video in [-1,1] units"},
    {.name = "threshold-growth",
     .placeholder = "X",
     .kind = OPTION_DOUBLE,
     .offset = AT(threshold_growth),
     .min = -1e12,
     .max = 1e12,
     .help = "added to the threshold after each round"},
    {.name = "chunk-rule",
     .placeholder = "RULE",
     .kind = OPTION_CHOICE_INDEX,
     .offset = AT(chunk_rule),
     .choice = chunk_rule_name,
     .help = "after a rejection draft a fresh chunk or the remainder of the old one"},
    {.name = "no-draft-reuse",
     .kind = OPTION_FLAG_OFF,
     .offset = AT(draft_reuse),
     .help = "the first target step calls the network again in place of using the draft's call"},
    {.name = "no-calibration",
     .kind = OPTION_FLAG_OFF,
     .offset = AT(lazy_calibrated),
     .help = "draft-target-lazy: take estimated distances as they are, not divided by the model's ratios"},
    {.name = "verify",
     .kind = OPTION_FLAG,
     .offset = AT(verify),
     .help =
         "draft-target-lazy: also measure the true distances and count the decisions that agree; the plan "
         "stays the same"},
    {0},
};

static bool is_draft_target(const char *sampler)
{
    return strncmp(sampler, "draft-target", 12) == 0;
}

/* Settings of some samplers only. */
static const struct {
    const char *setting, *samplers; /* samplers: names between spaces */
} owners[] = {
    {"grid", " ddim dpm-solver++ unipc ab2 "},
    {"order", " unipc "},
    {"form", " ab2 "},
    {"fallback", " ab2 "},
    {"step-noise", " ddpm "},
    {"distance", " auto "},
    {"no-calibration", " draft-target-lazy "},
    {"verify", " draft-target-lazy "},
};

static bool setting_belongs(const char *sampler, const char *setting, char *message)
{
    char word[40];
    snprintf(word, sizeof word, " %.32s ", sampler);
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++)
        if (strcmp(setting, owners[i].setting) == 0 && !strstr(owners[i].samplers, word)) {
            snprintf(message, MESSAGE_SIZE, "--%s is a setting of%sonly, but the sampler is %s", setting,
                     owners[i].samplers, sampler);
            return false;
        }
    if (is_draft_target(sampler) && strcmp(setting, "steps") == 0) {
        snprintf(message, MESSAGE_SIZE, "%s has no --steps, its steps follow from the strides", sampler);
        return false;
    }
    if (strcmp(sampler, "auto") == 0 && strcmp(setting, "steps") == 0) {
        snprintf(message, MESSAGE_SIZE, "auto has no --steps, it chooses them by --distance");
        return false;
    }
    if (!is_draft_target(sampler) && option_find(draft_target_option_table, setting)) {
        snprintf(message, MESSAGE_SIZE, "--%s is a setting of draft-target, but the sampler is %s", setting,
                 sampler);
        return false;
    }
    return true;
}

static bool settings_fit(const vipo_sampler_options *s, char *message)
{
    if (!is_draft_target(s->name) ||
        (s->draft_stride >= s->target_stride && s->draft_stride % s->target_stride == 0))
        return true;
    snprintf(message, MESSAGE_SIZE, "the target stride must divide the draft stride, found %d and %d",
             s->target_stride, s->draft_stride);
    return false;
}

bool sampler_check(const vipo_sampler_options *sampler, const option_use *use, char *message)
{
    for (int i = 0; i < use->n_given; i++)
        if (!setting_belongs(sampler->name, use->given[i]->name, message)) return false;
    return settings_fit(sampler, message);
}

/* ---- lists ----------------------------------------------------------------------------------------- */

static bool set_sampler_name(vipo_sampler_options *out, const char *word, char *message)
{
    for (int i = 0; vipo_sampler_name(i); i++) {
        const char *const name = vipo_sampler_name(i);
        const size_t length = strlen(name);
        if (strncmp(word, name, length) != 0) continue;
        if (word[length] && (word[length] != '-' || strspn(word + length + 1, "0123456789") == 0)) continue;
        out->name = name;
        if (!word[length]) return true;
        if (!setting_belongs(name, "steps", message)) return false;
        return option_set(option_find(sampler_option_table, "steps"), out, word + length + 1, "steps",
                          message);
    }
    return option_set(option_find(sampler_option_table, "sampler"), out, word, "sampler", message);
}

/* A copy that lives as long as the process: settings of a list are words of a line that goes away. */
static const char *keep_text(const char *text)
{
    static char kept[64][32];
    static int count;
    for (int i = 0; i < count; i++)
        if (strcmp(kept[i], text) == 0) return kept[i];
    if (count == 64 || strlen(text) >= sizeof kept[0]) return "(too long)"; /* refused as a grid */
    return strcpy(kept[count++], text);
}

static bool set_sampler_setting(vipo_sampler_options *out, char *word, char *message)
{
    const char *name = word, *value = NULL;
    char *const equals = strchr(word, '=');
    if (equals) {
        *equals = '\0';
        value = equals + 1;
    } else if (word[0] >= '0' && word[0] <= '9') {
        name = "steps";
        value = word;
    }
    const option *setting = option_find(draft_target_option_table, name);
    if (!setting) setting = option_find(sampler_option_table, name);
    if (!setting || strcmp(name, "sampler") == 0) {
        snprintf(message, MESSAGE_SIZE,
                 "'%.60s' is no setting of a sampler (steps, guidance, chunk, threshold, ...)", name);
        return false;
    }
    if (value && setting->kind == OPTION_STRING) value = keep_text(value);
    return setting_belongs(out->name, name, message) &&
           option_set(setting, out, value, setting->name, message);
}

int sampler_parse_list(const char *list, const vipo_sampler_options *base, vipo_sampler_options *out,
                       int capacity, char *message)
{
    int count = 0;
    char before = ','; /* separator before the word */
    for (const char *at = list;;) {
        const size_t length = strcspn(at, ":,");
        char word[96];
        snprintf(word, sizeof word, "%.*s", length < sizeof word ? (int)length : (int)sizeof word - 1, at);
        const bool is_setting = count > 0 && (before == ':' || strchr(word, '='));
        if (length == 0 || length >= sizeof word) {
            snprintf(message, MESSAGE_SIZE,
                     "'%.200s': expected NAME[:STEPS][:SETTING=VALUE]... separated by commas", list);
            return 0;
        }
        if (is_setting) {
            if (!set_sampler_setting(&out[count - 1], word, message)) return 0;
        } else {
            if (count == capacity) {
                snprintf(message, MESSAGE_SIZE, "more than %d samplers", capacity);
                return 0;
            }
            out[count] = *base;
            if (!set_sampler_name(&out[count++], word, message)) return 0;
        }
        at += length;
        if (!*at) break;
        before = *at++;
    }
    for (int i = 0; i < count; i++)
        if (!settings_fit(&out[i], message)) return 0;
    return count;
}

bool sampler_equal(const vipo_sampler_options *a, const vipo_sampler_options *b)
{
    return a->name == b->name && a->steps == b->steps && a->guidance == b->guidance && a->chunk == b->chunk &&
           a->draft_stride == b->draft_stride && a->target_stride == b->target_stride &&
           a->threshold == b->threshold && a->threshold_growth == b->threshold_growth &&
           a->chunk_rule == b->chunk_rule && a->draft_reuse == b->draft_reuse && a->order == b->order &&
           a->form == b->form && a->fallback == b->fallback && a->distance == b->distance &&
           a->lazy_calibrated == b->lazy_calibrated && a->verify == b->verify &&
           strcmp(a->grid ? a->grid : "", b->grid ? b->grid : "") == 0;
}

const glossary sampler_glossary = {"Samplers", vipo_sampler_name, vipo_sampler_summary};
