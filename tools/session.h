/* The inputs of a plan and the open model: shared by plan, compare, denoise and encode-text. */
#ifndef VIPO_TOOLS_SESSION_H
#define VIPO_TOOLS_SESSION_H

#include "tool.h"

typedef struct input_options {
    const char *model, *image, *cond, *text, *tokens, *compute;
    bool half_weights;
} input_options;
extern const option input_option_table[]; /* all of them */
extern const option model_option_table[]; /* --model and --compute only */
extern const option half_option_table[];  /* --half-weights only */

typedef struct session {
    vipo_model *model;
    vipo_planner *planner;
    vipo_array cond;   /* [n][H][W][3] */
    vipo_array tokens; /* [n][L][C]; data is NULL if a text is used */
    double load_seconds;
    int threads; /* in use */
} session;

/* Exactly one of --image and --cond, one of --text and --tokens. Returns an exit status. */
int input_check(tool *t, const input_options *inputs);
/* Reads the inputs, opens the model and a planner. Returns an exit status; session_close in every case. */
int session_open(tool *t, session *s, const input_options *inputs);
/* The model, with its text encoder, and a planner only: no inputs. Returns an exit status; session_close in every case. */
int session_open_model(tool *t, session *s, const input_options *inputs);
void session_close(session *s);

/* "compute", "methods", "threads", "load_seconds" and "load", its parts, into a JSON object. */
void session_describe(const session *s, json_t *object);

#endif
