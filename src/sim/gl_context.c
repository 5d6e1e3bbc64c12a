#define _GNU_SOURCE /* RTLD_DEFAULT */
#include "sim/gl_context.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/environment.h"

enum { REASON_ROOM = 200 };

/* What can be used to draw. open fills the backend's members of *gl, or says in `reason` why it cannot. */
typedef struct gl_backend {
    const char *name, *library;
    const char *finder, *other_finder; /* what MuJoCo looks for, here and in the other backend */
    bool (*open)(vipo_gl *gl, char reason[REASON_ROOM]);
    bool (*begin)(vipo_gl *gl);
    void (*end)(vipo_gl *gl);
    void (*close)(vipo_gl *gl);
} gl_backend;

/* EGL's types and constants (Khronos registry, EGL 1.5), so that no development package is needed. */
typedef void *egl_handle;
typedef int32_t egl_int;
typedef unsigned egl_bool;
typedef void (*gl_function)(void);
enum {
    EGL_EXTENSIONS = 0x3055,
    EGL_NONE = 0x3038,
    EGL_RENDERABLE_TYPE = 0x3040,
    EGL_SURFACE_TYPE = 0x3033,
    EGL_PBUFFER_BIT = 1,
    EGL_OPENGL_BIT = 8,
    EGL_OPENGL_API = 0x30A2,
    EGL_PLATFORM_SURFACELESS = 0x31DD,
    EGL_PLATFORM_DEVICE = 0x313F,
    EGL_MAX_DEVICES = 16,
    GL_RENDERER = 0x1F01,
};

typedef struct egl_functions {
    gl_function (*get_proc_address)(const char *name);
    const char *(*query_string)(egl_handle display, egl_int name);
    egl_bool (*initialize)(egl_handle display, egl_int *major, egl_int *minor);
    egl_bool (*bind_api)(unsigned api);
    egl_bool (*choose_config)(egl_handle display, const egl_int *attributes, egl_handle *configs,
                              egl_int size, egl_int *count);
    egl_handle (*create_context)(egl_handle display, egl_handle config, egl_handle share,
                                 const egl_int *attributes);
    egl_bool (*destroy_context)(egl_handle display, egl_handle context);
    egl_bool (*make_current)(egl_handle display, egl_handle draw, egl_handle read, egl_handle context);
    egl_int (*get_error)(void);
    /* extensions, of the client */
    egl_handle (*get_platform_display)(unsigned platform, void *native, const egl_int *attributes);
    egl_bool (*query_devices)(egl_int capacity, egl_handle *devices, egl_int *count);
    const char *(*query_device_string)(egl_handle device, egl_int name);
} egl_functions;

/* OSMesa (Mesa's include/GL/osmesa.h). */
enum {
    OSMESA_FORMAT = 0x22,
    OSMESA_RGBA = 0x1908,
    OSMESA_DEPTH_BITS = 0x30,
    OSMESA_STENCIL_BITS = 0x31,
    OSMESA_PROFILE = 0x33,
    OSMESA_COMPAT_PROFILE = 0x35,
    OSMESA_SIDE = 16, /* of its own buffer, which nothing is drawn into */
    GL_UNSIGNED_BYTE = 0x1401,
};

typedef struct osmesa_functions {
    gl_function (*get_proc_address)(const char *name);
    egl_handle (*create_context)(const int *attributes, egl_handle share);
    void (*destroy_context)(egl_handle context);
    unsigned char (*make_current)(egl_handle context, void *buffer, unsigned type, int width, int height);
} osmesa_functions;

struct vipo_gl {
    const gl_backend *backend;
    void *library;
    egl_handle context;
    egl_functions egl;
    egl_handle display;
    osmesa_functions osmesa;
    unsigned char buffer[OSMESA_SIDE * OSMESA_SIDE * 4];
};

