/* Preloaded into Python, it shifts the wall clock that Python sees by the seconds in the file that
 * JUMPING_CLOCK names. Libraries beside Python, Ray's own among them, see the true clock: they wait
 * until a time of it, and the kernel, whose clock has not jumped, would wait a day too long. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int is_python(void *caller) {
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "python3") &&
           !strstr(info.dli_fname, "site-packages");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    const char *name = getenv("JUMPING_CLOCK");
    if (failed || clock != CLOCK_REALTIME || !name || !is_python(__builtin_return_address(0)))
        return failed;
    FILE *file = fopen(name, "r");
    long shift_s = 0;
    if (file) {
        if (fscanf(file, "%ld", &shift_s) == 1) now->tv_sec += shift_s;
        fclose(file);
    }
    return 0;
}
