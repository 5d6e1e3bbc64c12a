/* An OpenGL context without window or surface, for drawing into MuJoCo's off-screen buffer. The OpenGL libraries are
 * opened at run time (dlopen) and stay open: they do not survive being unloaded while threads live. */
#ifndef VIPO_SIM_GL_CONTEXT_H
#define VIPO_SIM_GL_CONTEXT_H

#include "core/status.h"

typedef struct vipo_gl vipo_gl;

/* Name of backend i, "egl" (a GPU's or Mesa's driver without a surface) or "osmesa" (Mesa's software renderer), in the
 * order in which they are tried; NULL past the end. */
const char *vipo_gl_backend(int i);

/* name: a backend, or NULL for $VIPO_GL, else the first that works. VIPO_UNSUPPORTED, with what each one lacks, if none does. */
vipo_status vipo_gl_open(vipo_gl **out, const char *name, vipo_error *error);
/* Lets MuJoCo find OpenGL's functions by this backend. It looks for them among the symbols that all libraries see, EGL's
 * before OSMesa's, so the backend that is first in a process stays the only one: the other cannot be opened any more. */
vipo_status vipo_gl_claim(vipo_gl *gl, vipo_error *error);
/* Not between begin and end. */
void vipo_gl_close(vipo_gl **gl);
const char *vipo_gl_name(const vipo_gl *gl);

/* Makes the context current in this thread, which has no other context of its own; ends that again. */
vipo_status vipo_gl_begin(vipo_gl *gl, vipo_error *error);
void vipo_gl_end(vipo_gl *gl);

/* Who draws ("llvmpipe (LLVM 15.0.6, 256 bits)"), between begin and end; "" if it cannot be told. */
const char *vipo_gl_device(const vipo_gl *gl);

#endif