/* ISO C has no conversion from dlsym's pointer to a function's. */
static bool find(void *library, const char *name, void *function)
{
    void *const symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

/* Is the word in a list of words? */
static bool has_extension(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; at && (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) return true;
    return false;
}

/* ---- EGL ---------------------------------------------------------------------------------------------------- */

static bool egl_load(vipo_gl *gl, char reason[REASON_ROOM])
{
    egl_functions *const egl = &gl->egl;
    void *const library = gl->library;
    if (!find(library, "eglGetProcAddress", &egl->get_proc_address) ||
        !find(library, "eglQueryString", &egl->query_string) ||
        !find(library, "eglInitialize", &egl->initialize) || !find(library, "eglBindAPI", &egl->bind_api) ||
        !find(library, "eglChooseConfig", &egl->choose_config) ||
        !find(library, "eglCreateContext", &egl->create_context) ||
        !find(library, "eglDestroyContext", &egl->destroy_context) ||
        !find(library, "eglMakeCurrent", &egl->make_current) ||
        !find(library, "eglGetError", &egl->get_error)) {
        snprintf(reason, REASON_ROOM, "%s has not all of EGL 1.4", gl->backend->library);
        return false;
    }
    gl_function function = egl->get_proc_address("eglGetPlatformDisplayEXT");
    if (!function) {
        snprintf(reason, REASON_ROOM, "no EGL_EXT_platform_base");
        return false;
    }
    memcpy(&egl->get_platform_display, &function, sizeof function);
    function = egl->get_proc_address("eglQueryDevicesEXT");
    memcpy(&egl->query_devices, &function, sizeof function);
    function = egl->get_proc_address("eglQueryDeviceStringEXT");
    memcpy(&egl->query_device_string, &function, sizeof function);
    return true;
}

/* A context on one display. Displays are shared by the process and reference counting is an extension, so they are
 * never terminated: that would take away other renderers' contexts. */
static bool egl_try_display(vipo_gl *gl, const char *what, egl_handle display, char reason[REASON_ROOM])
{
    const egl_functions *const egl = &gl->egl;
    if (!display || !egl->initialize(display, NULL, NULL)) {
        snprintf(reason, REASON_ROOM, "%s: cannot be initialised (EGL error 0x%x)", what,
                 (unsigned)egl->get_error());
        return false;
    }
    if (!has_extension(egl->query_string(display, EGL_EXTENSIONS), "EGL_KHR_surfaceless_context")) {
        snprintf(reason, REASON_ROOM, "%s: no EGL_KHR_surfaceless_context", what);
        return false;
    }
    static const egl_int wanted[] = {EGL_RENDERABLE_TYPE, EGL_OPENGL_BIT, EGL_SURFACE_TYPE, EGL_PBUFFER_BIT,
                                     EGL_NONE};
    egl_handle config;
    egl_int count = 0;
    if (!egl->bind_api(EGL_OPENGL_API) || !egl->choose_config(display, wanted, &config, 1, &count) ||
        count < 1) {
        snprintf(reason, REASON_ROOM, "%s: no desktop OpenGL (EGL error 0x%x)", what,
                 (unsigned)egl->get_error());
        return false;
    }
    gl->context = egl->create_context(display, config, NULL, NULL);
    gl->display = display;
    if (gl->context && egl->make_current(display, NULL, NULL, gl->context)) {
        egl->make_current(display, NULL, NULL, NULL);
        return true;
    }
    snprintf(reason, REASON_ROOM, "%s: no context (EGL error 0x%x)", what, (unsigned)egl->get_error());
    if (gl->context) egl->destroy_context(display, gl->context);
    gl->context = NULL;
    return false;
}

/* GPUs first, then Mesa without a device, which falls back to its software renderer. */
static bool egl_open(vipo_gl *gl, char reason[REASON_ROOM])
{
    const egl_functions *const egl = &gl->egl;
    if (!egl_load(gl, reason)) return false;
    const char *const extensions = egl->query_string(NULL, EGL_EXTENSIONS);
    snprintf(reason, REASON_ROOM, "neither EGL_MESA_platform_surfaceless nor EGL_EXT_platform_device");
    egl_handle devices[EGL_MAX_DEVICES];
    egl_int n = 0;
    if (has_extension(extensions, "EGL_EXT_platform_device") && egl->query_devices &&
        egl->query_device_string && egl->query_devices(EGL_MAX_DEVICES, devices, &n))
        for (int i = 0; i < n; i++) {
            if (has_extension(egl->query_device_string(devices[i], EGL_EXTENSIONS),
                              "EGL_MESA_device_software"))
                continue;
            if (egl_try_display(gl, "GPU", egl->get_platform_display(EGL_PLATFORM_DEVICE, devices[i], NULL),
                                reason))
                return true;
        }
    return has_extension(extensions, "EGL_MESA_platform_surfaceless") &&
           egl_try_display(gl, "surfaceless", egl->get_platform_display(EGL_PLATFORM_SURFACELESS, NULL, NULL),
                           reason);
}

static bool egl_begin(vipo_gl *gl)
{
    return gl->egl.bind_api(EGL_OPENGL_API) && gl->egl.make_current(gl->display, NULL, NULL, gl->context);
}

static void egl_end(vipo_gl *gl)
{
    gl->egl.make_current(gl->display, NULL, NULL, NULL);
}

static void egl_close(vipo_gl *gl)
{
    gl->egl.destroy_context(gl->display, gl->context);
}

/* ---- OSMesa ------------------------------------------------------------------------------------------------- */

static bool osmesa_begin(vipo_gl *gl)
{
    return gl->osmesa.make_current(gl->context, gl->buffer, GL_UNSIGNED_BYTE, OSMESA_SIDE, OSMESA_SIDE) != 0;
}

static void osmesa_end(vipo_gl *gl)
{
    gl->osmesa.make_current(NULL, NULL, 0, 0, 0);
}

static void osmesa_close(vipo_gl *gl)
{
    gl->osmesa.destroy_context(gl->context);
}

static bool osmesa_open(vipo_gl *gl, char reason[REASON_ROOM])
{
    osmesa_functions *const osmesa = &gl->osmesa;
    if (!find(gl->library, "OSMesaGetProcAddress", &osmesa->get_proc_address) ||
        !find(gl->library, "OSMesaCreateContextAttribs", &osmesa->create_context) ||
        !find(gl->library, "OSMesaDestroyContext", &osmesa->destroy_context) ||
        !find(gl->library, "OSMesaMakeCurrent", &osmesa->make_current)) {
        snprintf(reason, REASON_ROOM, "%s is too old", gl->backend->library);
        return false;
    }
    static const int wanted[] = {OSMESA_FORMAT,
                                 OSMESA_RGBA,
                                 OSMESA_DEPTH_BITS,
                                 24,
                                 OSMESA_STENCIL_BITS,
                                 8,
                                 OSMESA_PROFILE,
                                 OSMESA_COMPAT_PROFILE,
                                 0};
    gl->context = osmesa->create_context(wanted, NULL);
    if (gl->context && osmesa_begin(gl)) {
        osmesa_end(gl);
        return true;
    }
    snprintf(reason, REASON_ROOM, "no context");
    if (gl->context) osmesa_close(gl);
    gl->context = NULL;
    return false;
}

/* ---- either ------------------------------------------------------------------------------------------------- */

static const gl_backend backends[] = {
    {"egl", "libEGL.so.1", "eglGetProcAddress", "OSMesaGetProcAddress", egl_open, egl_begin, egl_end,
     egl_close},
    {"osmesa", "libOSMesa.so.8", "OSMesaGetProcAddress", "eglGetProcAddress", osmesa_open, osmesa_begin,
     osmesa_end, osmesa_close},
};
enum { N_BACKENDS = sizeof backends / sizeof *backends };

const char *vipo_gl_backend(int i)
{
    return i >= 0 && i < N_BACKENDS ? backends[i].name : NULL;
}

static bool try_backend(vipo_gl *gl, const gl_backend *backend, char reason[REASON_ROOM])
{
    memset(gl, 0, sizeof *gl);
    gl->backend = backend;
    if (dlsym(RTLD_DEFAULT, backend->other_finder)) {
        snprintf(reason, REASON_ROOM, "this process uses OpenGL otherwise (%s)", backend->other_finder);
        return false;
    }
    gl->library = dlopen(backend->library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!gl->library) {
        const char *const why = dlerror();
        snprintf(reason, REASON_ROOM, "%s", why ? why : backend->library);
        return false;
    }
    if (backend->open(gl, reason)) return true;
    dlclose(gl->library); /* gives back the count; the library stays */
    return false;
}

vipo_status vipo_gl_open(vipo_gl **out, const char *name, vipo_error *error)
{
    char tried[(REASON_ROOM + 16) * N_BACKENDS] = "";
    bool known = false;
    *out = NULL;
    if (!name) name = vipo_environment("VIPO_GL");
    vipo_gl *const gl = malloc(sizeof *gl);
    if (!gl) return vipo_fail_memory(error, sizeof *gl, "an OpenGL context");
    for (int i = 0; i < N_BACKENDS; i++) {
        char reason[REASON_ROOM] = "";
        if (name && strcmp(name, backends[i].name) != 0) continue;
        known = true;
        if (try_backend(gl, &backends[i], reason)) {
            *out = gl;
            return VIPO_OK;
        }
        const size_t n = strlen(tried);
        snprintf(tried + n, sizeof tried - n, "%s%s: %s", n ? "; " : "", backends[i].name, reason);
    }
    free(gl);
    if (!known)
        return vipo_fail(error, VIPO_INVALID_ARGUMENT, "OpenGL by '%s': expected egl or osmesa", name);
    return vipo_fail(error, VIPO_UNSUPPORTED,
                     "no OpenGL to draw with (%s): install libegl1 and libgl1-mesa-dri, or libosmesa6",
                     tried);
}

vipo_status vipo_gl_claim(vipo_gl *gl, vipo_error *error)
{
    const gl_backend *const backend = gl->backend;
    if (!dlsym(RTLD_DEFAULT, backend->finder)) {
        void *const again = dlopen(backend->library, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
        if (again) dlclose(again);
    }
    if (dlsym(RTLD_DEFAULT, backend->finder) && !dlsym(RTLD_DEFAULT, backend->other_finder)) return VIPO_OK;
    return vipo_fail(error, VIPO_UNSUPPORTED, "OpenGL by %s: this process uses OpenGL otherwise",
                     backend->name);
}

void vipo_gl_close(vipo_gl **gl)
{
    if (!*gl) return;
    (*gl)->backend->close(*gl);
    dlclose((*gl)->library);
    free(*gl);
    *gl = NULL;
}

const char *vipo_gl_name(const vipo_gl *gl)
{
    return gl->backend->name;
}

vipo_status vipo_gl_begin(vipo_gl *gl, vipo_error *error)
{
    if (gl->backend->begin(gl)) return VIPO_OK;
    return vipo_fail(error, VIPO_INTERNAL,
                     "the OpenGL context (%s) cannot be used in this thread: is it in use in another one?",
                     gl->backend->name);
}

void vipo_gl_end(vipo_gl *gl)
{
    gl->backend->end(gl);
}

const char *vipo_gl_device(const vipo_gl *gl)
{
    const unsigned char *(*get_string)(unsigned name) = NULL;
    const gl_function function = gl->egl.get_proc_address ? gl->egl.get_proc_address("glGetString")
                                                          : gl->osmesa.get_proc_address("glGetString");
    memcpy(&get_string, &function, sizeof function);
    const unsigned char *const text = get_string ? get_string(GL_RENDERER) : NULL;
    return text ? (const char *)text : "";
}
